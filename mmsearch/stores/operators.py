"""The operators that filters compare with, where they are the same SQL on every database."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from sqlalchemy import func

Scalar: TypeAlias = str | float | bool
TimeUnit = Literal["year", "month", "day"]

COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "in": lambda column, values: column.in_(values),
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}
"""For every kind of column."""

COMPARISONS_OF_TEXT: Mapping[str, Callable[[Any, Any], Any]] = {
    **COMPARISONS,
    "starts": lambda column, start: func.substr(column, 1, len(start)) == start,
}
