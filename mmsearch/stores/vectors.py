"""Vectors, the truth that every vector index is built from."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt
from sqlalchemy import select

from mmsearch.errors import MMSearchError, SpaceMismatchError
from mmsearch.stores.database import Database
from mmsearch.stores.row_checks import marked
from mmsearch.stores.rows import chunks, little_endian, usable
from mmsearch.stores.tables import SegmentRow, SpaceRow, VectorRow
from mmsearch.types import Ids, Modality

logger = logging.getLogger(__name__)


class VectorStore:
    """The table `vectors`. Vectors of new segments are written by `SourceStore.write`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._marked: set[int] = set()
        """Segments whose vectors were reported as damaged."""

    def iterate(
        self, space_id: int, modality: Modality, *, after_id: int = 0, batch: int = 10_000
    ) -> Iterator[tuple[Ids, npt.NDArray[np.float16]]]:
        """All vectors of one channel by ascending segment id: ids (n,), float16 (n, d).

        Vectors that cannot be searched are left out, and their sources marked.
        """
        dimension = self._dimension(space_id)
        while True:
            query = (
                select(VectorRow.segment_id, VectorRow.data)
                .join(SegmentRow, SegmentRow.id == VectorRow.segment_id)
                .where(
                    VectorRow.space_id == space_id,
                    VectorRow.segment_id > after_id,
                    SegmentRow.modality == modality.value,
                )
                .order_by(VectorRow.segment_id)
                .limit(batch)
            )
            with self._database.read() as connection:
                rows = connection.execute(query).all()
            if not rows:
                return
            ids, vectors, bad = usable([(row[0], row[1]) for row in rows], dimension)
            self._mark(space_id, bad)
            if len(ids):
                yield ids, vectors
            after_id = rows[-1][0]

    def of_segments(
        self, space_id: int, ids: Sequence[int]
    ) -> dict[Modality, tuple[Ids, npt.NDArray[np.float16]]]:
        """The vectors of some segments in one space, by modality. Missing ids are left out."""
        grouped: dict[Modality, list[tuple[int, bytes]]] = {}
        with self._database.read() as connection:
            for chunk in chunks(ids):
                rows = connection.execute(
                    select(VectorRow.segment_id, SegmentRow.modality, VectorRow.data)
                    .join(SegmentRow, SegmentRow.id == VectorRow.segment_id)
                    .where(
                        VectorRow.space_id == space_id,
                        VectorRow.segment_id.in_(chunk),
                        SegmentRow.modality.in_([modality.value for modality in Modality]),
                    )
                )
                for segment_id, modality, data in rows:
                    grouped.setdefault(Modality(modality), []).append((segment_id, data))
        if not grouped:
            return {}
        dimension = self._dimension(space_id)
        vectors: dict[Modality, tuple[Ids, npt.NDArray[np.float16]]] = {}
        for modality, pairs in grouped.items():
            right, rows_of_right, bad = usable(pairs, dimension)
            self._mark(space_id, bad)
            if len(right):
                vectors[modality] = (right, rows_of_right)
        return vectors

    def _dimension(self, space_id: int) -> int:
        query = select(SpaceRow.dimension).where(SpaceRow.id == space_id)
        with self._database.read() as connection:
            return int(connection.scalar(query) or 0)

    def _mark(self, space_id: int, segment_ids: Sequence[int]) -> None:
        """Report vectors that cannot be searched, and have their sources indexed again."""
        damaged = set(segment_ids) - self._marked
        if not damaged:
            return
        self._marked |= damaged
        logger.warning(
            "%d vectors of space %d have a wrong length, are zero or not finite. They are not "
            "searched; `mmsearch index` indexes their sources again", len(damaged), space_id,
        )  # fmt: skip
        # Reading goes on where nothing can be written.
        with suppress(MMSearchError), self._database.write() as connection:
            for chunk in chunks(sorted(damaged)):
                sources = select(SegmentRow.source_id).where(SegmentRow.id.in_(chunk))
                marked(connection, sources)

    def ids(self, space_id: int, modality: Modality) -> Ids:
        """Ascending ids of all segments of a channel."""
        query = (
            select(VectorRow.segment_id)
            .join(SegmentRow, SegmentRow.id == VectorRow.segment_id)
            .where(VectorRow.space_id == space_id, SegmentRow.modality == modality.value)
            .order_by(VectorRow.segment_id)
        )
        with self._database.read() as connection:
            return np.fromiter(connection.scalars(query), dtype=np.int64)

    def add(self, space_id: int, ids: Sequence[int], vectors: npt.NDArray[np.float16]) -> int:
        """Write vectors (n, dimension) of segments into a space that is being built.

        Segments deleted meanwhile are left out; returns how many were not. SpaceMismatchError if
        the switch was aborted.
        """
        rows = dict(zip(ids, little_endian(vectors), strict=True))
        with self._database.write() as connection:
            state = connection.scalar(
                select(SpaceRow.state)
                .where(SpaceRow.id == space_id)
                .with_for_update(read=True, key_share=True)
            )
            if state != "building":
                raise SpaceMismatchError("the switch was dropped by another process")
            existing: list[int] = []
            for chunk in chunks(list(rows)):
                existing += connection.scalars(
                    select(SegmentRow.id)
                    .where(SegmentRow.id.in_(chunk))
                    .with_for_update(read=True, key_share=True)
                )
            values = [
                {"space_id": space_id, "segment_id": i, "data": rows[i].tobytes()} for i in existing
            ]
            if values:
                insert = self._database.dialect.insert(VectorRow)
                connection.execute(insert.on_conflict_do_nothing(), values)
        return len(existing)
