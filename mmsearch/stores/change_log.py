"""The ordered change log that every index follows (see `tables.ChangeRow`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Connection, Engine, func, insert, select, true

from mmsearch.stores.database import now, read
from mmsearch.stores.rows import to_collection
from mmsearch.stores.tables import ChangeRow, CollectionRow
from mmsearch.types import Collection

CHANGE_LOG_LOCK = 0x6D6D7365  # "mmse": the advisory lock of change-log writers on PostgreSQL


def lock_change_log(connection: Connection) -> None:
    """Wait for other writers, and exclude them until this transaction ends.

    PostgreSQL gives numbers out before commit: without this a reader could see a later number
    first and step over the gap. SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(CHANGE_LOG_LOCK)))


def log_change(
    connection: Connection,
    collection_id: int,
    source_id: int,
    op: Literal["add", "remove"],
    segment_ids: Sequence[int],
) -> None:
    """Add one row, in the transaction that makes the change."""
    lock_change_log(connection)
    connection.execute(
        insert(ChangeRow).values(
            collection_id=collection_id,
            source_id=source_id,
            op=op,
            segment_ids=[int(i) for i in segment_ids],
            at=now(),
        )
    )


def read_head(engine: Engine) -> tuple[int, tuple[Collection, ...]]:
    """The id of the newest committed change (0 if there is none) and all collections, by name.

    One statement, because every batch of queries asks for both: the weights of a collection may
    change without an entry in the log.
    """
    newest = select(func.max(ChangeRow.id).label("newest")).subquery()
    columns = CollectionRow.__table__
    query = (
        select(newest.c.newest, columns)
        .select_from(newest.outerjoin(columns, true()))
        .order_by(columns.c.name)
    )
    with read(engine) as connection:
        rows = connection.execute(query).all()
    collections = tuple(to_collection(row) for row in rows if row.id is not None)
    return int(rows[0].newest or 0), collections
