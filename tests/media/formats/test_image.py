"""Pictures: what a model sees equals open_clip's own transform; hostile ones are refused."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from mmsearch.errors import MediaError
from mmsearch.media.formats.exif import image_metadata
from mmsearch.media.formats.image import (
    geometry,
    open_image,
    preprocess_pixels,
    thumbnail,
    to_rgb,
    upright,
)
from mmsearch.types import Preprocess
from tests.support.pictures import png

MODES = ("1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB")
"""Modes of 8 bits without transparency: those that open_clip shows to its model as people see
them."""
PIXELS = 200_000_000


def reference(image: Image.Image, spec: Preprocess) -> npt.NDArray[np.float64]:
    """open_clip's own transform, before normalisation, as 0..255."""
    import torch
    from open_clip.transform import image_transform

    torch.set_num_threads(1)  # two threads waiting for each other are slow on a busy machine

    transform = image_transform(
        spec.size, is_train=False, mean=(0.0,) * 3, std=(1.0,) * 3,
        resize_mode=spec.resize_mode, interpolation=spec.interpolation,
        fill_color=spec.fill_color,
    )  # fmt: skip
    values: npt.NDArray[np.float64] = transform(image).numpy().transpose(1, 2, 0) * 255.0
    return values


def difference(image: Image.Image, spec: Preprocess) -> float:
    """Mean absolute difference, in grey levels of 255."""
    ours = preprocess_pixels(image, spec)
    assert ours.shape == (*spec.size, 3)
    assert ours.dtype == np.uint8
    return float(np.abs(reference(image, spec) - ours).mean())


def in_mode(mode: str, size: tuple[int, int]) -> Image.Image:
    """A picture with structure at every scale."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    red = 127 + 127 * np.sin(x / 5)
    green = 127 + 127 * np.cos(y / 17)
    rgb = np.stack([red, green, (x * 3 + y) % 256], axis=2).astype(np.uint8)
    image = Image.fromarray(rgb)
    if mode == "LAB":
        return Image.frombytes("LAB", size, image.tobytes())
    return image.convert(mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(500, 375), (61, 93), (1, 1)])
def test_every_mode_as_open_clip(mode: str, size: tuple[int, int]) -> None:
    spec = Preprocess((224, 224), (0.5,) * 3, (0.5,) * 3)
    assert difference(in_mode(mode, size), spec) < 0.3


def _deep(grey: Image.Image, kind: str) -> Image.Image:
    values = np.asarray(grey, np.float32)
    if kind == "float 0..1":
        return Image.fromarray(values / 255)
    if kind == "float 0..255":
        return Image.fromarray(values)
    if kind == "int32 of 16 bits":
        return Image.fromarray((values * 257).astype(np.int32))
    bits = int(kind.split(maxsplit=1)[0])
    return Image.fromarray(np.round(values * ((2**bits - 1) / 255)).astype(np.uint16))


@pytest.mark.parametrize(
    "kind",
    ["12 bit", "14 bit", "16 bit", "int32 of 16 bits", "float 0..1", "float 0..255"],
)
def test_a_model_sees_deep_greyscale_as_its_8_bit_copy(spec: Preprocess, kind: str) -> None:
    """Neither clipped to white nor truncated to black, and the thumbnail shows the same."""
    grey = in_mode("RGB", (300, 240)).convert("L")
    deep = _deep(grey, kind)
    assert difference_of(preprocess_pixels(deep, spec), preprocess_pixels(grey, spec)) < 1
    assert difference_of(np.asarray(to_rgb(deep)), np.asarray(grey.convert("RGB"))) < 1


def test_deep_pixels_of_no_depth_are_stretched(spec: Preprocess) -> None:
    """Elevations from -100 to 3000, and a dark exposure that uses little of its 16 bits."""
    ramp = np.linspace(0, 1, 224 * 224, dtype=np.float32).reshape(224, 224)
    for deep in (
        Image.fromarray(ramp * 3100 - 100),
        Image.fromarray((ramp * 900 + 17000).astype(np.uint16)),
    ):
        seen = preprocess_pixels(deep, spec)
        assert seen.min() < 5
        assert seen.max() > 250


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "RGBa"])
def test_a_model_sees_transparency_on_white(spec: Preprocess, mode: str) -> None:
    """Black writing on a transparent ground is not all black."""
    writing = Image.new("RGBA", (300, 300), (0, 0, 0, 0))
    writing.paste((0, 0, 0, 255), (100, 50, 200, 250))
    on_white = Image.new("RGB", (300, 300), "white")
    on_white.paste((0, 0, 0), (100, 50, 200, 250))
    if mode == "P":
        palette = Image.new("P", (300, 300), 0)
        palette.putpalette([0, 0, 0, 0, 0, 0])
        palette.paste(1, (100, 50, 200, 250))
        palette.info["transparency"] = 0
        writing = palette
    else:
        writing = writing.convert(mode)
    assert difference_of(preprocess_pixels(writing, spec), preprocess_pixels(on_white, spec)) < 1


def test_opaque_alpha_changes_nothing(spec: Preprocess) -> None:
    """RGBA without transparency is seen as open_clip sees the RGB picture."""
    plain = in_mode("RGB", (333, 250))
    seen = preprocess_pixels(plain.convert("RGBA"), spec)
    assert difference_of(seen, preprocess_pixels(plain, spec)) == 0


def difference_of(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("target", [(224, 224), (256, 256), (224, 336)])
def test_every_geometry_as_open_clip(
    resize_mode: Any, interpolation: Any, target: tuple[int, int]
) -> None:
    fill = 127 if resize_mode == "longest" else 0
    spec = Preprocess(target, (0.5,) * 3, (0.5,) * 3, interpolation, resize_mode, fill)
    for size in [(500, 375), (333, 334), (225, 223), (224, 224), (3, 2), (7, 640), (1023, 767)]:
        assert difference(in_mode("RGB", size), spec) < 0.3, size


def test_a_strip_of_extreme_shape_needs_no_memory(spec: Preprocess) -> None:
    """open_clip would make a picture of 224 x 22 million pixels of it."""
    strip = Image.new("RGB", (100_000, 1), (200, 100, 50))
    assert geometry(strip.size, spec).resized[0] == 22_400_000
    assert (preprocess_pixels(strip, spec) == (200, 100, 50)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(orientation: int, spec: Preprocess) -> None:
    image = in_mode("RGB", (300, 200))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    opened = open_image(buffer.getvalue(), PIXELS)
    expected = ImageOps.exif_transpose(opened)
    assert np.array_equal(np.asarray(to_rgb(opened)), np.asarray(expected))
    assert np.array_equal(np.asarray(upright(upright(opened))), np.asarray(expected))
    ours = preprocess_pixels(opened, spec)
    assert np.abs(reference(expected, spec) - ours).mean() < 0.3
    metadata = image_metadata(opened)
    assert (metadata["width"], metadata["height"]) == expected.size
    assert metadata.get("orientation", 1) == orientation


def test_formats_as_open_clip(data: Path, spec: Preprocess) -> None:
    """All real containers, modes and orientations: equal but for rounding."""
    rows = [json.loads(row) for row in (data / "images/formats.jsonl").read_text().splitlines()]
    assert len(rows) == 26
    for row in rows:
        path = data / "images" / row["file"]
        opened = open_image(path, PIXELS)
        with Image.open(path) as other:
            seen = ImageOps.exif_transpose(other)
            if seen.has_transparency_data or seen.mode not in MODES:
                seen = to_rgb(seen)
            expected = reference(seen, spec)
        ours = preprocess_pixels(opened, spec)
        assert np.abs(expected - ours).max() < 2.5, row["file"]
        assert np.abs(expected - ours).mean() < 0.01, row["file"]
        size = image_metadata(opened)["width"], image_metadata(opened)["height"]
        assert sorted(size) == sorted((row["width"], row["height"]))
        small = Image.open(io.BytesIO(thumbnail(opened, 64)))
        assert small.format == "JPEG"
        assert max(small.size) == min(64, max(size))


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_large_photos_decoded_smaller_look_the_same(
    data: Path, spec: Preprocess, orientation: int
) -> None:
    photo = next((data / "images").glob("flickr8k_*.jpg"))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    with Image.open(photo) as image:
        image.resize((2351, 1763)).save(buffer, "JPEG", quality=92, exif=exif)
    whole = open_image(buffer.getvalue(), PIXELS)
    smaller = open_image(buffer.getvalue(), PIXELS, draft_for=(spec, 320))
    assert smaller.size == (1176, 882)
    expected, ours = (
        preprocess_pixels(image, spec).astype(np.float64).ravel() - 127.5
        for image in (whole, smaller)
    )
    assert np.abs(expected - ours).mean() < 1.0
    cosine = expected @ ours / np.linalg.norm(expected) / np.linalg.norm(ours)
    assert cosine > 0.9995
    assert image_metadata(smaller) == image_metadata(whole)


def test_transparency_is_white_to_the_eye() -> None:
    image = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    assert to_rgb(image).getpixel((5, 5)) == (255, 255, 255)
    palette = Image.new("P", (4, 4), 0)
    palette.info["transparency"] = 0
    assert to_rgb(palette).getpixel((1, 1)) == (255, 255, 255)


def test_deep_greyscale_is_stretched_for_the_eye() -> None:
    values = np.linspace(291, 694, 64 * 64).reshape(64, 64).astype(np.uint16)
    seen = np.asarray(to_rgb(Image.fromarray(values)))
    assert seen.min() == 0
    assert seen.max() == 255


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (png(40_000, 40_000), "too_large"),
        (png(0, 5), "corrupt"),
        (b"\x89PNG\r\n\x1a\n", "corrupt"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "corrupt"),
        (b"\0\0\0\x18ftypheic" + bytes(12), "corrupt"),
    ],
)
def test_what_is_no_whole_picture_is_refused(content: bytes, code: str) -> None:
    with pytest.raises(MediaError) as caught:
        open_image(content, PIXELS)
    assert caught.value.code == code
    assert caught.value.reason.endswith(".")


def test_a_truncated_photo_is_refused(data: Path) -> None:
    photo = next((data / "images").glob("flickr8k_*.jpg")).read_bytes()
    with pytest.raises(MediaError) as caught:
        open_image(photo[: len(photo) // 2], PIXELS)
    assert caught.value.code == "corrupt"


def test_a_missing_file_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        open_image(tmp_path / "none.jpg", PIXELS)
    assert caught.value.code == "missing"


def test_heic_is_read(spec: Preprocess) -> None:
    import pillow_heif

    image = in_mode("RGB", (320, 240))
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=90)
    opened = open_image(buffer.getvalue(), PIXELS)
    assert opened.size == (320, 240)
    assert np.abs(np.asarray(to_rgb(opened)).astype(int) - np.asarray(image)).mean() < 12


# ------------------------------------------------------------------ metadata


def with_exif(exif: Image.Exif) -> Image.Image:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, "JPEG", exif=exif)
    return open_image(buffer.getvalue(), PIXELS)


def test_camera_date_and_place() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Canon", "Canon EOS 40D\0\0"
    exif[0x010E] = "A quiet\x00 bay"
    detail = exif.get_ifd(0x8769)
    detail[0x9003], detail[0x9011] = "2023:07:14 18:05:33", "+02:00"
    detail[0xA434] = "EF 50mm"
    place = exif.get_ifd(0x8825)
    place[1], place[2] = "S", (33.0, 51.0, 24.0)
    place[3], place[4] = "E", (151.0, 12.0, 36.0)
    assert image_metadata(with_exif(exif)) == {
        "width": 40, "height": 30, "format": "JPEG",
        "taken_at": "2023-07-14T18:05:33+02:00",
        "camera": "Canon EOS 40D", "lens": "EF 50mm", "description": "A quiet  bay",
        "latitude": -33.8566667, "longitude": 151.21,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("date", "latitude"),
    [("0000:00:00 00:00:00", (91.0, 0.0, 0.0)), ("yesterday", (0.0, 0.0, 0.0)), ("", (1.0, 2.0))],
)
def test_impossible_claims_are_left_out(date: str, latitude: Any) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = date
    place = exif.get_ifd(0x8825)
    place[2], place[4] = latitude, (0.0, 0.0, 0.0)
    assert set(image_metadata(with_exif(exif))) == {"width", "height", "format"}


def test_hostile_exif_never_raises() -> None:
    """Every byte of an EXIF block damaged in turn: the picture stays readable."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    exif.get_ifd(0x8769)[0x9003] = "2023:07:14 18:05:33"
    exif.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    block = exif.tobytes()
    image = Image.new("RGB", (20, 10))
    random = np.random.default_rng(0)
    for at in range(len(block)):
        damaged = bytearray(block)
        damaged[at] = int(random.integers(256))
        copy = image.copy()
        copy.info["exif"] = bytes(damaged)
        json.dumps(image_metadata(copy), allow_nan=False).encode()
        assert sorted(to_rgb(copy).size) == [10, 20]
