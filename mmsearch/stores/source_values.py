"""The table `source_values`: single values of sources' metadata, indexed, for filters.

The metadata itself is JSON. Without this table every filter reads every record: 130 to 190 ms
for 100,000 sources, however few pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, select
from sqlalchemy.sql import visitors

from mmsearch.stores.dialects import COMPARISONS, Scalar
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

    `in` takes several values of one type. None if the table does not suffice: for other
    operators, and if more than the first `HEAD` characters matter.
    """
    values = [value] if isinstance(value, str | float | bool) else list(value)
    if op not in _INDEXED_COMPARISONS or len(key) > HEAD:
        return None
    if any(isinstance(item, str) and len(item) >= HEAD for item in values):
        return None
    column = _VALUES.text if isinstance(values[0], str) else _VALUES.number
    matching = select(_VALUES.source_id).where(
        _VALUES.key == key,
        _VALUES.kind == _kind(values[0]),
        _INDEXED_COMPARISONS[op](
            column, value if op != "in" else [_stored(item) for item in values]
        ),
    )
    return SourceRow.__table__.c.id.in_(matching)


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
            (
                _kind(item),
                item[:HEAD] if isinstance(item, str) else None,
                None if isinstance(item, str) else float(item),
            )
            for item in items
            if isinstance(item, str | int | float | bool)
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


def _kind(value: Scalar) -> str:
    return "text" if isinstance(value, str) else "bool" if isinstance(value, bool) else "number"


def _stored(value: Scalar) -> str | float:
    return value if isinstance(value, str) else float(value)
