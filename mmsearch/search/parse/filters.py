"""Filters: a JSON grammar, compiled to SQL.

``{"taken_at": {"gte": "2024-01-01"}, "tags": {"any": ["beach"]}}``: every field must
hold. Operators: eq ne in not_in lt lte gt gte like exists any all; ``{"field": value}`` is
short for eq. ``and`` and ``or`` take a list of filters, ``not`` takes one. A field is one of
`FIELDS`, a well-known metadata key (`fields.WELL_KNOWN`) or another metadata key of the
collection's sources. Any other name is an error, because a mistyped filter that silently matches
nothing looks like a broken search.

- A metadata key that holds a list passes if one of its values does; `all` asks for several.
- A comparison with a missing value is false; `ne` and `not_in` are true for it.
- Metadata is compared by type: a number in the filter only with numbers, a string with strings.
- Texts compare whatever their case and Unicode normal form; `uri` does so in `like` only.
- A date without a time is the whole day by the value's own clock, as a month is the whole month:
  ``{"lte": "2024-01-31"}`` has the 31st in it. With an offset it is an instant, and a value
  without an offset counts as UTC. Dates of the metadata compare only with dates.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, and_, false, func, not_, or_, true

from mmsearch.errors import FilterError
from mmsearch.search.parse.fields import ALIASES, WELL_KNOWN
from mmsearch.stores.comparable import comparison_key, times_of
from mmsearch.stores.dialects import Dialect
from mmsearch.stores.metadata_values import any_time, any_value, has_key
from mmsearch.stores.rows import MAX_ID
from mmsearch.stores.tables import SegmentRow, SourceRow
from mmsearch.types import Modality

OPERATORS = ("eq", "ne", "in", "not_in", "lt", "lte", "gt", "gte", "like", "exists", "any", "all")
COMPARISONS = {
    "eq": operator.eq,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}
MAX_DEPTH = 32
MAX_VALUES = 1000
"""Values of a whole filter."""
MAX_PATTERN = 2000
"""Characters of a `like`."""

_CHUNK = 100
"""Conditions joined at once: SQLite nests expressions no deeper than a thousand."""
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Field:
    """A built-in field: the column, and how a JSON value is read for it."""

    column: ColumnElement[Any]
    read: Callable[[Any], Any]
    """Turns a JSON value into what the column holds; raises ValueError."""
    wants: str
    is_moment: bool = False
    text: Literal["folded", "exact", "ascii"] | None = None
    """How a text compares; None for a column that is no text. "ascii" is stored in lower case."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _folded(value: Any) -> str:
    return comparison_key(_text(value))


def _number(value: Any) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or (isinstance(value, float) and math.isnan(value))
    ):
        raise ValueError
    # SQL has no larger integers, but compares them with floating-point numbers all the same.
    return value if abs(value) <= MAX_ID else _float(value)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:  # in UTC it is before the year 1 or after 9999
        return _FIRST if moment.year == 1 else _LAST


def _nanoseconds(value: Any) -> int:
    # Dates after 2262 are no SQL integers: no file has them, but they can be compared with.
    return max(-MAX_ID, min(round(_moment(value).timestamp() * 1e9), MAX_ID))


def _modality(value: Any) -> str:
    return Modality(_text(value)).value


def _day_after(day: str) -> str:
    try:
        return (date.fromisoformat(day) + timedelta(days=1)).isoformat()
    except OverflowError:
        return "9999-12-31T23:59:59.999999"


_SOURCE, _SEGMENT = SourceRow.__table__.c, SegmentRow.__table__.c
FIELDS: Mapping[str, Field] = {
    "id": Field(_SOURCE.id, _number, "a number"),
    "path": Field(_SOURCE.path, _folded, "a string", text="folded"),
    "uri": Field(_SOURCE.uri, _text, "a string", text="exact"),
    "mime": Field(_SOURCE.mime, _folded, "a string", text="ascii"),
    "sha256": Field(_SOURCE.sha256, _folded, "a string", text="ascii"),
    "size": Field(_SOURCE.size, _number, "a number of bytes"),
    "modified_at": Field(_SOURCE.mtime_ns, _nanoseconds, "an ISO 8601 date", True),
    "indexed_at": Field(_SOURCE.indexed_at, _moment, "an ISO 8601 date", True),
    "modality": Field(_SEGMENT.modality, _modality, f"one of {', '.join(Modality)}"),
    "text": Field(_SEGMENT.text, _folded, "a string", text="folded"),
    "start": Field(_SEGMENT.start, _number, "a number of seconds"),
    "end": Field(_SEGMENT.end, _number, "a number of seconds"),
    "page": Field(_SEGMENT.page, _number, "a number"),
}


def compile_filter(
    condition: Mapping[str, Any], metadata_keys: Sequence[str], dialect: Dialect
) -> ColumnElement[bool]:
    """SQL over sources joined with segments. Raises FilterError, which lists the fields."""
    check_limits(condition)
    return _Compiler(metadata_keys, dialect).group(condition, 0)


def known_fields(metadata_keys: Iterable[str]) -> list[str]:
    """Every field that a filter, a sort or a facet may name."""
    return [*FIELDS, *sorted({*metadata_keys, *WELL_KNOWN} - set(FIELDS))]


def check_limits(condition: Any) -> None:
    """Raise FilterError if a filter is too large, or holds what no database can store."""
    values = 0
    remaining: list[tuple[Any, int]] = [(condition, 0)]
    while remaining:
        part, depth = remaining.pop()
        if depth > 2 * MAX_DEPTH:
            raise FilterError(f"Filters nest at most {MAX_DEPTH} deep")
        if isinstance(part, Mapping):
            for name, value in part.items():
                _check_text(name)
                if name == "like" and isinstance(value, str) and len(value) > MAX_PATTERN:
                    raise FilterError(f"'like' takes at most {MAX_PATTERN} characters")
                remaining.append((value, depth + 1))
        elif isinstance(part, list | tuple):
            remaining += [(item, depth + 1) for item in part]
        else:
            values += 1
            _check_text(part)
        if values > MAX_VALUES:
            raise FilterError(f"A filter takes at most {MAX_VALUES} values in all")


def _check_text(value: Any) -> None:
    if isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        raise FilterError("A filter cannot hold the character NUL or half of a surrogate pair")


class _Compiler:
    def __init__(self, metadata_keys: Sequence[str], dialect: Dialect) -> None:
        self.metadata_keys = frozenset(metadata_keys)
        self.dialect = dialect

    @property
    def known(self) -> list[str]:
        return known_fields(self.metadata_keys)

    def group(self, condition: Any, depth: int) -> ColumnElement[bool]:
        if not isinstance(condition, Mapping):
            raise FilterError(f"A filter is an object, not {condition!r}")
        if depth > MAX_DEPTH:
            raise FilterError(f"Filters nest at most {MAX_DEPTH} deep")
        parts: list[ColumnElement[bool]] = []
        for name, value in condition.items():
            if name in {"and", "or"}:
                if not isinstance(value, list) or not value:
                    raise FilterError(f"'{name}' takes a list of filters")
                parts_inside = [self.group(inner, depth + 1) for inner in value]
                parts.append(_joined(and_ if name == "and" else or_, parts_inside))
            elif name == "not":
                # A comparison with NULL is NULL: without coalesce, its negation would be too.
                parts.append(not_(func.coalesce(self.group(value, depth + 1), False)))
            else:
                parts.append(self.field(name, value))
        return _joined(and_, parts)

    def field(self, name: str, condition: Any) -> ColumnElement[bool]:
        check_field(name, self.known)
        if not isinstance(condition, Mapping):
            condition = {"eq": condition}
        if not condition:
            raise FilterError(f"Field '{name}' has no condition. Operators: {_operators()}.")
        return and_(*(self.operation(name, op, value) for op, value in condition.items()))

    def operation(self, name: str, op: str, value: Any) -> ColumnElement[bool]:
        if op not in OPERATORS:
            raise FilterError(
                f"Unknown operator '{op}' on field '{name}'.{_near(op, OPERATORS)} "
                f"Operators: {_operators()}."
            )
        if op in {"in", "not_in", "any", "all"}:
            if not isinstance(value, list):
                raise FilterError(f"'{op}' on field '{name}' takes a list")
            if op == "all":
                return _joined(and_, [self.equal(name, [single]) for single in value])
            equal = self.equal(name, value)
            return equal if op != "not_in" else not_(func.coalesce(equal, False))
        if op == "exists":
            if not isinstance(value, bool):
                raise FilterError(f"'exists' on field '{name}' takes true or false")
            there = (
                FIELDS[name].column.is_not(None)
                if name in FIELDS
                else or_(*(has_key(self.dialect, key) for key in _keys(name)))
            )
            return there if value else not_(there)
        if op in {"eq", "ne"}:
            equal = self.equal(name, [value])
            return equal if op == "eq" else not_(func.coalesce(equal, False))
        return self.compare(name, op, value)

    def equal(self, name: str, values: Sequence[Any]) -> ColumnElement[bool]:
        """The field has one of the values, which may be of several types."""
        if name in FIELDS:
            return self.equal_column(name, values)
        by_type: dict[type, list[str | float | bool]] = {}
        parts: list[ColumnElement[bool]] = []
        for value in values:
            if isinstance(value, bool):
                by_type.setdefault(bool, []).append(value)
            elif isinstance(value, int | float):
                by_type.setdefault(float, []).append(_float(value))
            elif not isinstance(value, str):
                raise FilterError(f"Field '{name}' is compared with a string, number or boolean")
            elif times_of(value) is not None:
                parts.append(self.compare(name, "eq", value))
            else:
                by_type.setdefault(str, []).append(value)
        parts += [
            any_value(self.dialect, key, "in", some)
            for some in by_type.values()
            for key in _keys(name)
        ]
        return _joined(or_, parts)

    def compare(self, name: str, op: str, value: Any) -> ColumnElement[bool]:
        if op == "like" and not isinstance(value, str):
            raise FilterError(f"'like' on field '{name}' takes a string")
        if name in FIELDS:
            return self.compare_column(name, op, value)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise FilterError(f"'{op}' on field '{name}' takes a string or a number")
        if isinstance(value, str) and op != "like" and times_of(value) is not None:
            return or_(*(self.compare_time(key, op, value) for key in _keys(name)))
        typed = value if isinstance(value, str) else _float(value)
        return or_(*(any_value(self.dialect, key, op, typed) for key in _keys(name)))

    def compare_time(self, key: str, op: str, value: str) -> ColumnElement[bool]:
        """A date of the key compares with a month, a day, a local time or an instant."""
        times = times_of(value)
        assert times is not None
        if times.has_offset:
            return any_time(key, "instant", op, times.instant)
        if op == "eq" and times.is_period:
            # Not by time: the month "2024-05" is not the day 2024-05-01.
            longer = "-" if len(value) == len("2024-05") else ""
            same = any_value(self.dialect, key, "starts", value + longer)
            return or_(any_value(self.dialect, key, "in", [value]), same) if longer else same
        if op in {"lte", "gt"} and times.is_period:
            op = {"lte": "lt", "gt": "gte"}[op]
            return any_time(key, "local", op, times.local_end)
        return any_time(key, "local", op, times.local)

    def equal_column(self, name: str, values: Sequence[Any]) -> ColumnElement[bool]:
        if FIELDS[name].is_moment:
            return _joined(or_, [self.compare_column(name, "eq", value) for value in values])
        wanted = [self.read(name, value) for value in values]
        return cast("ColumnElement[bool]", self.comparable(name).in_(wanted))

    def comparable(self, name: str) -> Any:
        """The column of a field, folded if its texts compare so."""
        field = FIELDS[name]
        return self.dialect.fold(field.column) if field.text == "folded" else field.column

    def read(self, name: str, value: Any) -> Any:
        try:
            return FIELDS[name].read(value)
        except (ValueError, OverflowError):
            wants = FIELDS[name].wants
            raise FilterError(f"Field '{name}' takes {wants}, not {value!r}") from None

    def compare_column(self, name: str, op: str, value: Any) -> ColumnElement[bool]:
        field = FIELDS[name]
        if op == "like":
            if field.text is None:
                raise FilterError(f"Field '{name}' is not text: it has no 'like'")
            return self.dialect.like(self.dialect.fold(field.column), comparison_key(value))
        start = self.read(name, value)
        column = self.comparable(name)
        if field.is_moment and _DAY.fullmatch(value):
            after = self.read(name, _day_after(value))
            if op == "eq":
                return and_(column >= start, column < after)
            if op in {"lte", "gt"}:
                op, start = {"lte": ("lt", after), "gt": ("gte", after)}[op]
        if field.text is not None and op != "eq":
            column = self.dialect.by_code_point(column)
        return cast("ColumnElement[bool]", COMPARISONS[op](column, start))


def _keys(name: str) -> tuple[str, ...]:
    """The metadata keys that a field stands for."""
    return ALIASES.get(name, (name,))


def _joined(
    join: Callable[..., ColumnElement[bool]], parts: Sequence[ColumnElement[bool]]
) -> ColumnElement[bool]:
    """All parts joined by `and_` or `or_`, in groups that nest little, however many they are."""
    neutral: ColumnElement[bool] = true() if join is and_ else false()
    level = list(parts)
    while len(level) > _CHUNK:
        level = [
            # A function keeps its arguments apart, where AND and OR flatten theirs.
            func.coalesce(join(neutral, *level[start : start + _CHUNK]), False)
            for start in range(0, len(level), _CHUNK)
        ]
    return join(neutral, *level)


def check_field(name: str, known: Sequence[str], what: str = "field") -> None:
    """Raise FilterError, which lists the fields, if there is no such one."""
    if name not in known:
        raise FilterError(f"Unknown {what} '{name}'.{_near(name, known)}", known)
    if '"' in name or "\\" in name:
        raise FilterError(f"A metadata key with a quote or backslash ({name}) has no filter")


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""


def _operators() -> str:
    return ", ".join(OPERATORS)
