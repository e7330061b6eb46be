"""The quick guess whether a picture holds words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsearch.media.textness import looks_written
from tests.support.documents import a_picture_of


def test_print_looks_written() -> None:
    for ground in ("white", "lightblue", "#dddddd"):
        assert looks_written(a_picture_of(["Copper kettle", "Add to basket"], ground=ground))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "CMYK"])
def test_any_mode_and_size(mode: str) -> None:
    assert looks_written(a_picture_of(["Copper kettle", "and a teapot"]).convert(mode))
    assert not looks_written(Image.new(mode, (3000, 40)))
    assert not looks_written(Image.new(mode, (1, 1)))


def test_smooth_pictures_do_not() -> None:
    ramp = np.tile(np.linspace(0, 255, 400, dtype=np.uint8), (300, 1))
    assert not looks_written(Image.fromarray(ramp))
    assert not looks_written(Image.new("RGB", (640, 480), "navy"))


def test_most_photos_are_not_read(data: Path) -> None:
    """A quarter at most, of which some do hold words."""
    rows = map(json.loads, (data / "images/captions.jsonl").read_text().splitlines())
    photos = [data / "images" / row["file"] for row in rows][::10]
    passed = sum(looks_written(Image.open(photo)) for photo in photos)
    assert len(photos) >= 30
    assert passed <= len(photos) // 4


def test_a_scan_is_read(data: Path) -> None:
    assert looks_written(Image.open(data / "documents/typewriter.png"))
