"""Orders of hits: by fields, or with diversity."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from mmsearch.errors import FilterError
from mmsearch.query import SortKey
from mmsearch.search.engine import SearchEngine
from mmsearch.search.results.ordering import diverse_order, sort_order
from mmsearch.search.results.similarity import Likeness
from mmsearch.types import Modality
from tests.support.fakes import open_fake
from tests.support.small_library import fill, photo

SCORES = {1: 0.9, 2: 0.8, 3: 0.8, 4: 0.1}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    with open_fake(tmp_path_factory.mktemp("ordering") / "library") as made:
        fill(
            made,
            [
                photo("/d.jpg", "red", stars=3, tags=["b", "z"]),
                photo("/c.jpg", "red", stars=5, tags=["c"]),
                photo("/b.jpg", "red", stars="many"),
                photo("/a.jpg", "red", tags=[]),
            ],
        )
        yield made


@pytest.mark.parametrize(
    ("keys", "order"),
    [
        ([SortKey("path")], [4, 3, 2, 1]),
        ([SortKey("path", descending=True)], [1, 2, 3, 4]),
        ([SortKey("stars")], [1, 2, 3, 4]),
        ([SortKey("stars", descending=True)], [3, 2, 1, 4]),
        ([SortKey("tags")], [1, 2, 3, 4]),
        ([SortKey("tags", descending=True)], [1, 2, 3, 4]),
        ([SortKey("score")], [4, 2, 3, 1]),
        ([SortKey("score", descending=True), SortKey("path")], [1, 3, 2, 4]),
    ],
    ids=str,
)
def test_fields_of_any_type_sort(
    engine: SearchEngine, keys: list[SortKey], order: list[int]
) -> None:
    """Numbers before texts, of lists the first value in the order, without a value last."""
    assert sort_order(engine.library.store, SCORES, keys, ["stars", "tags"]) == order


def test_an_unknown_field_is_named(engine: SearchEngine) -> None:
    with pytest.raises(FilterError, match="star"):
        sort_order(engine.library.store, SCORES, [SortKey("star")], ["stars"])


def test_diversity_prefers_what_is_unlike_the_hits_before() -> None:
    """0 is by relevance; beyond `limit` relevance decides again."""
    matrix = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    likeness = Likeness({Modality.IMAGE: ([1, 2, 3, 4], matrix)})
    scores = {1: 0.9, 2: 0.85, 3: 0.8, 4: 0.2}

    def order(diversity: float, limit: int = 4, shown: tuple[int, ...] = ()) -> list[int]:
        return diverse_order(scores, shown, likeness, diversity=diversity, limit=limit)

    assert order(0.0) == [1, 2, 3, 4]
    assert order(0.5) == [1, 3, 4, 2]
    assert order(0.5, limit=2) == [1, 3, 2, 4]


def test_what_earlier_pages_have_shown_counts_as_chosen() -> None:
    """A near-duplicate of the last page does not lead this one."""
    matrix = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    likeness = Likeness({Modality.IMAGE: ([9, 1, 2, 3], matrix)})
    scores = {1: 0.9, 2: 0.85, 3: 0.2}
    assert diverse_order(scores, [9], likeness, diversity=0.5, limit=3)[0] == 2
