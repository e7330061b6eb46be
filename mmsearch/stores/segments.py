"""Segments: reading them whole, and a few columns of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import aliased

from mmsearch.errors import NotFoundError
from mmsearch.stores.database import Database
from mmsearch.stores.rows import MAX_ID, SEGMENTS, SOURCES, chunks, to_segment, to_source
from mmsearch.stores.source_values import uses_source_values
from mmsearch.stores.tables import SegmentRow
from mmsearch.types import Ids, Modality, Segment, Source

_CANDIDATE = (
    SEGMENTS.c.id,
    SEGMENTS.c.source_id,
    SEGMENTS.c.ordinal,
    SEGMENTS.c.modality,
    SEGMENTS.c.start,
    SEGMENTS.c.end,
    SOURCES.c.sha256,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """The place of a segment: enough to find copies, overlaps in time and groups."""

    id: int
    source_id: int
    ordinal: int
    modality: Modality
    start: float | None
    """Seconds."""
    end: float | None
    sha256: str
    """Of the source's content."""


class SegmentStore:
    """The table `segments`. Segments are written by `SourceStore.write`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ------------------------------------------------------------------ whole segments

    def get(self, segment_id: int) -> Segment:
        """The segment with this id. NotFoundError."""
        segment = self.get_many([segment_id]).get(segment_id)
        if segment is None:
            raise NotFoundError(f"there is no segment {segment_id}", param="segment")
        return segment

    def get_many(self, ids: Sequence[int]) -> dict[int, Segment]:
        """By id. Missing ids are left out."""
        segments: dict[int, Segment] = {}
        with self._database.read() as connection:
            for chunk in chunks([i for i in ids if i <= MAX_ID]):
                rows = connection.execute(select(SegmentRow).where(SegmentRow.id.in_(chunk)))
                segments |= {row.id: to_segment(row) for row in rows}
        return segments

    def with_sources(self, ids: Sequence[int]) -> dict[int, tuple[Segment, Source]]:
        """By id, with the source of each. Missing ids are left out."""
        rows: dict[int, tuple[Segment, Source]] = {}
        query = select(*SEGMENTS.c, *SOURCES.c).join(SOURCES, SOURCES.c.id == SEGMENTS.c.source_id)
        names, width = [*SEGMENTS.c.keys(), *SOURCES.c.keys()], len(SEGMENTS.c)
        with self._database.read() as connection:
            for chunk in chunks([i for i in ids if i <= MAX_ID]):
                for row in connection.execute(query.where(SEGMENTS.c.id.in_(chunk))):
                    # Both tables have columns of the same names: split the row by position.
                    pairs = list(zip(names, row, strict=True))
                    segment: Any = SimpleNamespace(**dict(pairs[:width]))
                    source: Any = SimpleNamespace(**dict(pairs[width:]))
                    rows[segment.id] = (to_segment(segment), to_source(source))
        return rows

    def of_source(self, source_id: int) -> list[Segment]:
        """The segments of a source, in order."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(SegmentRow)
                .where(SegmentRow.source_id == source_id)
                .order_by(SegmentRow.ordinal)
            )
            return [to_segment(row) for row in rows]

    def neighbour_texts(self, ids: Sequence[int]) -> dict[int, tuple[str | None, str | None]]:
        """The texts of the segments before and after, of the same source and modality."""
        here, near = aliased(SegmentRow), aliased(SegmentRow)
        texts: dict[int, list[str | None]] = {}
        with self._database.read() as connection:
            for chunk in chunks(ids):
                rows = connection.execute(
                    select(here.id, near.ordinal - here.ordinal, near.text)
                    .join(
                        near,
                        (near.source_id == here.source_id)
                        & (near.modality == here.modality)
                        & near.ordinal.in_([here.ordinal - 1, here.ordinal + 1]),
                    )
                    .where(here.id.in_(chunk))
                )
                for segment, step, text in rows:
                    texts.setdefault(segment, [None, None])[0 if step < 0 else 1] = text
        return {segment: (pair[0], pair[1]) for segment, pair in texts.items()}

    def shot_start(self, source_id: int, seconds: float) -> float | None:
        """The start in seconds of the video shot that is shown at `seconds`."""
        query = select(func.max(SegmentRow.start)).where(
            SegmentRow.source_id == source_id,
            SegmentRow.modality == Modality.VIDEO.value,
            SegmentRow.start <= seconds + 0.001,
        )
        with self._database.read() as connection:
            return connection.scalar(query)

    # ------------------------------------------------------------------ columns of many segments

    def candidates(self, ids: Sequence[int]) -> dict[int, Candidate]:
        """By id. Missing ids are left out."""
        candidates: dict[int, Candidate] = {}
        query = select(*_CANDIDATE).join(SOURCES, SOURCES.c.id == SEGMENTS.c.source_id)
        with self._database.read() as connection:
            for chunk in chunks(ids):
                for row in connection.execute(query.where(SEGMENTS.c.id.in_(chunk))):
                    candidates[row[0]] = Candidate(
                        row[0], row[1], row[2], Modality(row[3]), row[4], row[5], row[6]
                    )
        return candidates

    def matching(
        self, collection_id: int, where: ColumnElement[bool], modalities: Sequence[Modality] = ()
    ) -> dict[Modality, Ids]:
        """By modality, the ascending ids of the segments that pass a compiled filter.

        Each of `modalities` has an entry, or each that exists.
        """
        inner = self._filtered(collection_id, where, modalities, SEGMENTS.c.id, SEGMENTS.c.modality)
        passing = inner.subquery()
        # One string a modality: 100,000 ids as rows of Python objects take ten times as long.
        joined = self._database.dialect.joined(passing.c.id)
        matching = {m: np.empty(0, np.int64) for m in modalities or tuple(Modality)}
        with self._database.read() as connection:
            for name, ids in connection.execute(
                select(passing.c.modality, joined).group_by(passing.c.modality)
            ):
                matching[Modality(name)] = np.sort(np.fromstring(ids, np.int64, sep=","))
        return matching

    def column_values(self, ids: Sequence[int], column: ColumnElement[Any]) -> dict[int, Any]:
        """By id, a column of `sources` or `segments`. Missing ids are left out."""
        values: dict[int, Any] = {}
        query = select(SEGMENTS.c.id, column).join(SOURCES, SOURCES.c.id == SEGMENTS.c.source_id)
        with self._database.read() as connection:
            for chunk in chunks(ids):
                rows = connection.execute(query.where(SEGMENTS.c.id.in_(chunk)))
                values |= {row[0]: row[1] for row in rows}
        return values

    def count_values(
        self,
        collection_id: int,
        where: ColumnElement[bool],
        modalities: Sequence[Modality],
        columns: Sequence[ColumnElement[Any]],
        limit: int,
    ) -> list[tuple[tuple[Any, ...], int, int]]:
        """(values of `columns`, number of sources, of segments), the most frequent first.

        The columns of `metadata_values.each_value` count every value of a list.
        """
        query = self._filtered(
            collection_id,
            where,
            modalities,
            *columns,
            func.count(SOURCES.c.id.distinct()).label("n_sources"),
            func.count().label("n_segments"),
        )
        query = (
            query.group_by(*columns)
            .order_by(func.count(SOURCES.c.id.distinct()).desc(), *columns)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [(tuple(row[:-2]), row[-2], row[-1]) for row in connection.execute(query)]

    def _filtered(
        self,
        collection_id: int,
        where: ColumnElement[bool],
        modalities: Sequence[Modality],
        *columns: ColumnElement[Any],
    ) -> Select[Any]:
        source_id: ColumnElement[Any] = SOURCES.c.id
        collection: ColumnElement[Any] = SOURCES.c.collection_id
        if uses_source_values(where):
            # Read values, then their sources, then their segments. In any other order SQLite
            # reads the whole collection, however few segments pass.
            dialect = self._database.dialect
            source_id, collection = map(dialect.without_index, (source_id, collection))
        query = (
            select(*columns)
            .select_from(SOURCES.join(SEGMENTS, source_id == SEGMENTS.c.source_id))
            .where(collection == collection_id, where)
        )
        if modalities:
            query = query.where(SEGMENTS.c.modality.in_([m.value for m in modalities]))
        return query
