"""Counts of a library's contents, and what SQL itself lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, func, select

from mmsearch.stores.database import Database
from mmsearch.stores.dialects import dialect_of
from mmsearch.stores.names import is_name_only
from mmsearch.stores.rows import EXPECTED_IN, NEEDS_TEXT, STALE_RECIPE, StoredSpace
from mmsearch.stores.spaces import SpaceStore, has_vector
from mmsearch.stores.tables import SegmentRow, SourceRow, SpaceRow, VectorRow
from mmsearch.types import VERBAL, Modality

CanRead = Callable[[StoredSpace, list[str]], list[bool]]


class StatusStore:
    """Reads across all tables, for `mmsearch status`."""

    def __init__(self, database: Database, spaces: SpaceStore) -> None:
        self._database = database
        self._spaces = spaces

    def counts(self) -> dict[str, Any]:
        """{"sources", "failed", "segments", "vectors": {space name: n}}."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(SourceRow.status, func.count()).group_by(SourceRow.status)
            )
            by_status: dict[str, int] = {row[0]: row[1] for row in rows}
            segments = connection.scalar(select(func.count()).select_from(SegmentRow))
            rows = connection.execute(
                select(SpaceRow.name, func.count(VectorRow.segment_id))
                .join(VectorRow, VectorRow.space_id == SpaceRow.id, isouter=True)
                .where(SpaceRow.state == "active")
                .group_by(SpaceRow.name)
            )
            vectors: dict[str, int] = {row[0]: row[1] for row in rows}
        return {
            "sources": by_status.get("indexed", 0),
            "failed": by_status.get("failed", 0),
            "segments": int(segments or 0),
            "vectors": vectors,
        }

    def problems(self, can_read: CanRead | None = None) -> list[str]:
        """Segments without an expected vector, and vectors of a wrong size.

        `can_read` tells which texts a space's model reads; others are not expected to have one.
        """
        problems: list[str] = []
        for stored in self._spaces.active():
            name = stored.space.name
            with self._database.read() as connection:
                missing = _missing(connection, stored, can_read)
                damaged = connection.scalar(
                    select(func.count())
                    .select_from(VectorRow)
                    .where(
                        VectorRow.space_id == stored.id,
                        func.length(VectorRow.data) != 2 * stored.space.dimension,
                    )
                )
            if missing:
                problems.append(f"{missing} segments have no vector in space '{name}'")
            if damaged:
                problems.append(f"{damaged} vectors of space '{name}' have a wrong size")
        return problems

    def notes(self) -> list[str]:
        """Segments without a vector because a switch of models could not read their files."""
        notes: list[str] = []
        for stored in self._spaces.active():
            with self._database.read() as connection:
                count = connection.scalar(
                    select(func.count())
                    .select_from(SegmentRow)
                    .join(SourceRow, SourceRow.id == SegmentRow.source_id)
                    .where(
                        SourceRow.collection_id == stored.collection_id,
                        SourceRow.recipe == STALE_RECIPE,
                        ~has_vector(stored.id),
                    )
                )
            if count:
                notes.append(
                    f"{count} segments have no vector in space '{stored.space.name}': their files "
                    "could not be read when the models were switched. `mmsearch index` indexes "
                    "them again once they can be read; with --prune it removes those that no "
                    "longer exist"
                )
        return notes


def _missing(connection: Connection, stored: StoredSpace, can_read: CanRead | None) -> int:
    """Segments that should have a vector in a space and have none; not those of `notes`."""
    name = stored.space.name
    missing = connection.execute(
        select(SegmentRow.modality, SegmentRow.text)
        .select_from(SegmentRow)
        .join(SourceRow, SourceRow.id == SegmentRow.source_id)
        .join(
            VectorRow,
            (VectorRow.segment_id == SegmentRow.id) & (VectorRow.space_id == stored.id),
            isouter=True,
        )
        .where(
            SourceRow.collection_id == stored.collection_id,
            SegmentRow.modality.in_([m.value for m in EXPECTED_IN.get(name, ())]),
            VectorRow.segment_id.is_(None),
            SourceRow.recipe != STALE_RECIPE,
            func.coalesce(SegmentRow.text, "") != ""
            if name in NEEDS_TEXT
            else ~is_name_only(dialect_of(connection)),
        )
    ).all()
    # In `clip` pictures have the vectors of their pixels, whatever words stand in them.
    texts = [
        text
        for modality, text in missing
        if text and (name in NEEDS_TEXT or Modality(modality) in VERBAL)
    ]
    unreadable = can_read(stored, texts).count(False) if texts and can_read is not None else 0
    return len(missing) - unreadable
