"""Filters that are typed in a query's text, as the JSON grammar of `mmsearch.search.parse.filters`.

``field:value`` is a filter if the library has the field and the value is possible for it. A field
is a shortcut of `SHORTCUTS`, a built-in field or a metadata key of the collection.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from mmsearch.search.parse.filters import FIELDS
from mmsearch.search.parse.language import FieldValue
from mmsearch.types import Modality

Filter = dict[str, Any]

SHORTCUTS = ("type", "after", "before", "tag", "lang")
"""Fields of the language itself."""
_KEY_OF = {"tag": "tags", "lang": "language"}

_MEDIA = {"audio": "audio/%", "photo": "image/%", "film": "video/%"}
_KINDS: Mapping[str, Filter] = {
    **{modality.value: {"modality": modality.value} for modality in Modality},
    **{name: {"mime": {"like": pattern}} for name, pattern in _MEDIA.items()},
    "recording": {"modality": {"in": ["speech", "sound"]}},
    "document": {"modality": {"in": ["text", "page"]}},
}

_CONTAINS = frozenset(
    ("path", "uri", "text", "title", "caption", "description", "subject", "author", "artist",
     "album", "camera", "lens")
)  # fmt: skip
"""Fields of which a part is enough. Of others the whole value counts."""

_NUMBER = re.compile(r"[+-]?\d{1,300}(?:\.\d{1,300})?")
"""Of no more digits than a float has room for."""
_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
_COMPARED = re.compile(r"(>=|<=|>|<|=)(.+)", re.DOTALL)
_OPERATORS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte", "=": "eq"}
_IS_DATE = re.compile(r"(?:^|_)(?:at|date)$", re.IGNORECASE)


def filter_of(item: FieldValue, metadata_keys: Collection[str]) -> Filter | None:
    """The filter that an item is; None if it is only words."""
    condition = _filter_of(item, metadata_keys)
    return {"not": condition} if condition is not None and item.excluded else condition


def key_of(field: str) -> str:
    """The built-in field or metadata key that a typed field means."""
    return _KEY_OF.get(field, field)


def _filter_of(item: FieldValue, metadata_keys: Collection[str]) -> Filter | None:
    if item.field == "type":
        return _type(item.value)
    if item.field in {"after", "before"}:
        return _on(item.value, "gte" if item.field == "after" else "lt", metadata_keys)
    key = key_of(item.field)
    if '"' in key or (key not in FIELDS and key not in metadata_keys):
        return None
    if item.quoted:
        condition = _quoted(key, item.value)
    elif ".." in item.value:
        condition = _range(key, *item.value.split("..", 1))
    elif (compared := _COMPARED.fullmatch(item.value)) is not None:
        condition = _compared(key, _OPERATORS[compared[1]], compared[2])
    else:
        condition = _equal(key, item.value)
    return None if condition is None else {key: condition}


def _type(value: str) -> Filter | None:
    """A modality, a kind of media, or a file format by its extension or MIME type."""
    name = value.casefold()
    if name in _KINDS:
        return dict(_KINDS[name])
    if re.fullmatch(r"[a-z]+/[\w.+*-]+", name):
        return {"mime": {"like": name.replace("*", "%")}}
    mime = mimetypes.guess_type(f"file.{name}")[0] if name.isalnum() else None
    return {"mime": mime} if mime else None


def _on(value: str, op: str, metadata_keys: Collection[str]) -> Filter | None:
    """By the date a picture was taken; by that of the file where there is no such date."""
    if _period(value) is None:
        return None
    modified: Filter = {"modified_at": {op: _day(value)}}
    if "taken_at" not in metadata_keys:
        return modified
    undated = {"taken_at": {"exists": False}, **modified}
    return {"or": [{"taken_at": {op: value}}, undated]}


def _equal(key: str, value: str) -> Any:
    if (period := _date_of(key, value)) is not None:
        return {"gte": period[0], "lt": period[1]}
    if key in FIELDS and FIELDS[key].wants != "a string":
        return _possible(key, value)
    pattern = value.replace("*", "%")
    if key in _CONTAINS:
        return {"like": f"%{pattern}%"}
    if key not in FIELDS and _NUMBER.fullmatch(value):
        return {"in": [_number(value), value]}
    if key not in FIELDS and value in {"true", "false"}:
        return {"in": [value == "true", value]}
    # A sign that is a wildcard of `like` is compared to the letter.
    exact = "*" not in value and ("%" in value or "_" in value)
    return value if exact else {"like": pattern}


def _quoted(key: str, value: str) -> Any:
    if key in FIELDS and FIELDS[key].wants != "a string":
        return _possible(key, value)
    return value


def _range(key: str, low: str, high: str) -> Filter | None:
    parts = [_compared(key, "gte", low) if low else {}, _compared(key, "lte", high) if high else {}]
    condition: Filter = {}
    for part in parts:
        if part is None:
            return None
        condition |= part
    return condition or None


def _compared(key: str, op: str, value: str) -> Filter | None:
    if op == "eq":
        condition = _equal(key, value)
        is_whole = condition is None or isinstance(condition, dict)
        return condition if is_whole else {"eq": condition}
    if (period := _date_of(key, value)) is not None:
        start, end = period
        return {
            "gt": {"gte": end},
            "gte": {"gte": start},
            "lt": {"lt": start},
            "lte": {"lt": end},
        }[op]
    if key in FIELDS:
        possible = _possible(key, value)
        return None if possible is None or key == "modality" else {op: possible}
    return {op: _number(value) if _NUMBER.fullmatch(value) else value}


def _possible(key: str, value: str) -> Any:
    """The value as the built-in field takes it; None if it cannot."""
    typed: Any = _number(value) if _NUMBER.fullmatch(value) else value
    try:
        FIELDS[key].read(typed)
    except (ValueError, OverflowError):
        return None
    return typed


def _number(value: str) -> int | float:
    return float(value) if "." in value else int(value)


# -------------------------------------------------------------------- dates


def _date_of(key: str, value: str) -> tuple[str, str] | None:
    """A year, month or day as [start, end), if the field is a date and the value is one."""
    is_moment = key in FIELDS and FIELDS[key].is_moment
    if not is_moment and (key in FIELDS or _IS_DATE.search(key) is None):
        return None
    period = _period(value)
    if period is None or not is_moment:
        return period
    return _day(period[0]), _day(period[1])


def _period(value: str) -> tuple[str, str] | None:
    match = _DATE.fullmatch(value)
    if match is None:
        return None
    try:
        start = datetime.fromisoformat(_day(value)).replace(tzinfo=UTC)
        if match[3]:
            end = datetime.fromtimestamp(start.timestamp() + 86_400, UTC).strftime("%Y-%m-%d")
        elif match[2]:
            year, month = int(match[1]) + (match[2] == "12"), int(match[2]) % 12 + 1
            end = f"{year:04}-{month:02}"
        else:
            end = f"{int(match[1]) + 1:04}"
        datetime.fromisoformat(_day(end))
    except (ValueError, OverflowError, OSError):
        return None
    return value, end


def _day(value: str) -> str:
    """The first day of a year or month; a day as it is."""
    return value + "-01-01"[len(value) - 4 :] if len(value) in {4, 7} else value
