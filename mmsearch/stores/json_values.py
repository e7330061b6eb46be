"""Metadata in SQL: comparing and listing the values of a JSON key, typed, on both databases.

A key may hold one value or a list. A comparison holds if it holds for one of the values, and
only values of the type that is compared with count: a number is never compared with a string.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Boolean, ColumnElement, and_, case, exists, func, literal, or_, select
from sqlalchemy import cast as cast_to
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH

from mmsearch.stores.rows import SOURCES
from mmsearch.stores.source_values import COMPARED, Scalar, has_value

_COLUMN = SOURCES.c.metadata
_PATH_OPERATORS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_TYPES = {str: ("text",), bool: ("true", "false"), float: ("integer", "real")}

_COMPARED: Mapping[str, Callable[[Any, Any], Any]] = {
    **COMPARED,
    "like": lambda column, pattern: column.ilike(pattern),
    "starts": lambda column, start: func.substr(column, 1, len(start)) == start,
}


def some_value(
    dialect: str, key: str, op: str, value: Scalar | Sequence[Scalar]
) -> ColumnElement[bool]:
    """Whether a value of the sources' metadata compares: in lt lte gt gte like starts.

    `in` takes several values of one type, at least one. By index where there is one.
    """
    indexed = has_value(key, op, value)
    if indexed is not None:
        return indexed
    if dialect == "postgresql":
        return _in_jsonpath(key, op, value)
    each = _each(key)
    first = value if isinstance(value, str | float | bool) else value[0]
    kind = str if isinstance(first, str) else bool if isinstance(first, bool) else float
    matching = select(literal(1)).select_from(each)
    return exists(
        matching.where(
            each.c.type.in_(_TYPES[kind]), _own(each), _COMPARED[op](each.c.value, value)
        )
    )


def is_there(dialect: str, key: str) -> ColumnElement[bool]:
    """Whether the sources' metadata has the key, with something other than null."""
    if dialect == "postgresql":
        return func.coalesce(func.jsonb_typeof(_COLUMN[key]), "null") != "null"
    return func.coalesce(func.json_type(_COLUMN, _path(key)), "null") != "null"


def each_value(dialect: str, key: str) -> tuple[list[ColumnElement[Any]], ColumnElement[bool]]:
    """Columns that together are one value (a row for each), and the condition that it is one."""
    if dialect == "postgresql":
        given = _COLUMN[key]
        listed = case(
            (func.jsonb_typeof(given) == "array", given), else_=func.jsonb_build_array(given)
        )
        one = func.jsonb_array_elements(listed, type_=JSONB).table_valued(
            "value", joins_implicitly=True
        )
        value = cast_to(one.c.value, JSONB)
        return [value], func.jsonb_typeof(value).in_(["string", "number", "boolean"])
    each = _each(key, implicit=True)
    scalar = [name for names in _TYPES.values() for name in names]
    # 640 and 640.0 are one value.
    kind = case((each.c.type == "real", "integer"), else_=each.c.type)
    return [each.c.value, kind], and_(each.c.type.in_(scalar), _own(each))


def as_python(row: tuple[Any, ...]) -> Scalar:
    """A row of `each_value`'s columns as the value that the metadata holds."""
    if len(row) == 2 and row[1] in _TYPES[bool]:
        return bool(row[0])
    found: Scalar = row[0]
    return found


def value_of(key: str) -> ColumnElement[Any]:
    """The key's whole value, as SQLAlchemy gives it back: a Python value."""
    found: ColumnElement[Any] = _COLUMN[key]
    return found


def _each(key: str, *, implicit: bool = False) -> Any:
    columns = ("value", "type", "key", "path")
    return func.json_each(_COLUMN, _path(key)).table_valued(*columns, joins_implicitly=implicit)


def _own(each: Any) -> ColumnElement[bool]:
    """A single value, or an element of a list; json_each also gives an object's members."""
    return or_(each.c.path == "$", func.typeof(each.c.key) != "text")


def _path(key: str) -> str:
    return f'$."{key}"'


def _in_jsonpath(key: str, op: str, value: Scalar | Sequence[Scalar]) -> ColumnElement[bool]:
    """Lax mode takes lists apart by itself, and what is of another type does not compare."""
    variables = "{}"
    if op == "like":
        # The pattern of like_regex cannot be a variable; as JSON text it can hold anything.
        predicate = f'@ like_regex {_json(_regex(str(value)))} flag "is"'
    elif op == "in":
        predicate, variables = "@ == $v[*]", _json({"v": value})
    elif op == "starts":
        predicate, variables = "@ starts with $v", _json({"v": value})
    else:
        predicate, variables = f"@ {_PATH_OPERATORS[op]} $v", _json({"v": value})
    path = f"$.{_json(key)} ? ({predicate})"
    return func.jsonb_path_exists(
        _COLUMN,
        cast_to(literal(path), JSONPATH),
        cast_to(literal(variables), JSONB),
        type_=Boolean,
    )


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _regex(pattern: str) -> str:
    """A LIKE pattern as a regular expression of the whole text."""
    parts = {"%": ".*", "_": "."}
    return "^" + "".join(parts.get(c) or re.escape(c) for c in pattern) + "$"
