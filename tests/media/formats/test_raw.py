"""Camera RAW: the largest preview with what the sensor saw, or a reason; never the thumbnail."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmsearch.errors import MediaError
from mmsearch.media.detect import sniff
from mmsearch.media.formats.raw import read_raw
from mmsearch.media.parts import DecodeRequest, ImagePart
from mmsearch.media.sandbox.pool import Sandbox
from mmsearch.types import Preprocess
from tests.support.tiffs import Tags, a_raw


def jpeg(size: tuple[int, int], colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG")
    return buffer.getvalue()


SENSOR = {256: (4, 6000), 257: (4, 4000), 258: (3, 14), 259: (3, 1), 262: (3, 32803)}
THUMBNAIL = {254: (4, 1), 256: (4, 160), 257: (4, 120), 258: (3, 8), 259: (3, 1), 262: (3, 2)}
CAMERA = {271: (2, b"NIKON CORPORATION\0"), 272: (2, b"NIKON D70\0"),
          306: (2, b"2023:07:14 18:05:33\0")}  # fmt: skip
BLOBS = [b"\0" * 600, jpeg((160, 120), "blue"), b"\xff\xd8\xff\xc3junk", jpeg((1200, 800))]


def part_of(sandbox: Sandbox, content: bytes, **wanted: Any) -> ImagePart:
    (part,) = sandbox.decode(DecodeRequest(content=content, **wanted))
    assert isinstance(part, ImagePart)
    return part


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("extra", "magic", "kind", "mime"),
    [
        ({50706: (1, b"\1\4\0\0")}, b"", "DNG", "image/x-adobe-dng"),
        ({}, b"", "NEF", "image/x-nikon-nef"),
        ({271: (2, b"SONY\0")}, b"", "ARW", "image/x-sony-arw"),
        ({271: (2, b"Nobody\0")}, b"", "RAW", "image/x-raw"),
    ],
)
def test_the_preview_is_what_is_seen(
    sandbox: Sandbox,
    spec: Preprocess,
    order: str,
    extra: Tags,
    magic: bytes,
    kind: str,
    mime: str,
) -> None:
    """With the size of the sensor, and the EXIF of the main picture."""
    content = a_raw([THUMBNAIL | CAMERA | extra], BLOBS, order=order, magic=magic, sub=[SENSOR])
    part = part_of(sandbox, content, preprocess=spec, thumbnail=300, ocr="all")
    assert (part.mime, part.metadata["format"]) == (mime, kind)
    assert (part.metadata["width"], part.metadata["height"]) == (6000, 4000)
    assert part.metadata["taken_at"] == "2023-07-14T18:05:33"
    assert part.metadata["camera"].startswith(("NIKON", "SONY", "Nobody"))
    assert part.pixels is not None
    assert part.pixels.reshape(-1, 3).mean(axis=0) == pytest.approx([254, 0, 0], abs=3)
    assert Image.open(io.BytesIO(part.thumbnail or b"")).size == (300, 200)
    assert part.picture is not None
    assert part.picture.shape == (800, 1200, 3)


@pytest.mark.parametrize("magic", [b"IIRO", b"IIRS", b"IIU\0"])
def test_signatures_of_makers(sandbox: Sandbox, magic: bytes) -> None:
    content = a_raw([SENSOR | CAMERA], BLOBS, magic=magic)
    part = part_of(sandbox, content)
    assert part.metadata["format"] in ("ORF", "RW2")
    assert part.metadata["width"] == 6000
    assert part.metadata["camera"] == "NIKON CORPORATION NIKON D70"


def test_other_containers(sandbox: Sandbox) -> None:
    """Those of Canon and Fujifilm are no TIFF; their previews have an EXIF of their own."""
    exif = Image.Exif()
    exif[271], exif[272] = "FUJIFILM", "X-T5"
    exif.get_ifd(0x8769).update({0xA002: 1200, 0xA003: 800})
    buffer = io.BytesIO()
    Image.new("RGB", (1200, 800), "red").save(buffer, "JPEG", exif=exif)
    for head, kind in (
        (b"FUJIFILMCCD-RAW 0201", "RAF"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "CR3"),
    ):
        part = part_of(sandbox, head + b"\0" * 100 + buffer.getvalue() + b"\1" * 999)
        assert part.metadata["format"] == kind
        assert (part.metadata["width"], part.metadata["camera"]) == (1200, "FUJIFILM X-T5")


def test_a_turned_camera(sandbox: Sandbox) -> None:
    """The preview is stored as the sensor saw it; the main picture says how to turn it."""
    content = a_raw([THUMBNAIL | CAMERA | {274: (3, 6)}], BLOBS, sub=[SENSOR])
    part = part_of(sandbox, content, thumbnail=300)
    assert (part.metadata["width"], part.metadata["height"]) == (4000, 6000)
    assert Image.open(io.BytesIO(part.thumbnail or b"")).size == (200, 300)


def test_the_visible_part_of_the_sensor(sandbox: Sandbox) -> None:
    """A DNG says which part of the sensor is the picture."""
    sensor = SENSOR | {50720: (4, [5980, 3980])}
    content = a_raw([THUMBNAIL | {50706: (1, b"\1\4\0\0")}], BLOBS, sub=[sensor])
    part = part_of(sandbox, content)
    assert (part.metadata["width"], part.metadata["height"]) == (5980, 3980)


@pytest.mark.parametrize("blobs", [[], BLOBS[:3], [jpeg((400, 300))]])
def test_a_preview_that_is_too_small(sandbox: Sandbox, blobs: list[bytes]) -> None:
    content = a_raw([THUMBNAIL | CAMERA], [b"\0" * 60_000, *blobs], sub=[SENSOR])
    with pytest.raises(MediaError) as caught:
        part_of(sandbox, content)
    assert caught.value.code == "unsupported"
    assert "raw" in caught.value.reason


def test_a_plain_preview(sandbox: Sandbox) -> None:
    """Some have no JPEG, but a first picture that is large enough."""
    pixels = np.full((600, 900, 3), (255, 0, 0), np.uint8).tobytes()
    plain = {256: (4, 900), 257: (4, 600), 258: (3, [8, 8, 8]), 259: (3, 1), 262: (3, 2),
             273: (4, 8), 277: (3, 3), 278: (4, 600), 279: (4, len(pixels))}  # fmt: skip
    part = part_of(sandbox, a_raw([plain | CAMERA], [pixels], sub=[SENSOR]), thumbnail=90)
    assert (part.metadata["width"], part.metadata["format"]) == (6000, "NEF")
    assert Image.open(io.BytesIO(part.thumbnail or b"")).size == (90, 60)


def test_what_is_no_raw() -> None:
    """A TIFF with a JPEG in it, and anything else."""
    buffer = io.BytesIO()
    Image.new("RGB", (900, 600), "red").save(buffer, "TIFF", compression="jpeg")
    assert read_raw(buffer.getvalue()) is None
    assert sniff(buffer.getvalue()) == "image/tiff"
    for content in (b"", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff", jpeg((8, 8))):
        assert read_raw(content) is None


def test_directories_in_a_circle() -> None:
    """A directory that follows itself, and one that claims too many entries."""
    loop = b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + struct.pack("<HHII", 330, 4, 1, 8)
    assert read_raw(loop + struct.pack("<I", 8)) is None
    assert read_raw(b"II*\0\x08\0\0\0\xff\xff" + b"\xff" * 500) is None
    huge = struct.pack("<HHII", 330, 4, 2**32 - 1, 8)
    assert read_raw(b"II*\0\x08\0\0\0\1\0" + huge + b"\0\0\0\0") is None
