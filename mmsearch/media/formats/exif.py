"""What a picture says about itself: EXIF, IPTC, XMP and PNG text, as JSON values.

Everything in here is a claim of the file: values are bounded, cleaned and checked for range,
and whatever cannot be read is left out.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from typing import Any

from PIL import Image

from mmsearch.media.dates import iso_date
from mmsearch.media.formats.image import exif_of, orientation_of

MAX_CHARACTERS = 2000
"""Of one text field."""
_MAX_KEYWORDS = 100

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_DESCRIPTION, _MAKE, _MODEL, _DATE, _ARTIST = 0x010E, 0x010F, 0x0110, 0x0132, 0x013B
_XP_TITLE, _XP_COMMENT, _XP_KEYWORDS = 0x9C9B, 0x9C9C, 0x9C9E
_DATE_ORIGINAL, _DATE_DIGITIZED = 0x9003, 0x9004
_OFFSET, _OFFSET_ORIGINAL, _OFFSET_DIGITIZED = 0x9010, 0x9011, 0x9012
_LENS = 0xA434
_USER_COMMENT = 0x9286
_GPS_TIME, _GPS_DATE = 7, 29
_XMP_TAG = 0x02BC
_IPTC = {
    "title": (2, 5), "artist": (2, 80), "location": (2, 92), "city": (2, 90), "state": (2, 95),
    "country": (2, 101), "headline": (2, 105), "description": (2, 120),
}  # fmt: skip
_IPTC_KEYWORDS, _IPTC_DATE, _IPTC_TIME = (2, 25), (2, 55), (2, 60)
_COMPACT_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)([+-]\d{4})?)?")
_PLACEHOLDERS = frozenset(
    ("olympus digital camera", "sony dsc", "kodak digital still camera", "digital still camera",
     "samsung camera pictures", "default", "untitled", "ascii", "charset=ascii", "binary comment")
)  # fmt: skip
"""Descriptions that cameras write into every picture (lower case)."""
_COMMENT_CODES = {b"ASCII\0\0\0": "utf-8", b"JIS\0\0\0\0\0": "iso2022_jp"}
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+")


def image_metadata(image: Image.Image) -> dict[str, Any]:
    """width and height (upright), format, and where present: taken_at (ISO 8601, with the offset
    if the camera wrote it), camera, lens, latitude, longitude (decimal degrees), orientation,
    title, headline, description, keywords, artist, rating, label, location, city, state, country,
    people. Never raises on hostile content."""
    width, height = image.info.get("full_size", image.size)
    orientation = orientation_of(image)
    if orientation >= 5:
        width, height = height, width
    kind = "JPEG" if image.format == "MPO" else image.format
    found: dict[str, Any] = {"width": width, "height": height, "format": kind}
    readers: tuple[Callable[[Image.Image], dict[str, Any]], ...] = (
        _png_text, _xmp, _iptc, _exif, _gps,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for reader in readers:
            try:
                fields = reader(image).items()
                words = found.get("keywords", [])
                found |= {name: value for name, value in fields if value not in (None, "", [])}
                if words:  # one program writes the tree of tags, another only its last parts
                    found["keywords"] = list(dict.fromkeys([*words, *found["keywords"]]))
            except Exception:  # noqa: BLE001, S112  # hostile bytes raise anything
                continue
    if orientation != 1:
        found["orientation"] = orientation
    return found


def clean(value: Any) -> str:
    """A text field as one printable string; "" for what is none."""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            value = value.decode("latin-1")
    elif isinstance(value, str):
        value = _utf8(value)
    else:
        return ""
    return _UNPRINTABLE.sub(" ", value[: 4 * MAX_CHARACTERS]).strip()[:MAX_CHARACTERS]


def camera_name(make: str, model: str) -> str:
    """ "Canon" and "Canon EOS 40D": the make once."""
    starts = make and model.lower().startswith(make.lower())
    return model if starts else f"{make} {model}".strip()


def _utf8(value: str) -> str:
    """Text that Pillow has decoded as Latin-1: nearly all programs write UTF-8 today."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _exif(image: Image.Image) -> dict[str, Any]:
    exif = exif_of(image)
    if not exif:
        return {}
    detail = _ifd(exif, _EXIF_IFD)
    camera = camera_name(clean(exif.get(_MAKE)), clean(exif.get(_MODEL)))
    keywords = [clean(word) for word in _utf16(exif.get(_XP_KEYWORDS)).split(";")]
    return {
        "taken_at": _date(detail.get(_DATE_ORIGINAL), detail.get(_OFFSET_ORIGINAL))
        or _date(detail.get(_DATE_DIGITIZED), detail.get(_OFFSET_DIGITIZED))
        or _gps_date(_ifd(exif, _GPS_IFD))
        or _date(exif.get(_DATE), detail.get(_OFFSET)),
        "camera": camera,
        "lens": clean(detail.get(_LENS)),
        "description": _meant(clean(exif.get(_DESCRIPTION)))
        or clean(_utf16(exif.get(_XP_COMMENT)))
        or _meant(_comment(detail.get(_USER_COMMENT), exif.endian)),
        "title": clean(_utf16(exif.get(_XP_TITLE))),
        "artist": clean(exif.get(_ARTIST)),
        "keywords": [word for word in keywords if word][:_MAX_KEYWORDS],
    }


def _ifd(exif: Image.Exif, tag: int) -> dict[int, Any]:
    try:
        return dict(exif.get_ifd(tag))
    except Exception:  # noqa: BLE001  # a damaged directory must not hide the others
        return {}


def _utf16(value: Any) -> str:
    """The XP* fields of Windows."""
    if isinstance(value, tuple):
        value = bytes(value)
    return value.decode("utf-16-le", "ignore").rstrip("\0") if isinstance(value, bytes) else ""


def _meant(description: str) -> str:
    return "" if description.lower() in _PLACEHOLDERS else description


def _comment(value: Any, byte_order: str | None) -> str:
    """UserComment: eight bytes that name a character set, then the text."""
    if isinstance(value, str):
        return clean(value)
    if not isinstance(value, bytes):
        return ""
    code, text = value[:8], value[8:]
    if code == b"UNICODE\0":
        return clean(_utf16_any(text, byte_order))
    return clean(text.decode(_COMMENT_CODES.get(code, "utf-8"), "ignore"))


def _utf16_any(text: bytes, byte_order: str | None) -> str:
    """UTF-16 by its byte order mark, else in the order that makes more sense, else the file's."""
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return text.decode("utf-16", "ignore")
    # In the wrong order the letters of one script are spread over all of Unicode.
    names = ("utf-16-le", "utf-16-be") if byte_order == "<" else ("utf-16-be", "utf-16-le")
    choices = [text.decode(name, "ignore") for name in names]
    return min(choices, key=lambda choice: len({ord(character) >> 8 for character in choice}))


def _date(value: Any, zone: Any) -> str | None:
    """EXIF's "2023:07:14 18:05:33" and "+02:00" as ISO 8601."""
    return iso_date(clean(value), clean(zone))


def _gps_date(gps: dict[int, Any]) -> str | None:
    """When the position was fixed, in UTC: phones write it where they write no other date."""
    day, clock = iso_date(clean(gps.get(_GPS_DATE))), gps.get(_GPS_TIME)
    if day is None or not isinstance(clock, tuple) or len(clock) != 3:
        return day
    hours, minutes, seconds = (int(float(part)) for part in clock)
    return iso_date(f"{day} {hours}:{minutes}:{seconds}Z") or day


def _gps(image: Image.Image) -> dict[str, Any]:
    gps = _ifd(exif_of(image), _GPS_IFD)
    latitude = _degrees(gps.get(2), gps.get(1), "S", 90)
    longitude = _degrees(gps.get(4), gps.get(3), "W", 180)
    # 0, 0 is what cameras without a fix write.
    if latitude is None or longitude is None or latitude == longitude == 0:
        return {}
    return {"latitude": latitude, "longitude": longitude}


def _degrees(value: Any, reference: Any, negative: str, limit: int) -> float | None:
    if not isinstance(value, tuple) or len(value) != 3:
        return None
    degrees, minutes, seconds = (float(part) for part in value)
    angle = degrees + minutes / 60 + seconds / 3600
    if not math.isfinite(angle) or not 0 <= angle <= limit:
        return None
    return round(-angle if clean(reference).upper().startswith(negative) else angle, 7)


def _iptc(image: Image.Image) -> dict[str, Any]:
    if "photoshop" not in image.info and image.format != "TIFF":
        return {}
    from PIL import IptcImagePlugin

    fields: dict[Any, Any] = IptcImagePlugin.getiptcinfo(image) or {}  # type: ignore[arg-type]
    keywords = fields.get(_IPTC_KEYWORDS, [])
    keywords = keywords if isinstance(keywords, list) else [keywords]
    date = _COMPACT_DATE.match(clean(fields.get(_IPTC_DATE)) + clean(fields.get(_IPTC_TIME)))
    year, month, day, *clock, zone = date.groups("") if date else [""] * 7
    return {
        **{name: clean(_first(fields.get(tag))) for name, tag in _IPTC.items()},
        "taken_at": iso_date(f"{year}-{month}-{day} {':'.join(clock)}{zone}"),
        "keywords": [word for word in map(clean, keywords[:_MAX_KEYWORDS]) if word],
    }


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _xmp(image: Image.Image) -> dict[str, Any]:
    from mmsearch.media.formats.xmp import xmp_metadata

    packet = image.info.get("xmp")
    if packet is None and image.format == "TIFF":
        packet = getattr(image, "tag_v2", {}).get(_XMP_TAG)
    if isinstance(packet, str):
        packet = packet.encode()
    return xmp_metadata(packet) if isinstance(packet, bytes) else {}


def _png_text(image: Image.Image) -> dict[str, Any]:
    if image.format != "PNG":
        return {}
    return {
        "title": clean(image.info.get("Title")),
        "description": clean(image.info.get("Description"))
        or clean(image.info.get("Comment"))
        or clean(image.info.get("parameters")),  # the prompt of a generated picture
        "artist": clean(image.info.get("Author")),
    }
