"""The table `source_values`: single values of sources' metadata, indexed, for filters.

The metadata itself is JSON. Without this table every filter reads every record: 130 to 190 ms
for 100,000 sources, however few pass.

Texts are stored by their comparison key. Those that are dates have their times beside it: `time`
where the local time is the instant, else `local` and `instant`, in seconds since 1970.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, select
from sqlalchemy.sql import visitors

from mmsearch.stores.comparable import comparison_key, times_of
from mmsearch.stores.dialects import Dialect
from mmsearch.stores.operators import COMPARISONS, Scalar
from mmsearch.stores.rows import object_of
from mmsearch.stores.tables import SourceRow, SourceValueRow

HEAD = 200
"""Characters of a text that are stored: PostgreSQL's indexes take no longer entries."""

_BATCH = 500
_VALUES = SourceValueRow.__table__.c
_LAST = "\U0010ffff"

_INDEXED_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    **COMPARISONS,
    # Both databases order this column by code point, so texts with one beginning are adjacent.
    "starts": lambda column, start: (column >= start) & (column < start + _LAST),
}


def indexed_comparison(
    key: str, op: str, value: Scalar | Sequence[Scalar]
) -> ColumnElement[bool] | None:
    """Whether a source has a value that compares: in lt lte gt gte starts.

    `in` takes several values of one type, texts as comparison keys. None if the table does not
    suffice: for other operators, and if more than the first `HEAD` characters matter.
    """
    values = [value] if isinstance(value, str | float | bool) else list(value)
    if op not in _INDEXED_COMPARISONS or len(key) > HEAD:
        return None
    if any(isinstance(item, str) and len(item) >= HEAD for item in values):
        return None
    column = _VALUES.text if isinstance(values[0], str) else _VALUES.number
    return _has(
        _sources_with(key, _kind(values[0])).where(
            _INDEXED_COMPARISONS[op](
                column, value if op != "in" else [_stored(item) for item in values]
            )
        )
    )


def indexed_like(
    dialect: Dialect, key: str, pattern: str, long_texts: ColumnElement[bool]
) -> ColumnElement[bool]:
    """Whether a source has a text like the pattern, a comparison key.

    `long_texts` is the same condition for sources with a text that is not stored whole.
    """
    texts = _sources_with(key, "text")
    length = func.length(_VALUES.text)
    stored = texts.where(length < HEAD, dialect.like(_VALUES.text, pattern))
    return _has(stored) | (_has(texts.where(length >= HEAD)) & long_texts)


def time_comparison(
    key: str, clock: Literal["local", "instant"], op: str, seconds: float
) -> ColumnElement[bool]:
    """Whether a source has a date that compares by its own clock or as an instant: lt to gte, eq.

    `seconds` are since 1970.
    """
    has_time = _sources_with(key, "time", clock)
    if op == "eq":
        return _has(has_time.where(_VALUES.number == seconds))
    return _has(has_time.where(COMPARISONS[op](_VALUES.number, seconds)))


def _sources_with(key: str, *kinds: str) -> Select[Any]:
    of_kind = _VALUES.kind == kinds[0] if len(kinds) == 1 else _VALUES.kind.in_(kinds)
    return select(_VALUES.source_id).where(_VALUES.key == key, of_kind)


def _has(sources: Select[Any]) -> ColumnElement[bool]:
    return SourceRow.__table__.c.id.in_(sources)


def value_kinds(connection: Connection, collection_id: int, key: str, limit: int) -> dict[str, int]:
    """The kinds of a key's values, and how many of the first `limit` of a collection have each."""
    sources = SourceRow.__table__.c
    some = (
        select(_VALUES.kind)
        .join(SourceRow, sources.id == _VALUES.source_id)
        .where(_VALUES.key == key, sources.collection_id == collection_id)
        .limit(limit)
        .subquery()
    )
    counts = select(some.c.kind, func.count()).group_by(some.c.kind)
    return {row[0]: row[1] for row in connection.execute(counts)}


def uses_source_values(where: ColumnElement[bool]) -> bool:
    """Whether a condition reads this table."""
    table = SourceValueRow.__table__
    return any(part is table for part in visitors.iterate(where))


def write_values(connection: Connection, source_id: int, metadata: Mapping[str, Any]) -> None:
    """Replace the values of a source by those of its metadata."""
    connection.execute(delete(SourceValueRow).where(SourceValueRow.source_id == source_id))
    if rows := list(value_rows(source_id, metadata)):
        connection.execute(insert(SourceValueRow), rows)


def write_all_values(connection: Connection) -> None:
    """Rewrite the values of the whole library from its metadata."""
    connection.execute(delete(SourceValueRow))
    after = 0
    columns = SourceRow.__table__.c
    while True:
        batch = connection.execute(
            select(columns.id, columns.metadata)
            .where(columns.id > after)
            .order_by(columns.id)
            .limit(_BATCH)
        ).all()
        if not batch:
            return
        after = batch[-1][0]
        rows = [
            row
            for source_id, metadata in batch
            for row in value_rows(source_id, object_of(metadata))
        ]
        if rows:
            connection.execute(insert(SourceValueRow), rows)


def value_rows(source_id: int, metadata: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each different value. Nested lists and objects have none."""
    for key, value in metadata.items():
        if len(key) > HEAD:
            continue
        items = value if isinstance(value, list | tuple) else [value]
        distinct = dict.fromkeys(
            row
            for item in items
            if isinstance(item, str | int | float | bool)
            for row in _comparable(item)
        )
        for place, (kind, text, number) in enumerate(distinct):
            yield {
                "source_id": source_id,
                "key": key,
                "place": place,
                "kind": kind,
                "text": text,
                "number": number,
            }


def _comparable(value: Scalar) -> Iterator[tuple[str, str | None, float | None]]:
    """(kind, text, number) of each row of a value."""
    if not isinstance(value, str):
        yield _kind(value), None, _stored_number(value)
        return
    yield "text", comparison_key(value)[:HEAD], None
    times = times_of(value)
    if times is not None and times.local == times.instant:
        yield "time", None, times.local
    elif times is not None:
        yield "local", None, times.local
        yield "instant", None, times.instant


def _kind(value: Scalar) -> str:
    return "text" if isinstance(value, str) else "bool" if isinstance(value, bool) else "number"


def _stored(value: Scalar) -> str | float:
    return value if isinstance(value, str) else _stored_number(value)


def _stored_number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
