"""Filters: a JSON grammar, compiled to SQL.

``{"taken_at": {"gte": "2024-01-01"}, "tags": {"any": ["beach"]}}``: every field must
hold. Operators: eq ne in not_in lt lte gt gte like exists any all; ``{"field": value}`` is
short for eq. ``and`` and ``or`` take a list of filters, ``not`` takes one. A field is one of
`FIELDS` or a metadata key of the collection's sources; a name that is neither is an error,
because a mistyped filter that silently matches nothing looks like a broken search.

- A metadata key that holds a list passes if one of its values does; `all` asks for several.
- A comparison with a missing value is false; `ne` and `not_in` are true for it.
- Metadata is compared by type: a number in the filter only with numbers, a string with strings.
- A date without a time is the whole day: ``{"lte": "2024-01-31"}`` has the 31st in it.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, String, and_, false, func, not_, or_, true

from mmsearch.errors import FilterError
from mmsearch.stores.dialects import Dialect
from mmsearch.stores.metadata_values import any_value, has_key
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
MAX_DEPTH = 16
MAX_VALUES = 500
"""Of one list: SQLite nests expressions no deeper than a thousand."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Field:
    """A built-in field: the column, and how a JSON value is read for it."""

    column: ColumnElement[Any]
    read: Callable[[Any], Any]
    """Turns a JSON value into what the column holds; raises ValueError."""
    wants: str
    is_moment: bool = False


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    # SQL has no larger integers, but compares them with floating-point numbers all the same.
    return value if abs(value) <= MAX_ID else float(value)


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _nanoseconds(value: Any) -> int:
    # Dates after 2262 are no SQL integers: no file has them, but they can be compared with.
    return max(-MAX_ID, min(round(_moment(value).timestamp() * 1e9), MAX_ID))


def _modality(value: Any) -> str:
    return Modality(_text(value)).value


def _day_after(day: str) -> str:
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


FIELDS: Mapping[str, Field] = {
    "id": Field(SourceRow.__table__.c.id, _number, "a number"),
    "path": Field(SourceRow.__table__.c.path, _text, "a string"),
    "uri": Field(SourceRow.__table__.c.uri, _text, "a string"),
    "mime": Field(SourceRow.__table__.c.mime, _text, "a string"),
    "sha256": Field(SourceRow.__table__.c.sha256, _text, "a string"),
    "size": Field(SourceRow.__table__.c.size, _number, "a number of bytes"),
    "modified_at": Field(SourceRow.__table__.c.mtime_ns, _nanoseconds, "an ISO 8601 date", True),
    "indexed_at": Field(SourceRow.__table__.c.indexed_at, _moment, "an ISO 8601 date", True),
    "modality": Field(SegmentRow.__table__.c.modality, _modality, f"one of {', '.join(Modality)}"),
    "text": Field(SegmentRow.__table__.c.text, _text, "a string"),
    "start": Field(SegmentRow.__table__.c.start, _number, "a number of seconds"),
    "end": Field(SegmentRow.__table__.c.end, _number, "a number of seconds"),
    "page": Field(SegmentRow.__table__.c.page, _number, "a number"),
}


def compile_filter(
    condition: Mapping[str, Any], metadata_keys: Sequence[str], dialect: Dialect
) -> ColumnElement[bool]:
    """SQL over sources joined with segments. Raises FilterError, which lists the fields."""
    return _Compiler(metadata_keys, dialect).group(condition, 0)


def known_fields(metadata_keys: Iterable[str]) -> list[str]:
    """Every field that a filter, a sort or a facet may name."""
    return [*FIELDS, *sorted(set(metadata_keys) - set(FIELDS))]


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
                parts.append(and_(*parts_inside) if name == "and" else or_(*parts_inside))
            elif name == "not":
                # A comparison with NULL is NULL: without coalesce, its negation would be too.
                parts.append(not_(func.coalesce(self.group(value, depth + 1), False)))
            else:
                parts.append(self.field(name, value))
        return and_(true(), *parts)

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
            if len(value) > MAX_VALUES:
                raise FilterError(f"'{op}' on field '{name}' takes at most {MAX_VALUES} values")
            if op == "all":
                return and_(true(), *(self.equal(name, [single]) for single in value))
            equal = self.equal(name, value)
            return equal if op != "not_in" else not_(func.coalesce(equal, False))
        if op == "exists":
            if not isinstance(value, bool):
                raise FilterError(f"'exists' on field '{name}' takes true or false")
            there = (
                FIELDS[name].column.is_not(None) if name in FIELDS else has_key(self.dialect, name)
            )
            return there if value else not_(there)
        if op in {"eq", "ne"}:
            equal = self.equal(name, [value])
            return equal if op == "eq" else not_(func.coalesce(equal, False))
        return self.compare(name, op, value)

    def equal(self, name: str, values: Sequence[Any]) -> ColumnElement[bool]:
        """The field has one of the values, which may be of several types."""
        if name in FIELDS:
            return or_(false(), *(self.compare_column(name, "eq", v) for v in values))
        by_type: dict[type, list[str | float | bool]] = {}
        parts: list[ColumnElement[bool]] = []
        for value in values:
            if isinstance(value, bool):
                by_type.setdefault(bool, []).append(value)
            elif isinstance(value, int | float):
                by_type.setdefault(float, []).append(float(value))
            elif not isinstance(value, str):
                raise FilterError(f"Field '{name}' is compared with a string, number or boolean")
            elif (day := self.whole_day("eq", value)) is not None:
                parts.append(any_value(self.dialect, name, *day))
            else:
                by_type.setdefault(str, []).append(value)
        parts += [any_value(self.dialect, name, "in", some) for some in by_type.values()]
        return or_(false(), *parts)

    def compare(self, name: str, op: str, value: Any) -> ColumnElement[bool]:
        if op == "like" and not isinstance(value, str):
            raise FilterError(f"'like' on field '{name}' takes a string")
        if name in FIELDS:
            return self.compare_column(name, op, value)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise FilterError(f"'{op}' on field '{name}' takes a string or a number")
        if not isinstance(value, str):
            value = float(value)
        elif (day := self.whole_day(op, value)) is not None:
            return any_value(self.dialect, name, *day)
        return any_value(self.dialect, name, op, value)

    def whole_day(self, op: str, value: str) -> tuple[str, str] | None:
        """The operator and value that mean all of a day; None where the value is no day."""
        if op == "like" or not _DAY.fullmatch(value):
            return None
        try:
            after = _day_after(value)
        except ValueError:  # 2024-02-30, or the end of time
            return None
        return {"eq": ("starts", value), "lte": ("lt", after), "gt": ("gte", after)}.get(op)

    def compare_column(self, name: str, op: str, value: Any) -> ColumnElement[bool]:
        field = FIELDS[name]
        column: Any = field.column
        is_text = isinstance(column.type, String)
        if op == "like":
            if not is_text:
                raise FilterError(f"Field '{name}' is not text: it has no 'like'")
            return cast("ColumnElement[bool]", column.ilike(value))
        try:
            start = field.read(value)
            after = None
            if field.is_moment and _DAY.fullmatch(value):
                after = field.read(_day_after(value))
        except (ValueError, OverflowError):
            raise FilterError(f"Field '{name}' takes {field.wants}, not {value!r}") from None
        if after is not None:
            if op == "eq":
                return and_(column >= start, column < after)
            if op in {"lte", "gt"}:
                op, start = {"lte": ("lt", after), "gt": ("gte", after)}[op]
        if is_text and op != "eq":
            column = self.dialect.by_code_point(column)
        return cast("ColumnElement[bool]", COMPARISONS[op](column, start))


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
