"""Filters: a JSON grammar, compiled to SQL.

``{"taken_at": {"gte": "2024-01-01"}, "tags": {"any": ["beach"]}}``: every field given must
hold. Operators: eq ne in not_in lt lte gt gte like exists any all; ``{"field": value}`` is
short for eq. ``and`` and ``or`` take a list of filters, ``not`` takes one. A field is one of
`FIELDS` or a metadata key of the collection's sources; a name that is neither is an error,
because a mistyped filter that silently matches nothing looks like a broken search.

A comparison with a missing value is false; `ne` and `not_in` are true for it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import orjson
from sqlalchemy import ColumnElement, and_, exists, func, literal, not_, or_, select
from sqlalchemy import cast as cast_to
from sqlalchemy.dialects.postgresql import JSONB

from mmsearch.errors import FilterError
from mmsearch.stores.rows import MAX_ID
from mmsearch.stores.tables import SegmentRow, SourceRow

OPERATORS = ("eq", "ne", "in", "not_in", "lt", "lte", "gt", "gte", "like", "exists", "any", "all")
COMPARISONS = {
    "eq": operator.eq,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}
MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class Field:
    """A built-in field: the column, and how a JSON value is read for it."""

    column: ColumnElement[Any]
    read: Callable[[Any], Any]
    """Turns a JSON value into what the column holds; raises ValueError."""
    wants: str


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
    found = datetime.fromisoformat(_text(value))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _nanoseconds(value: Any) -> int:
    return round(_moment(value).timestamp() * 1e9)


FIELDS: Mapping[str, Field] = {
    "id": Field(SourceRow.__table__.c.id, _number, "a number"),
    "path": Field(SourceRow.__table__.c.path, _text, "a string"),
    "uri": Field(SourceRow.__table__.c.uri, _text, "a string"),
    "mime": Field(SourceRow.__table__.c.mime, _text, "a string"),
    "sha256": Field(SourceRow.__table__.c.sha256, _text, "a string"),
    "size": Field(SourceRow.__table__.c.size, _number, "a number of bytes"),
    "modified_at": Field(SourceRow.__table__.c.mtime_ns, _nanoseconds, "an ISO 8601 date"),
    "indexed_at": Field(SourceRow.__table__.c.indexed_at, _moment, "an ISO 8601 date"),
    "modality": Field(SegmentRow.__table__.c.modality, _text, "a string"),
    "text": Field(SegmentRow.__table__.c.text, _text, "a string"),
    "start": Field(SegmentRow.__table__.c.start, _number, "a number of seconds"),
    "end": Field(SegmentRow.__table__.c.end, _number, "a number of seconds"),
    "page": Field(SegmentRow.__table__.c.page, _number, "a number"),
}


def compile_filter(
    given: Mapping[str, Any], metadata_keys: Sequence[str], dialect: str
) -> ColumnElement[bool]:
    """SQL over sources joined with segments. Raises FilterError, which lists the fields."""
    return _Compiler(metadata_keys, dialect).group(given, 0)


class _Compiler:
    def __init__(self, metadata_keys: Sequence[str], dialect: str) -> None:
        self.metadata_keys = frozenset(metadata_keys)
        self.dialect = dialect

    @property
    def known(self) -> list[str]:
        return [*FIELDS, *sorted(self.metadata_keys - set(FIELDS))]

    def group(self, given: Any, depth: int) -> ColumnElement[bool]:
        if not isinstance(given, Mapping):
            raise FilterError(f"a filter is an object, not {given!r}")
        if depth > MAX_DEPTH:
            raise FilterError(f"filters nest at most {MAX_DEPTH} deep")
        parts: list[ColumnElement[bool]] = []
        for name, value in given.items():
            if name in {"and", "or"}:
                if not isinstance(value, list) or not value:
                    raise FilterError(f"'{name}' takes a list of filters")
                inner = [self.group(one, depth + 1) for one in value]
                parts.append(and_(*inner) if name == "and" else or_(*inner))
            elif name == "not":
                # A comparison with NULL is NULL: without coalesce, its negation would be too.
                parts.append(not_(func.coalesce(self.group(value, depth + 1), False)))
            else:
                parts.append(self.field(name, value))
        return and_(*parts) if parts else literal(True)

    def field(self, name: str, condition: Any) -> ColumnElement[bool]:
        if name not in FIELDS and name not in self.metadata_keys:
            raise FilterError(f"unknown field '{name}'.", self.known)
        if '"' in name or "\\" in name:
            raise FilterError(f"a metadata key with a quote or backslash ({name}) has no filter")
        if not isinstance(condition, Mapping):
            condition = {"eq": condition}
        if not condition:
            raise FilterError(f"field '{name}' has no condition. Operators: {_operators()}.")
        return and_(*(self.one(name, op, value) for op, value in condition.items()))

    def one(self, name: str, op: str, value: Any) -> ColumnElement[bool]:
        if op not in OPERATORS:
            raise FilterError(
                f"unknown operator '{op}' on field '{name}'. Operators: {_operators()}."
            )
        if op in {"in", "not_in", "any", "all"} and not isinstance(value, list):
            raise FilterError(f"'{op}' on field '{name}' takes a list")
        if op == "exists":
            if not isinstance(value, bool):
                raise FilterError(f"'exists' on field '{name}' takes true or false")
            column = self.raw(name)
            return column.is_not(None) if value else column.is_(None)
        if op in {"any", "all"}:
            each = [self.contains(name, one) for one in value]
            return or_(*each) if op == "any" else and_(*each)
        if op in {"in", "not_in"}:
            each = [self.compare(name, "eq", one) for one in value]
            found = or_(*each) if each else literal(False)
            return found if op == "in" else not_(func.coalesce(found, False))
        if op == "ne":
            return not_(func.coalesce(self.compare(name, "eq", value), False))
        return self.compare(name, op, value)

    def raw(self, name: str) -> ColumnElement[Any]:
        if name in FIELDS:
            return FIELDS[name].column
        return cast("ColumnElement[Any]", _json(name).as_string())

    def compare(self, name: str, op: str, value: Any) -> ColumnElement[bool]:
        column: Any
        if name in FIELDS:
            field = FIELDS[name]
            column = field.column
            try:
                value = field.read(value)
            except ValueError:
                raise FilterError(f"field '{name}' takes {field.wants}, not {value!r}") from None
        elif isinstance(value, bool):
            column = _json(name).as_boolean()
        elif isinstance(value, int | float):
            column = _json(name).as_float()
            value = float(value)
        elif isinstance(value, str):
            column = _json(name).as_string()
        else:
            raise FilterError(f"field '{name}' is compared with a string, number or boolean")
        if op == "like":
            if not isinstance(value, str):
                raise FilterError(f"'like' on field '{name}' takes a string")
            return cast("ColumnElement[bool]", column.ilike(value))
        return cast("ColumnElement[bool]", COMPARISONS[op](column, value))

    def contains(self, name: str, value: Any) -> ColumnElement[bool]:
        """A multi-valued metadata field holds `value`; a single value counts as a list of one."""
        if name in FIELDS:
            return self.compare(name, "eq", value)
        if not isinstance(value, str | int | float):
            raise FilterError(f"'any' and 'all' on field '{name}' take strings or numbers")
        if self.dialect == "postgresql":
            return cast(
                "ColumnElement[bool]",
                _json(name).op("@>", is_comparison=True)(
                    cast_to(literal(orjson.dumps([value]).decode()), JSONB)
                ),
            )
        each = func.json_each(SourceRow.meta, f'$."{name}"').table_valued("value")
        return exists(select(literal(1)).select_from(each).where(each.c.value == value))


def _json(name: str) -> Any:
    """The metadata value of a key: an SQLAlchemy JSON expression, which is typed too narrowly."""
    return SourceRow.__table__.c.metadata[name]


def _operators() -> str:
    return ", ".join(OPERATORS)
