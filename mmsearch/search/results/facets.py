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
from sqlalchemy import ColumnElement, func, literal

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
        columns, has_value = _values(facet, dialect)
        rows = store.segments.count_values(
            collection_id, where & has_value, query.modalities, columns, facet.limit
        )
        counts[facet.field] = tuple(
            FacetValue(_plain(dialect.json_value(row)), sources, segments)
            for row, sources, segments in rows
        )
    return counts


def _values(facet: Facet, dialect: Dialect) -> tuple[list[ColumnElement[Any]], ColumnElement[bool]]:
    """Columns that are one value, and the condition that there is one."""
    if facet.field not in FIELDS:
        columns, is_value = each_value(dialect, facet.field)
        if facet.by == "value":
            return columns, is_value
        text: Any = dialect.json_date(columns[0])
        begins = func.substr(text, 1, _LENGTH[facet.by])
        # Only what looks like a date is counted by date.
        return [begins], is_value & text.like("____-__-__%")
    column: Any = FIELDS[facet.field].column
    there = column.is_not(None)
    if not FIELDS[facet.field].is_moment:
        return [column], there
    length = facet.by if facet.by != "value" else "day"
    if facet.field == "modified_at":
        return [dialect.truncated_nanoseconds(column, length)], there
    return [dialect.truncated_time(column, length)], there


def _plain(value: Any) -> str | float | bool:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value if isinstance(value, str | int | float | bool) else str(value)
