"""Camera RAW files (DNG, CR2, CR3, NEF, ARW, ORF, RW2, RAF, PEF and others): the preview in them.

The sensor's data is not developed. Every camera puts a JPEG beside it, mostly of full size, which
is what its display and other programs show. The first picture in such a file is often a
thumbnail of 160 x 120 pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from PIL import Image

from mmsearch.errors import MediaError
from mmsearch.media.formats.image import exif_of, orientation_of

_WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC = 256, 257, 259, 262
_SUB_IFDS, _EXIF_IFD, _DNG_VERSION, _CROP_SIZE = 330, 34665, 50706, 50720
_EXIF_WIDTH, _EXIF_HEIGHT, _MAKE = 0xA002, 0xA003, 271
_SENSOR_COLOURS = (32803, 34892)
"""Photometric interpretations: a colour filter array, and linear raw."""
_SENSOR_CODES = (32767, 32769, 32770, 32772, 34713, 65000, 65535)
"""Compressions that only cameras use: Sony, Samsung, Nikon, Kodak, Pentax."""
_MAKERS = {
    "nikon": ("NEF", "image/x-nikon-nef"), "sony": ("ARW", "image/x-sony-arw"),
    "pentax": ("PEF", "image/x-pentax-pef"), "samsung": ("SRW", "image/x-samsung-srw"),
    "kodak": ("KDC", "image/x-kodak-kdc"), "hasselblad": ("3FR", "image/x-hasselblad-3fr"),
}  # fmt: skip
_SIGNATURES = (
    (b"IIRO", "ORF", "image/x-olympus-orf"),
    (b"IIRS", "ORF", "image/x-olympus-orf"),
    (b"MMOR", "ORF", "image/x-olympus-orf"),
    (b"IIU\0", "RW2", "image/x-panasonic-rw2"),
    (b"FUJIFILMCCD-RAW", "RAF", "image/x-fuji-raf"),
)
MIMES = frozenset(("image/tiff", "image/x-canon-cr3", *(mime for _, _, mime in _SIGNATURES)))
"""What files are called by their first bytes that may be RAW."""
_LEAST_SIDE = 600
"""Pixels of a preview's longer side; less is a thumbnail, unless the sensor has no more."""
_MAX_IFDS, _MAX_ENTRIES, _MAX_VALUES, _MAX_JPEGS = 64, 500, 16, 256
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 7: 1, 13: 4}
"""Bytes of the types of values that are read here."""

_Order: TypeAlias = Literal["little", "big"]
_Size: TypeAlias = tuple[int, int]
_Directory: TypeAlias = dict[int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Raw:
    """A RAW file that can be shown."""

    kind: str
    """"DNG", "NEF" and so on."""
    mime: str
    size: _Size
    """(width, height) of what the sensor saw, as it is stored."""
    preview: bytes
    """A picture: JPEG, or the file itself if its first picture is large enough."""
    tags: bytes | None
    """The file as a TIFF, for the EXIF of the main picture; None: the preview has its own."""


def read_raw(content: bytes) -> Raw | None:
    """The preview of a RAW file; None for other files. Raises MediaError: unsupported (nothing in
    it is large enough to be shown)."""
    kind = _kind(content)
    if kind is None:
        return None
    name, mime, directories = kind
    sensor = max(_sensor_sizes(directories, name), key=_area, default=(0, 0))
    previews = sorted(_jpegs(content), key=lambda each: _area(each[1]), reverse=True)
    at, shown = previews[0] if previews else (0, (0, 0))
    first = directories[0] if directories else {}
    plain = _dimensions(first)
    viewable = first.get(_PHOTOMETRIC) in ((2,), (6,)) and content[2:4] in (b"*\0", b"\0*")
    if viewable and _area(plain) > _area(shown):
        at, shown = 0, plain
    tiny = max(shown) < _LEAST_SIDE and 2 * max(shown) < max(sensor)
    if tiny or not _area(shown):
        raise MediaError(
            "unsupported",
            f"Camera raw data ({name}) is not developed, and the file has no preview that is "
            f"large enough ({shown[0]} x {shown[1]} pixels).",
        )
    tags = None
    if directories:
        # Some have a signature of their own in place of TIFF's.
        tags = (b"II*\0" if content[:2] == b"II" else b"MM\0*") + content[4:]
    size = sensor if _area(sensor) > _area(shown) else shown
    return Raw(name, mime, size, content[at:], tags)


def describe(picture: Image.Image, raw: Raw) -> dict[str, Any]:
    """Give the opened preview the EXIF of the main picture; its size (upright) and format."""
    if raw.tags is not None:
        exif_of(picture).load(b"Exif\0\0" + raw.tags)
    width, height = raw.size
    if orientation_of(picture) >= 5:
        width, height = height, width
    return {"width": width, "height": height, "format": raw.kind}


def _kind(content: bytes) -> tuple[str, str, list[_Directory]] | None:
    for signature, name, mime in _SIGNATURES:
        if content.startswith(signature):
            return name, mime, [] if name == "RAF" else list(_directories(content))
    if content[4:12] == b"ftypcrx ":
        return "CR3", "image/x-canon-cr3", []
    if content[:4] not in (b"II*\0", b"MM\0*"):
        return None
    directories = list(_directories(content))
    if not directories:
        return None
    if _DNG_VERSION in directories[0]:
        return "DNG", "image/x-adobe-dng", directories
    if content[8:10] == b"CR":
        return "CR2", "image/x-canon-cr2", directories
    if any(map(_is_sensor, directories)):
        make = bytes(value & 255 for value in directories[0].get(_MAKE, ())).decode("latin-1")
        maker = make.lower().split(" ")[0].strip("\0")
        name, mime = _MAKERS.get(maker, ("RAW", "image/x-raw"))
        return name, mime, directories
    return None


def _is_sensor(directory: _Directory) -> bool:
    colours, code = directory.get(_PHOTOMETRIC, (0,)), directory.get(_COMPRESSION, (0,))
    return colours[0] in _SENSOR_COLOURS or code[0] in _SENSOR_CODES


def _sensor_sizes(directories: list[_Directory], name: str) -> Iterator[_Size]:
    for directory in directories:
        if _is_sensor(directory) or name == "ORF":
            crop = directory.get(_CROP_SIZE, ())
            yield (crop[0], crop[1]) if len(crop) == 2 and min(crop) else _dimensions(directory)
        wide, high = directory.get(_EXIF_WIDTH), directory.get(_EXIF_HEIGHT)
        if wide and high:
            yield wide[0], high[0]
        if name == "RW2" and all(tag in directory for tag in (4, 5, 6, 7)):
            top, left, bottom, right = (directory[tag][0] for tag in (4, 5, 6, 7))
            yield max(0, right - left), max(0, bottom - top)


def _dimensions(directory: _Directory) -> _Size:
    return directory.get(_WIDTH, (0,))[0], directory.get(_HEIGHT, (0,))[0]


def _area(size: _Size) -> int:
    return size[0] * size[1]


def _directories(content: bytes) -> Iterator[_Directory]:
    """The directories of a TIFF (TIFF 6.0, section 2), those below them, and that of EXIF."""
    order: _Order = "little" if content[:2] == b"II" else "big"
    waiting = [int.from_bytes(content[4:8], order)]
    seen: set[int] = set()
    while waiting and len(seen) < _MAX_IFDS:
        at = waiting.pop(0)
        if at in seen or not 8 <= at < len(content) - 2:
            continue
        seen.add(at)
        count = int.from_bytes(content[at : at + 2], order)
        if count > _MAX_ENTRIES:
            continue
        directory = dict(_entries(content, at + 2, count, order))
        yield directory
        waiting += [*directory.get(_SUB_IFDS, ()), *directory.get(_EXIF_IFD, ())]
        end = at + 2 + 12 * count
        waiting.append(int.from_bytes(content[end : end + 4], order))


def _entries(
    content: bytes, at: int, count: int, order: _Order
) -> Iterator[tuple[int, tuple[int, ...]]]:
    for entry in range(at, at + 12 * count, 12):
        tag, kind = (int.from_bytes(content[entry + n : entry + n + 2], order) for n in (0, 2))
        size = _SIZES.get(kind, 0)
        if tag == _CROP_SIZE and kind == 5:  # fractions
            size = 8
        number = int.from_bytes(content[entry + 4 : entry + 8], order)
        values = min(number, _MAX_VALUES)
        if not size or not values:
            continue
        place = entry + 8
        if size * number > 4:
            place = int.from_bytes(content[place : place + 4], order)
        read = [content[place + n * size : place + (n + 1) * size] for n in range(values)]
        if size == 8:
            yield tag, tuple(_fraction(value, order) for value in read)
        else:
            yield tag, tuple(int.from_bytes(value, order) for value in read)


def _fraction(value: bytes, order: _Order) -> int:
    return int.from_bytes(value[:4], order) // max(1, int.from_bytes(value[4:], order))


def _jpegs(content: bytes) -> Iterator[tuple[int, _Size]]:
    """(position, size) of the JPEG pictures in a file, wherever its maker has put them."""
    at = content.find(b"\xff\xd8\xff")
    for _ in range(_MAX_JPEGS):
        if at < 0:
            return
        size = _jpeg_size(content, at)
        if size is not None:
            yield at, size
        at = content.find(b"\xff\xd8\xff", at + 2)


def _jpeg_size(content: bytes, at: int) -> _Size | None:
    """Of a JPEG that Pillow can decode; sensors' data is lossless or has more than 8 bits."""
    at += 2
    for _ in range(100):
        marker, length = content[at : at + 2], int.from_bytes(content[at + 2 : at + 4], "big")
        if len(marker) < 2 or marker[0] != 0xFF or length < 2:
            return None
        if marker[1] in (0xC0, 0xC1, 0xC2):
            precision, parts = content[at + 4], content[at + 9 : at + 10]
            height, width = (int.from_bytes(content[at + n : at + n + 2], "big") for n in (5, 7))
            usable = precision == 8 and parts in (b"\x01", b"\x03") and width and height
            return (width, height) if usable else None
        if marker[1] in (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xD9, 0xDA):
            return None
        at += 2 + length
    return None
