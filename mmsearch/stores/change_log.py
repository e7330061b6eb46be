"""The ordered change log that every index follows (see `tables.ChangeRow`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Connection, func, insert, select, true

from mmsearch.stores.database import Database, now
from mmsearch.stores.rows import Change, to_collection
from mmsearch.stores.tables import ChangeRow, CollectionRow
from mmsearch.types import Collection


class ChangeLog:
    """Which segments were added and removed, in commit order."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last_id(self) -> int:
        """Id of the newest committed change, 0 if there is none."""
        with self._database.read() as connection:
            return int(connection.scalar(select(func.max(ChangeRow.id))) or 0)

    def head(self) -> tuple[int, tuple[Collection, ...]]:
        """The id of the newest committed change (0 if there is none) and all collections, by name.

        One statement, because every batch of queries asks for both: the weights of a collection
        may change without an entry in the log.
        """
        newest = select(func.max(ChangeRow.id).label("newest")).subquery()
        columns = CollectionRow.__table__
        query = (
            select(newest.c.newest, columns)
            .select_from(newest.outerjoin(columns, true()))
            .order_by(columns.c.name)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        collections = tuple(to_collection(row) for row in rows if row.id is not None)
        return int(rows[0].newest or 0), collections

    def after(self, collection_id: int, after: int, limit: int = 1000) -> list[Change]:
        """The next changes of a collection, in commit order."""
        query = (
            select(ChangeRow)
            .where(ChangeRow.collection_id == collection_id, ChangeRow.id > after)
            .order_by(ChangeRow.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [
                Change(row.id, row.source_id, row.op, tuple(row.segment_ids))
                for row in connection.execute(query)
            ]

    def append(
        self,
        connection: Connection,
        collection_id: int,
        source_id: int,
        op: Literal["add", "remove"],
        segment_ids: Sequence[int],
    ) -> None:
        """Log a change in the transaction that makes it. One writer at a time gets past here."""
        self._database.dialect.lock_change_log(connection)
        connection.execute(
            insert(ChangeRow).values(
                collection_id=collection_id,
                source_id=source_id,
                op=op,
                segment_ids=[int(i) for i in segment_ids],
                at=now(),
            )
        )
