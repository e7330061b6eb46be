"""Writing to the ordered change log that every index follows (see `tables.ChangeRow`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Connection, func, insert, select

from mmsearch.stores.database import now
from mmsearch.stores.tables import ChangeRow

CHANGE_LOG_LOCK = 0x6D6D7365  # "mmse": the advisory lock of change-log writers on PostgreSQL


def lock_change_log(connection: Connection) -> None:
    """Let one writer in at a time, until its transaction ends.

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
    """One row, in the transaction that it tells of."""
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
