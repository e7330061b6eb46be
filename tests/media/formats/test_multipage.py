"""Several pages in one picture file: each is one, and what only looks like one is not."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, TiffImagePlugin

from mmsearch.errors import MediaError
from mmsearch.media.parts import DecodeRequest, ImagePart, PagePart, Part
from mmsearch.media.sandbox.pool import Sandbox
from mmsearch.types import Preprocess

FONT = ImageFont.load_default(40)


def written(words: str, size: tuple[int, int] = (900, 600), mode: str = "L") -> Image.Image:
    page = Image.new("L", size, 255)
    draw = ImageDraw.Draw(page)
    for line in range(size[1] // 60):
        draw.text((40, 20 + 60 * line), f"{words} {line * 7}", fill=0, font=FONT)
    return page.convert(mode)


def photo(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


def tiff(frames: Sequence[Image.Image], kinds: Sequence[int | None] = (), **how: Any) -> bytes:
    """Frames with their NewSubfileType."""
    buffer = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer, new=True) as writer:
        for number, frame in enumerate(frames):
            kind = kinds[number] if number < len(kinds) else None
            info = {} if kind is None else {254: kind}
            frame.save(writer, format="TIFF", tiffinfo=info, **how)
            writer.newFrame()
    return buffer.getvalue()


def parts_of(sandbox: Sandbox, content: bytes, **wanted: Any) -> list[Part]:
    return list(sandbox.decode(DecodeRequest(content=content, **wanted)))


@pytest.mark.parametrize(
    ("mode", "compression"),
    [("1", "group4"), ("L", "raw"), ("RGB", "jpeg"), ("P", "tiff_lzw"), ("L", "tiff_deflate")],
)
def test_each_page_of_a_scan(
    sandbox: Sandbox, spec: Preprocess, mode: str, compression: str
) -> None:
    """With what the model sees, a thumbnail, and the pixels in which its words are read."""
    frames = [written(word, mode=mode) for word in ("invoice", "delivery", "reminder")]
    content = tiff(frames, compression=compression)
    parts = parts_of(sandbox, content, preprocess=spec, thumbnail=100, ocr="likely")
    pages = [part for part in parts if isinstance(part, PagePart)]
    assert len(pages) == len(parts) == 3
    assert [page.number for page in pages] == [1, 2, 3]
    assert pages[0].metadata["pages"] == 3
    assert pages[0].metadata["page_kind"] == "page"
    for page, frame in zip(pages, frames, strict=True):
        assert page.picture is not None
        assert page.pixels is not None
        assert page.thumbnail is not None
        expected = np.asarray(frame.convert("RGB"), np.float32)
        assert np.abs(page.picture.astype(np.float32) - expected).mean() < 3


def test_pages_of_different_size(sandbox: Sandbox) -> None:
    """Also where one is half as large as the other, as after scanning at another resolution."""
    frames = [written("first"), written("second", (450, 300)), written("third", (500, 800))]
    assert len(parts_of(sandbox, tiff(frames))) == 3


def test_what_is_no_page(sandbox: Sandbox) -> None:
    """Thumbnails, the steps of a pyramid, masks; marked as such or not."""
    large, small, tiny = photo(1), photo(1).resize((160, 120)), photo(1).resize((80, 60))
    for frames, kinds in (
        ([large, small, tiny], [0, 1, 1]),
        ([large, small, tiny], []),
        ([tiny, large], [1, 0]),
        ([tiny, large], []),
        ([large, large.convert("1")], [0, 4]),
    ):
        (part,) = parts_of(sandbox, tiff(frames, kinds), thumbnail=320)
        assert isinstance(part, ImagePart)
        assert (part.metadata["width"], part.metadata["height"]) == (320, 240)
        shown = Image.open(io.BytesIO(part.thumbnail or b""))
        assert np.abs(np.asarray(shown, float) - np.asarray(large, float)).mean() < 10


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_is_one_picture(sandbox: Sandbox, kind: str) -> None:
    buffer = io.BytesIO()
    frames = [photo(seed) for seed in range(3)]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    (part,) = parts_of(sandbox, buffer.getvalue())
    assert isinstance(part, ImagePart)
    assert "warning" not in part.metadata


def heic(frames: Sequence[Image.Image]) -> bytes:
    import pillow_heif

    file = pillow_heif.HeifFile()
    for frame in frames:
        file.add_from_pillow(frame)
    buffer = io.BytesIO()
    file.save(buffer)
    return buffer.getvalue()


def test_several_pictures_in_a_heic(sandbox: Sandbox) -> None:
    """Pages of a scan are pages; of a burst the first is read, with a warning."""
    pages = parts_of(sandbox, heic([written("one", mode="RGB"), written("two", mode="RGB")]))
    assert [type(page) for page in pages] == [PagePart] * 2
    (part,) = parts_of(sandbox, heic([photo(1), photo(2), photo(3)]))
    assert isinstance(part, ImagePart)
    assert "3 pictures" in part.metadata["warning"]
    (part,) = parts_of(sandbox, heic([photo(1)]))
    assert "warning" not in part.metadata


def test_one_page_alone(sandbox: Sandbox) -> None:
    content = tiff([written("first"), written("second")])
    second = sandbox.picture(DecodeRequest(content=content, page=2, thumbnail=900))
    assert second is not None
    (_, page) = parts_of(sandbox, content, thumbnail=450)
    assert isinstance(page, PagePart)
    assert second.thumbnail == page.thumbnail
    with pytest.raises(MediaError) as caught:
        sandbox.picture(DecodeRequest(content=content, page=3, thumbnail=900))
    assert caught.value.code == "missing"


def test_a_damaged_page(sandbox: Sandbox) -> None:
    """The others are there, with a warning; no more pages than allowed."""
    content = tiff([written(word, mode="1") for word in "abc"], compression="group4")
    for missing in (200, len(content) // 2):
        parts = parts_of(sandbox, content[:-missing])
        assert 1 <= len(parts) <= 2
        assert "warning" in parts[-1].metadata
    assert len(parts_of(sandbox, content, max_pages=2)) == 2
