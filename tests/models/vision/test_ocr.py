"""Words in pictures, with the engines that are installed."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, ImageOps

from mmsearch.errors import ConfigurationError, ModelError
from mmsearch.models.runtime import Runtime
from mmsearch.models.vision import ocr
from mmsearch.protocols import Ocr
from mmsearch.types import WordLine
from tests.support.documents import a_picture_of

LINES = ["Copper kettle", "Add to basket"]
PROSE = [
    "The harbour master walked",
    "along the quay every day",
    "before the first ferry",
    "left for the island",
]
VERSE = [
    "Nobody in the village knew",
    "who painted the old tower",
    "green but every summer",
    "the mayor was asked",
]


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@pytest.fixture(scope="module", params=["rapidocr", "tesseract"])
def engine(request: pytest.FixtureRequest) -> Iterator[Ocr]:
    if request.param == "tesseract" and shutil.which("tesseract") is None:
        pytest.skip("Tesseract is not installed")
    made = ocr.from_name(request.param, Runtime(threads=1))
    assert made is not None
    yield made
    made.release()


def test_lines_where_they_stand(engine: Ocr) -> None:
    """In reading order, boxes as shares of the picture."""
    assert isinstance(engine, Ocr)
    first, second = engine.read(np.asarray(a_picture_of(LINES)))
    assert [first.text, second.text] == LINES
    left, top, right, bottom = first.box
    assert (left, top) == pytest.approx((30 / 640, 45 / 240), abs=0.04)
    assert right < 0.5
    assert bottom < second.box[1] + 0.02
    assert first.probability > 0.75


def test_pictures_without_words(engine: Ocr) -> None:
    assert engine.read(np.asarray(a_picture_of([]))) == []
    assert engine.read(np.zeros((3, 500, 3), np.uint8)) == []
    ramp = np.tile(np.linspace(0, 255, 300, dtype=np.uint8)[None, :, None], (200, 1, 3))
    assert engine.read(ramp) == []


def test_a_scan(engine: Ocr, data: Path) -> None:
    scan = Image.open(data / "documents/typewriter.png").convert("RGB").reduce(2)
    read = "\n".join(line.text for line in engine.read(np.asarray(scan)))
    assert "Linzensoep" in read
    assert "laurier" in read


def test_the_fingerprint_names_the_engine(engine: Ocr) -> None:
    assert engine.fingerprint.split()[0] in {"rapidocr", "tesseract"}
    assert any(map(str.isdigit, engine.fingerprint))


def test_words_share_their_line() -> None:
    line = WordLine("ferry at dawn", (0.1, 0.2, 0.75, 0.3), 0.9)
    words = ocr.words_of([line])
    assert [word["text"] for word in words] == ["ferry", "at", "dawn"]
    assert words[0]["box"] == [0.1, 0.2, 0.35, 0.3]
    assert words[2]["box"] == [0.55, 0.2, 0.75, 0.3]


def a_page(*, columns: int = 1) -> Image.Image:
    """Lines of prose, in columns under a headline."""
    picture = a_picture_of([], (900, 700))
    draw = ImageDraw.Draw(picture)
    draw.text((40, 30), "All ferries to the islands are cancelled", "black", _font(36))
    for column, text in enumerate((PROSE, VERSE)[:columns]):
        for row, line in enumerate(text):
            place = (40 + column * 440, 120 + row * 36)
            draw.text(place, line, "black", _font(24))
    return picture


def text_of(lines: list[WordLine]) -> str:
    return "".join("".join(line.text.split()) for line in lines).lower()


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("kind", ["page", "columns", "light on dark", "two lines"])
def test_turned_pages_are_read(kind: str, degrees: int) -> None:
    """In the same order, with boxes in the picture as it is."""
    picture = {
        "page": a_page(),
        "columns": a_page(columns=2),
        "light on dark": ImageOps.invert(a_page()),
        "two lines": a_picture_of(LINES),
    }[kind]
    engine = ocr.RapidOcr(Runtime(threads=1))
    upright = engine.read(np.asarray(picture))
    turned = engine.read(np.asarray(picture.rotate(degrees, expand=True)))
    assert text_of(turned) == text_of(upright)
    for one, other in zip(upright, turned, strict=True):
        left, top, right, bottom = one.box
        expected = {
            90: (top, 1 - right, bottom, 1 - left),
            180: (1 - right, 1 - bottom, 1 - left, 1 - top),
            270: (1 - bottom, left, 1 - top, right),
        }[degrees]
        assert other.box == pytest.approx(expected, abs=0.03)


def test_a_headline_over_columns(engine: Ocr) -> None:
    expected = "Allferriestotheislandsarecancelled" + "".join([*PROSE, *VERSE]).replace(" ", "")
    assert text_of(engine.read(np.asarray(a_page(columns=2)))) == expected.lower()


def test_what_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """RapidOCR before Tesseract before none; what is asked for and not there is an error."""
    there = {"rapidocr", "tesseract"}
    monkeypatch.setattr(ocr, "find_spec", lambda name: name if name in there else None)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in there else None)
    assert ocr.resolve("auto") == "rapidocr"
    assert ocr.resolve("none") == "none"
    there.remove("rapidocr")
    assert ocr.resolve("auto") == "tesseract"
    with pytest.raises(ConfigurationError, match="pip install rapidocr"):
        ocr.resolve("rapidocr")
    there.clear()
    assert ocr.resolve("auto") == "none"
    assert ocr.from_name("auto", Runtime()) is None
    with pytest.raises(ConfigurationError, match="Tesseract is not installed"):
        ocr.resolve("tesseract")


def test_a_tesseract_that_fails_says_why(tmp_path: Path) -> None:
    program = tmp_path / "tesseract"
    program.write_text("#!/bin/sh\necho 'no such language' >&2\nexit 1\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    broken = ocr.TesseractOcr(str(program))
    with pytest.raises(ModelError, match="no such language"):
        broken.read(np.asarray(a_picture_of(LINES)))
