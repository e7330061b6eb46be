"""Counts of a library's contents, and what SQL itself lacks."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, func, select, true

from mmsearch.stores.database import Database
from mmsearch.stores.row_checks import marked
from mmsearch.stores.rows import EXPECTED_IN, NEEDS_TEXT, STALE_RECIPE, StoredSpace
from mmsearch.stores.spaces import SpaceStore, has_vector
from mmsearch.stores.tables import SegmentRow, SourceRow, SpaceRow, VectorRow


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

    def problems(self) -> list[str]:
        """Segments without an expected vector."""
        problems: list[str] = []
        for stored in self._spaces.active():
            name = stored.space.name
            with self._database.read() as connection:
                missing = _missing(connection, stored)
            if missing:
                problems.append(f"{missing} segments have no vector in space '{name}'")
        return problems

    def mark_incomplete(self) -> None:
        """Mark the sources of segments without an expected vector to be indexed again."""
        with self._database.write() as connection:
            for stored in self._spaces.active():
                marked(connection, _lacking(stored, SegmentRow.source_id))

    def notes(self) -> list[str]:
        """Segments without a vector whose sources are marked to be indexed again."""
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
                    f"{count} segments have no vector in space '{stored.space.name}', because it "
                    "was damaged, or because their files could not be read when the models were "
                    "switched. `mmsearch index` indexes them again; with --prune it removes those "
                    "that no longer exist"
                )
        return notes


def _missing(connection: Connection, stored: StoredSpace) -> int:
    """Segments that should have a vector in a space and have none; not those of `notes`."""
    lacking = _lacking(stored, SegmentRow.id).subquery()
    return int(connection.scalar(select(func.count()).select_from(lacking)) or 0)


def _lacking(stored: StoredSpace, column: Any) -> Select[Any]:
    """A column of the segments that should have a vector in a space and have none."""
    name = stored.space.name
    return (
        select(column)
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
            func.coalesce(SegmentRow.text, "") != "" if name in NEEDS_TEXT else true(),
        )
    )
