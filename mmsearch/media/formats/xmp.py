"""XMP: what photo programs write about a picture, inside it or beside it (ISO 16684-1).

Everything in here is a claim of the file: values are bounded and cleaned, and whatever cannot be
read is left out. Packets with a document type are refused: entities are what bombs are made of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

MAX_BYTES = 2 * 2**20
_MAX_WORDS = 100
_MAX_CHARACTERS = 2000

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_XMP = "{http://ns.adobe.com/xap/1.0/}"
_EXIF = "{http://ns.adobe.com/exif/1.0/}"
_PHOTOSHOP = "{http://ns.adobe.com/photoshop/1.0/}"

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?")
_COORDINATE = re.compile(r"(\d{1,3}),(\d{1,2}(?:\.\d+)?)(?:,(\d{1,2}(?:\.\d+)?))?([NSEW])")


def xmp_metadata(packet: bytes) -> dict[str, Any]:
    """Where present: title, description, keywords, artist, rating, label, taken_at (ISO 8601),
    latitude, longitude. {} for what is no XMP packet; never raises."""
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    if len(packet) > MAX_BYTES:
        return {}
    try:
        root = fromstring(packet.strip(b"\0 \r\n\t"), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError):
        return {}
    found: dict[str, Any] = {}
    for description in root.iter(f"{_RDF}Description"):
        found |= {name: value for name, value in _fields(description).items() if value}
    return found


def _fields(description: Element) -> dict[str, Any]:
    latitude = _degrees(_first(description, f"{_EXIF}GPSLatitude"), 90)
    longitude = _degrees(_first(description, f"{_EXIF}GPSLongitude"), 180)
    whole = latitude is not None and longitude is not None
    return {
        "title": _first(description, f"{_DC}title"),
        "description": _first(description, f"{_DC}description"),
        "keywords": list(dict.fromkeys(_values(description, f"{_DC}subject")))[:_MAX_WORDS],
        "artist": _first(description, f"{_DC}creator"),
        "rating": _rating(_first(description, f"{_XMP}Rating")),
        "label": _first(description, f"{_XMP}Label"),
        "taken_at": _date(_first(description, f"{_EXIF}DateTimeOriginal"))
        or _date(_first(description, f"{_PHOTOSHOP}DateCreated"))
        or _date(_first(description, f"{_XMP}CreateDate")),
        "latitude": latitude if whole else None,
        "longitude": longitude if whole else None,
    }


def _values(description: Element, name: str) -> Iterator[str]:
    """A property, written as an attribute, as text, or as a list in one of RDF's containers."""
    plain = description.get(name)
    texts = [plain] if plain is not None else []
    for element in description.iterfind(name):
        items = list(element.iter(f"{_RDF}li"))
        texts += [one.text or "" for one in items] if items else [element.text or ""]
    for text in texts:
        cleaned = _UNPRINTABLE.sub(" ", text[: 4 * _MAX_CHARACTERS]).strip()[:_MAX_CHARACTERS]
        if cleaned:
            yield cleaned


def _first(description: Element, name: str) -> str:
    return next(_values(description, name), "")


def _rating(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-1|[0-5]", text) else None


def _date(text: str) -> str | None:
    return text if _DATE.fullmatch(text) else None


def _degrees(text: str, limit: int) -> float | None:
    """ "48,51.5N" and "48,51,30N" as decimal degrees."""
    match = _COORDINATE.fullmatch(text)
    if match is None:
        return None
    degrees, minutes, seconds, side = match.groups()
    angle = int(degrees) + float(minutes) / 60 + float(seconds or 0) / 3600
    if angle > limit:
        return None
    return round(-angle if side in "SW" else angle, 7)
