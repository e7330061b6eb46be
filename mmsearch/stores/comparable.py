"""What filters compare in place of a text: its comparison key, and the times that it names.

`comparison_key` is the same function as `mmsearch_fold` of SQL (`Dialect.fold`): on SQLite it is
this one, on PostgreSQL a function that migration 0005 creates. A test compares the two.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

_DATE = re.compile(
    r"\d{4}-\d{2}(?:-\d{2}(?:[Tt ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?"
    r"(?P<offset>[Zz]|[+-]\d{2}:?\d{2})?)?)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def comparison_key(text: str) -> str:
    """Equal for texts that differ in case or Unicode normal form only.

    NFC, lower case, and the letters whose upper case is written otherwise: ß is ss, ς is σ.
    """
    if text.isascii():
        return text.lower()
    lower = unicodedata.normalize("NFC", text).replace("İ", "i̇").lower()
    return lower.replace("ß", "ss").replace("ς", "σ").replace("ſ", "s")


@dataclass(frozen=True, slots=True)
class Times:
    """The times that a date names, as seconds since 1970."""

    local: float
    """Of its start, by the clock that it was written by."""
    instant: float
    """Of its start in UTC; a date without an offset counts as UTC."""
    local_end: float
    """`local` of what follows it: the next day or month; `local` itself for a time of day."""
    is_period: bool
    """A day or month, and no time of day."""
    has_offset: bool


def times_of(text: str) -> Times | None:
    """The times of "2024-05", "2024-05-31" or "2024-05-31T10:00:00+09:00"; None for other texts.

    A year alone is no date here: "2024" is as often a title.
    """
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    try:
        if len(text) <= len("2024-05-31"):
            first = date.fromisoformat(text if len(text) > len("2024-05") else f"{text}-01")
            start = datetime(first.year, first.month, first.day, tzinfo=UTC)
            days = 1 if len(text) > len("2024-05") else _days_of_month(first)
            local = _seconds(start)
            return Times(local, local, local + 86_400 * days, True, False)
        moment = datetime.fromisoformat(text.upper().replace(",", "."))
    except ValueError:  # 2024-02-30, 25:00
        return None
    local = _seconds(moment.replace(tzinfo=UTC))
    offset = moment.utcoffset() or timedelta()
    has_offset = match["offset"] is not None
    return Times(local, local - offset.total_seconds(), local, False, has_offset)


def sortable_text(text: str) -> str:
    """Sorts dates by their instants, as UTC in one spelling; other texts by comparison key."""
    times = times_of(text)
    if times is None or times.is_period:
        return comparison_key(text)
    try:
        return (_EPOCH + timedelta(seconds=times.instant)).isoformat(timespec="microseconds")
    except OverflowError:  # its UTC lies before the year 1 or after 9999
        return comparison_key(text)


def _days_of_month(first: date) -> int:
    following = first.month % 12 + 1
    return 31 if following == 1 else (date(first.year, following, 1) - first).days


def _seconds(moment: datetime) -> float:
    return (moment - _EPOCH).total_seconds()
