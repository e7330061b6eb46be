"""The vector spaces of collections. Vectors are searched in active spaces only.

See `mmsearch.stores.switches` for how a space becomes active and is retired.
"""

from __future__ import annotations

from typing import Literal

from sqlalchemy import ColumnElement, Connection, delete, exists, insert, select
from sqlalchemy.orm import aliased

from mmsearch.stores.database import Database
from mmsearch.stores.rows import StoredSpace, check_same_space, to_stored_space
from mmsearch.stores.tables import SegmentRow, SpaceRow, VectorRow
from mmsearch.types import Space

State = Literal["building", "active", "retired"]


class SpaceStore:
    """The table `spaces`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def active(self, collection_id: int | None = None) -> list[StoredSpace]:
        """The spaces in use, of one collection or of all."""
        return self._in_state("active", collection_id)

    def building(self, collection_id: int | None = None) -> list[StoredSpace]:
        """The spaces that a switch of models is filling."""
        return self._in_state("building", collection_id)

    def retired(self, collection_id: int | None = None) -> list[StoredSpace]:
        """The spaces that are to be removed."""
        return self._in_state("retired", collection_id)

    def _in_state(self, state: State, collection_id: int | None) -> list[StoredSpace]:
        query = select(SpaceRow).where(SpaceRow.state == state).order_by(SpaceRow.id)
        if collection_id is not None:
            query = query.where(SpaceRow.collection_id == collection_id)
        with self._database.read() as connection:
            return [to_stored_space(row) for row in connection.execute(query)]

    def get_or_create(self, collection_id: int, space: Space) -> StoredSpace:
        """Register `space`. SpaceMismatchError if the collection uses another one of its name."""
        with self._database.write() as connection:
            row = connection.execute(
                select(SpaceRow).where(
                    SpaceRow.collection_id == collection_id,
                    SpaceRow.name == space.name,
                    SpaceRow.state == "active",
                )
            ).first()
            if row is not None:
                stored = to_stored_space(row)
                check_same_space(stored.space, space)
                return stored
            # A retired space may have lost some of its vectors: it is not taken up again.
            connection.execute(
                delete(SpaceRow).where(
                    SpaceRow.collection_id == collection_id,
                    SpaceRow.fingerprint == space.fingerprint,
                    SpaceRow.state == "retired",
                )
            )
            return insert_space(connection, collection_id, space, "active")

    def remove_retired(self, space_id: int, batch: int = 5000) -> int:
        """Delete a batch of vectors of a retired space, and the space after the last batch.

        Returns how many vectors were deleted; 0 means that the space is gone or in use again.
        """
        ids = select(VectorRow.segment_id).where(VectorRow.space_id == space_id).limit(batch)
        with self._database.write() as connection:
            state = connection.scalar(
                select(SpaceRow.state).where(SpaceRow.id == space_id).with_for_update()
            )
            if state != "retired":
                return 0
            result = connection.execute(
                delete(VectorRow)
                .where(VectorRow.space_id == space_id, VectorRow.segment_id.in_(ids))
                .execution_options(synchronize_session=False)
            )
            if not result.rowcount:
                connection.execute(delete(SpaceRow).where(SpaceRow.id == space_id))
            return int(result.rowcount)


def insert_space(
    connection: Connection, collection_id: int, space: Space, state: State
) -> StoredSpace:
    """Add a space to a collection."""
    new = connection.scalar(
        insert(SpaceRow)
        .values(
            collection_id=collection_id,
            name=space.name,
            model=space.model,
            revision=space.revision,
            fingerprint=space.fingerprint,
            dimension=space.dimension,
            metric=space.metric,
            state=state,
        )
        .returning(SpaceRow.id)
    )
    assert new is not None
    return StoredSpace(new, collection_id, space, state)


def has_vector(space_id: int) -> ColumnElement[bool]:
    """Whether a segment has a vector in a space."""
    inner = aliased(VectorRow)
    return exists().where(inner.space_id == space_id, inner.segment_id == SegmentRow.id)
