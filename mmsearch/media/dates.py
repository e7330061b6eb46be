"""Dates as files write them, to ISO 8601."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

_MOMENT = re.compile(
    r"""\s*(?P<year>\d{4})\s*[:/.-]\s*(?P<month>\d{1,2})\s*[:/.-]\s*(?P<day>\d{1,2})
    (?:[T ]+(?P<hour>\d{1,2})\s*:\s*(?P<minute>\d{1,2})(?:\s*:\s*(?P<second>\d{1,2})(?:[.,]\d+)?)?
    \s*(?P<zone>Z|[+-]\d{1,2}(?::?\d{2})?)?)?""",
    re.VERBOSE | re.IGNORECASE,
)
_ZONE = re.compile(r"(Z)|([+-])(\d{1,2})(?::?(\d{2}))?", re.IGNORECASE)


def iso_date(text: str, zone: str = "") -> str | None:
    """A date in any of the usual orders from year to second as ISO 8601, as exact as it is.

    Reads "2023:07:14 18:05:33" (EXIF), "2023-07-14T18:05:33Z", "2023/7/14 18:05", "2023-07-14"
    and the like. `zone` ("+02:00", "Z") counts if the text has none. None for what is no date.
    """
    match = _MOMENT.match(text)
    if match is None:
        return None
    parts = match.groupdict()
    try:
        day = date(int(parts["year"]), int(parts["month"]), int(parts["day"]))
        if parts["hour"] is None:
            return day.isoformat()
        clock = time(int(parts["hour"]), int(parts["minute"]), int(parts["second"] or 0))
    except ValueError:
        return None
    return datetime.combine(day, clock).isoformat() + iso_zone(parts["zone"] or zone)


def iso_zone(text: str) -> str:
    """ "+02:00", "+0200" or "Z" as ISO 8601 writes it; "" for what is no time zone."""
    match = _ZONE.fullmatch(text.strip())
    if match is None:
        return ""
    utc, sign, hours, minutes = match.groups()
    if utc:
        return "Z"
    if int(hours) > 14 or int(minutes or 0) > 59:
        return ""
    return f"{sign}{int(hours):02}:{int(minutes or 0):02}"


def iso_timestamp(seconds: float) -> str | None:
    """Seconds since 1970 as ISO 8601 in UTC; None outside the years 1 to 9999."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        return None
    return moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")
