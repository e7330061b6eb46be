"""Conditions and values of sources' metadata, a JSON column, typed, on both databases.

A key may hold one value or a list. A comparison holds if it holds for one of the values. Only
values of the compared type count: a number is never compared with a string.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement

from mmsearch.stores.dialects import Dialect, Scalar
from mmsearch.stores.rows import SOURCES
from mmsearch.stores.source_values import indexed_comparison

_COLUMN: ColumnElement[Any] = SOURCES.c.metadata


def any_value(
    dialect: Dialect, key: str, op: str, value: Scalar | Sequence[Scalar]
) -> ColumnElement[bool]:
    """Whether a value of the key compares: in lt lte gt gte like starts. Uses an index if it can.

    `in` takes several values of one type, at least one.
    """
    indexed = indexed_comparison(key, op, value)
    return indexed if indexed is not None else dialect.json_compares(_COLUMN, key, op, value)


def has_key(dialect: Dialect, key: str) -> ColumnElement[bool]:
    """Whether the metadata has the key, with a value other than null."""
    return dialect.json_has_key(_COLUMN, key)


def each_value(dialect: Dialect, key: str) -> tuple[list[ColumnElement[Any]], ColumnElement[bool]]:
    """A row for each value: the columns that are the value, and whether it is a scalar.

    `Dialect.json_value` turns a row of the columns into the value.
    """
    return dialect.json_values(_COLUMN, key)


def whole_value(key: str) -> ColumnElement[Any]:
    """The key's value as it was written: a Python value, lists included."""
    value: ColumnElement[Any] = _COLUMN[key]
    return value
