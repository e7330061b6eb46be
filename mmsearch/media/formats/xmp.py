"""XMP: what photo programs write about a picture, inside it or beside it (ISO 16684-1).

Everything in here is a claim of the file: values are bounded and cleaned, and whatever cannot be
read is left out. Packets with a document type are refused: entities are what bombs are made of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

from mmsearch.media.dates import iso_date

MAX_BYTES = 2 * 2**20
_MAX_WORDS = 100
_MAX_CHARACTERS = 2000

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_XMP = "{http://ns.adobe.com/xap/1.0/}"
_EXIF = "{http://ns.adobe.com/exif/1.0/}"
_PHOTOSHOP = "{http://ns.adobe.com/photoshop/1.0/}"
_LIGHTROOM = "{http://ns.adobe.com/lightroom/1.0/}"
_DIGIKAM = "{http://www.digikam.org/ns/1.0/}"
_MICROSOFT = "{http://ns.microsoft.com/photo/1.0/}"
_IPTC_CORE = "{http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/}"
_IPTC_EXT = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
_REGIONS = "{http://www.metadataworkinggroup.com/schemas/regions/}"
_MS_REGION = "{http://ns.microsoft.com/photo/1.2/t/Region#}"

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+")
_COORDINATE = re.compile(r"(\d{1,3}),(\d{1,2}(?:\.\d+)?)(?:,(\d{1,2}(?:\.\d+)?))?([NSEW])")


def xmp_metadata(packet: bytes) -> dict[str, Any]:
    """Where present: title, headline, description, keywords (hierarchical tags as "Places/Rome",
    and their last part), people, artist, rating (-1 to 5), label, taken_at (ISO 8601), latitude,
    longitude, location, city, state, country. {} for what is no XMP packet; never raises."""
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    if len(packet) > MAX_BYTES:
        return {}
    try:
        root = fromstring(packet.strip(b"\0 \r\n\t"), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError):
        return {}
    found: dict[str, Any] = {}
    # Not those below: they are structures, such as a marked face.
    for description in (each for rdf in root.iter(f"{_RDF}RDF") for each in rdf):
        # 0 is a value: the equator, and a picture that was rated as nothing.
        found |= {
            name: value
            for name, value in _fields(description).items()
            if value not in (None, "", [])
        }
    return found


def _fields(description: Element) -> dict[str, Any]:
    latitude = _degrees(_first(description, f"{_EXIF}GPSLatitude"), 90)
    longitude = _degrees(_first(description, f"{_EXIF}GPSLongitude"), 180)
    whole = latitude is not None and longitude is not None
    return {
        "title": _first(description, f"{_DC}title"),
        "headline": _first(description, f"{_PHOTOSHOP}Headline"),
        "description": _first(description, f"{_DC}description"),
        "keywords": _keywords(description),
        "people": _people(description),
        "artist": _first(description, f"{_DC}creator"),
        "rating": _rating(
            _first(description, f"{_XMP}Rating"), _first(description, f"{_MICROSOFT}Rating")
        ),
        "label": _first(description, f"{_XMP}Label"),
        "taken_at": iso_date(_first(description, f"{_EXIF}DateTimeOriginal"))
        or iso_date(_first(description, f"{_PHOTOSHOP}DateCreated"))
        or iso_date(_first(description, f"{_XMP}CreateDate")),
        "location": _first(description, f"{_IPTC_CORE}Location"),
        "city": _first(description, f"{_PHOTOSHOP}City"),
        "state": _first(description, f"{_PHOTOSHOP}State"),
        "country": _first(description, f"{_PHOTOSHOP}Country"),
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
    yield from filter(None, map(_clean, texts))


def _clean(text: str | None) -> str:
    cleaned = _UNPRINTABLE.sub(" ", (text or "")[: 4 * _MAX_CHARACTERS])
    return cleaned.strip()[:_MAX_CHARACTERS]


def _first(description: Element, name: str) -> str:
    return next(_values(description, name), "")


def _keywords(description: Element) -> list[str]:
    """Flat keywords, and tags of a tree: whole ("Places/Rome") and their last part."""
    words = list(_values(description, f"{_DC}subject"))
    paths = [
        *_values(description, f"{_LIGHTROOM}hierarchicalSubject"),
        *_values(description, f"{_DIGIKAM}TagsList"),
        *_values(description, f"{_MICROSOFT}LastKeywordXMP"),
    ]
    for path in paths:
        parts = [part.strip() for part in re.split(r"[|/]", path) if part.strip()]
        if parts:
            words += [parts[-1], "/".join(parts)]
    return list(dict.fromkeys(words))[:_MAX_WORDS]


def _people(description: Element) -> list[str]:
    """Names of people in the picture: as a list, and of marked faces (MWG's and Microsoft's)."""
    names = list(_values(description, f"{_IPTC_EXT}PersonInImage"))
    for region in description.iter():
        kind = _property(region, f"{_REGIONS}Type")
        if kind is None or kind.lower() == "face":
            names += [_clean(_property(region, f"{_REGIONS}Name"))]
        names += [_clean(_property(region, f"{_MS_REGION}PersonDisplayName"))]
    return list(dict.fromkeys(name for name in names if name))[:_MAX_WORDS]


def _property(element: Element, name: str) -> str | None:
    """A simple property of a structure: an attribute, or an element below it."""
    return element.get(name) or element.findtext(name)


def _rating(stars: str, percent: str) -> int | None:
    """Adobe's -1 to 5 ("4", "4.0"), else Microsoft's 1, 25, 50, 75, 99 of a hundred."""
    if re.fullmatch(r"-1|[0-5]([.,]\d+)?|-1[.,]0+", stars):
        return round(float(stars.replace(",", ".")))
    if re.fullmatch(r"\d{1,2}", percent) and int(percent):
        return 1 + round(int(percent) / 25)
    return None


def _degrees(text: str, limit: int) -> float | None:
    """ "48,51.5N", "48,51,30N", and the "48.8583" or "48.8583N" of some programs, as decimal
    degrees."""
    plain = re.fullmatch(r"([+-]?\d{1,3}(?:\.\d+)?)\s*([NSEW]?)", text, re.IGNORECASE)
    if plain is not None:
        angle = float(plain[1]) * (-1 if plain[2].upper() in ("S", "W") else 1)
        return round(angle, 7) if abs(angle) <= limit else None
    match = _COORDINATE.fullmatch(text)
    if match is None:
        return None
    degrees, minutes, seconds, side = match.groups()
    angle = int(degrees) + float(minutes) / 60 + float(seconds or 0) / 3600
    if angle > limit:
        return None
    return round(-angle if side in "SW" else angle, 7)
