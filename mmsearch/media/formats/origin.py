"""When, where and with what a recording or film was made, under the same names as of photos."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from mmsearch.media.dates import iso_date
from mmsearch.media.formats.exif import camera_name, clean

# In lower case. QuickTime's date has the time zone of the place; creation_time is in UTC.
_DATES = ("com.apple.quicktime.creationdate", "creationdate", "date_recorded", "datetimeoriginal")
_CREATED = ("creation_time", "date_encoded", "icrd", "idit")
_PLACES = (
    "com.apple.quicktime.location.iso6709", "location", "xyz", "\xa9xyz", "location-eng",
    "recording_location", "gps_location",
)  # fmt: skip
_MAKES = ("com.apple.quicktime.make", "make", "com.android.manufacturer", "manufacturer")
_MODELS = ("com.apple.quicktime.model", "model", "com.android.model")
_NO_DATES = ("1904-01-01", "1970-01-01", "0000", "1903-12-31", "1969-12-31")
"""What a clock that was never set gives: the epochs of QuickTime and of Unix."""
_TIME_OF_DAY = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
_ISO_6709 = re.compile(r"([+-]\d+(?:\.\d+)?)([+-]\d+(?:\.\d+)?)")


def origin_of(tags: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """Where present: taken_at (ISO 8601), recorded_at (the container's own date, as it is
    written), latitude, longitude (decimal degrees), camera.

    `tags` are those of the container, then of its streams.
    """
    known: dict[str, str] = {}
    for group in tags:
        for name, value in group.items():
            known.setdefault(name.lower(), clean(value))
    fields: dict[str, Any] = {}
    created = _date_in(known, _CREATED) or _broadcast_date(known)
    taken = _date_in(known, _DATES) or _whole_date(known) or created
    if taken and not (known.get("album") and taken == created):
        # When an album's file was written says nothing about its recording.
        fields["taken_at"] = taken
    if created:
        stated = known.get("creation_time", "")
        fields["recorded_at"] = stated if _date(stated) else created
    for name in _PLACES:
        place = iso_6709(known.get(name, ""))
        if place is not None:
            fields |= {"latitude": place[0], "longitude": place[1]}
            break
    make, model = _first(known, _MAKES), _first(known, _MODELS)
    if model or make:
        fields["camera"] = camera_name(make, model)
    return fields


def iso_6709(text: str) -> tuple[float, float] | None:
    """(latitude, longitude) in decimal degrees of "+48.1374+011.5755+519.000/", of degrees and
    minutes ("+4808.24+01134.53/"), or with seconds. None for what is no place, and for 0, 0."""
    match = _ISO_6709.match(text.strip())
    if match is None:
        return None
    latitude, longitude = _angle(match[1], 2), _angle(match[2], 3)
    if latitude is None or longitude is None or latitude == longitude == 0:
        return None
    if abs(latitude) > 90 or abs(longitude) > 180:
        return None
    return latitude, longitude


def _angle(text: str, digits: int) -> float | None:
    """By how many digits stand before the point: degrees, minutes and seconds have two each."""
    whole, _, fraction = text[1:].partition(".")
    number = float(f"{whole}.{fraction or 0}")
    if len(whole) <= digits:
        angle = number
    elif len(whole) <= digits + 2:
        angle = number // 100 + math.fmod(number, 100) / 60
    elif len(whole) <= digits + 4:
        angle = number // 10000 + number // 100 % 100 / 60 + math.fmod(number, 100) / 3600
    else:
        return None
    return round(-angle if text[0] == "-" else angle, 7)


def _first(known: Mapping[str, str], names: Iterable[str]) -> str:
    return next((known[name] for name in names if known.get(name)), "")


def _date_in(known: Mapping[str, str], names: Iterable[str]) -> str | None:
    return next((date for name in names if (date := _date(known.get(name, "")))), None)


def _date(text: str) -> str | None:
    date = iso_date(text)
    return None if date is None or date.startswith(_NO_DATES) else date


def _whole_date(known: Mapping[str, str]) -> str | None:
    """A film's "date" with a time of day; of music it is the day of its publication."""
    date = None if known.get("album") else _date(known.get("date", ""))
    return date if date and "T" in date else None


def _broadcast_date(known: Mapping[str, str]) -> str | None:
    """Broadcast WAV has the day as "date", and only the time of day as "creation_time"."""
    clock = known.get("creation_time", "")
    return _date(f"{known.get('date', '')} {clock}") if _TIME_OF_DAY.fullmatch(clock) else None
