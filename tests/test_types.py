"""The values that pass between the stages."""

from __future__ import annotations

import pytest

from mmsearch.types import Place


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (Place(), ""),
        (Place(page=3, char_start=0, char_end=80), "page 3"),
        (Place(start=65.2, end=72.9), "1:05 to 1:12"),
        (Place(start=3725.0), "1:02:05"),
        (Place(char_start=0, char_end=80), "characters 0 to 80"),
    ],
)
def test_a_place_as_people_read_it(place: Place, text: str) -> None:
    """What applies, and nothing else."""
    assert str(place) == text
