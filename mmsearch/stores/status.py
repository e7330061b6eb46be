"""Counts of a library's contents, and what SQL itself lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, func, select

from mmsearch.stores.database import Database
from mmsearch.stores.dialects import dialect_of
from mmsearch.stores.names import is_name_only
from mmsearch.stores.row_checks import marked
from mmsearch.stores.rows import EXPECTED_IN, NEEDS_TEXT, STALE_RECIPE, StoredSpace, chunks
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
        """Segments without an expected vector.

        `can_read` tells which texts a space's model reads; others are not expected to have one.
        """
        problems: list[str] = []
        for stored in self._spaces.active():
            name = stored.space.name
            with self._database.read() as connection:
                missing = len(_lacking(connection, stored, can_read))
            if missing:
                problems.append(f"{missing} segments have no vector in space '{name}'")
        return problems

    def mark_incomplete(self, can_read: CanRead | None = None) -> None:
        """Mark the sources of segments without an expected vector to be indexed again."""
        for stored in self._spaces.active():
            with self._database.read() as connection:
                sources = _lacking(connection, stored, can_read)
            with self._database.write() as connection:
                for chunk in chunks(sources):
                    marked(connection, select(SourceRow.id).where(SourceRow.id.in_(chunk)))

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


def _lacking(connection: Connection, stored: StoredSpace, can_read: CanRead | None) -> list[int]:
    """For each segment that should have a vector in a space and has none, the id of its source.

    Those of `notes` are not among them.
    """
    name = stored.space.name
    rows = connection.execute(
        select(SegmentRow.source_id, SegmentRow.modality, SegmentRow.text)
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
        for _, modality, text in rows
        if text and (name in NEEDS_TEXT or Modality(modality) in VERBAL)
    ]
    readable = can_read(stored, texts) if texts and can_read is not None else [True] * len(texts)
    unread = {text for text, read in zip(texts, readable, strict=True) if not read}
    return [
        source_id
        for source_id, modality, text in rows
        if not (text in unread and (name in NEEDS_TEXT or Modality(modality) in VERBAL))
    ]
