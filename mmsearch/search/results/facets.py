"""Facets: how often each value of a field occurs in the filtered collection.

Counted over everything that the filter and the modalities let through, whatever the query's terms:
in a search by similarity everything matches a little, so counts over "the matches" would be
counts over an arbitrary number of candidates.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, String, func, literal

from mmsearch.query import Facet, FacetValue, Query
from mmsearch.search.parse.filters import FIELDS, check_field, compile_filter, known_fields
from mmsearch.stores.dialects import Dialect
from mmsearch.stores.metadata_values import each_value
from mmsearch.stores.store import SqlStore

CACHE_SIZE = 64
"""Counts that are cached."""

Counts = Mapping[str, tuple[FacetValue, ...]]

_LENGTH = {"year": 4, "month": 7, "day": 10}


class FacetCounter:
    """Counts, once for each state of the library. Thread-safe.

    Every record is read, which takes most of a second for a hundred thousand. A page that shows
    counts with every search asks for the same ones again and again.
    """

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._counted: OrderedDict[bytes, Counts] = OrderedDict()

    def count(
        self,
        collection_id: int,
        query: Query,
        metadata_keys: Sequence[str],
        last_change: int | None = None,
    ) -> Counts:
        """By field, the most frequent values first. Raises FilterError, which lists the fields.

        `last_change` is the newest change of the library; if not given, it is read.
        """
        requested = (
            collection_id,
            self._store.changes.last_id() if last_change is None else last_change,
            query.filter,
            query.modalities,
            [(facet.field, facet.by, facet.limit) for facet in query.facets],
        )
        key = orjson.dumps(requested)
        with self._lock:
            if key in self._counted:
                self._counted.move_to_end(key)
                return self._counted[key]
        counts = facets_of(self._store, collection_id, query, metadata_keys)
        with self._lock:
            self._counted[key] = counts
            while len(self._counted) > CACHE_SIZE:
                self._counted.popitem(last=False)
        return counts


def facets_of(
    store: SqlStore, collection_id: int, query: Query, metadata_keys: Sequence[str]
) -> Counts:
    """By field, the most frequent values first. Raises FilterError, which lists the fields."""
    dialect = store.dialect
    where: ColumnElement[bool] = literal(True)
    if query.filter:
        where = compile_filter(query.filter, metadata_keys, dialect)
    counts: dict[str, tuple[FacetValue, ...]] = {}
    for facet in query.facets:
        check_field(facet.field, known_fields(metadata_keys), "facet")
        columns, order, has_value = _values(facet, dialect)
        rows = store.segments.count_values(
            collection_id, where & has_value, query.modalities, columns, order, facet.limit
        )
        counts[facet.field] = tuple(
            FacetValue(_plain(dialect.json_value(row)), sources, segments)
            for row, sources, segments in rows
        )
    return counts


def _values(
    facet: Facet, dialect: Dialect
) -> tuple[list[ColumnElement[Any]], list[ColumnElement[Any]], ColumnElement[bool]]:
    """Columns that are one value, what orders them, and the condition that there is one.

    The order is the same on every database: numbers, then texts by code point, then booleans.
    """
    if facet.field not in FIELDS:
        columns, is_value = each_value(dialect, facet.field)
        if facet.by == "value":
            return columns, dialect.json_order(columns), is_value
        text: Any = dialect.json_date(columns[0])
        # Local time comes first in a date: this is the day by its own clock.
        begins: Any = func.substr(text, 1, _LENGTH[facet.by])
        is_date = is_value & dialect.is_date(text, facet.by)
        return [begins], [dialect.by_code_point(begins)], is_date
    field = FIELDS[facet.field]
    column: Any = field.column
    there = column.is_not(None)
    length = facet.by if facet.by != "value" else "day"
    if not field.is_moment:
        is_text = isinstance(column.type, String)
        return [column], [dialect.by_code_point(column) if is_text else column], there
    if facet.field == "modified_at":
        begins = dialect.truncated_nanoseconds(column, length)
    else:
        begins = dialect.truncated_time(column, length)
    return [begins], [begins], there


def _plain(value: Any) -> str | float | bool:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value if isinstance(value, str | int | float | bool) else str(value)
