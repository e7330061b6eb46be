"""Reads about many segments at once: what ranking, paging, sorting and facets need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Select, String, func, select
from sqlalchemy import cast as cast_to

from mmsearch.stores.database import Database
from mmsearch.stores.rows import MAX_ID, SEGMENTS, SOURCES, chunks, to_segment, to_source
from mmsearch.stores.source_values import asks_values
from mmsearch.types import Ids, Modality, Segment, Source

_FIELDS = (
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


class CandidateStore(Database):
    """Reads about many segments in few columns."""

    def candidates(self, ids: Sequence[int]) -> dict[int, Candidate]:
        """By id; ids that are not there any more are left out."""
        found: dict[int, Candidate] = {}
        query = select(*_FIELDS).join(SOURCES, SOURCES.c.id == SEGMENTS.c.source_id)
        with self._read() as connection:
            for chunk in chunks(ids):
                for row in connection.execute(query.where(SEGMENTS.c.id.in_(chunk))):
                    found[row[0]] = Candidate(
                        row[0], row[1], row[2], Modality(row[3]), row[4], row[5], row[6]
                    )
        return found

    def segments_with_sources(self, ids: Sequence[int]) -> dict[int, tuple[Segment, Source]]:
        """Segments by id, each with its source; ids that have been deleted are left out."""
        rows: dict[int, tuple[Segment, Source]] = {}
        query = select(*SEGMENTS.c, *SOURCES.c).join(SOURCES, SOURCES.c.id == SEGMENTS.c.source_id)
        names, width = [*SEGMENTS.c.keys(), *SOURCES.c.keys()], len(SEGMENTS.c)
        with self._read() as connection:
            for chunk in chunks([i for i in ids if i <= MAX_ID]):
                for row in connection.execute(query.where(SEGMENTS.c.id.in_(chunk))):
                    # Both tables have columns of the same names: split the row by position.
                    pairs = list(zip(names, row, strict=True))
                    segment: Any = SimpleNamespace(**dict(pairs[:width]))
                    source: Any = SimpleNamespace(**dict(pairs[width:]))
                    rows[segment.id] = (to_segment(segment), to_source(source))
        return rows

    def passing(
        self, collection_id: int, where: ColumnElement[bool], modalities: Sequence[Modality] = ()
    ) -> dict[Modality, Ids]:
        """Ascending ids of the segments that a compiled filter lets through, by modality.

        Of `modalities` only, or of all that there are; each has an entry, if an empty one.
        """
        wanted = tuple(modalities) or tuple(Modality)
        inner = self._filtered(collection_id, where, modalities, SEGMENTS.c.id, SEGMENTS.c.modality)
        passing = inner.subquery()
        # One string a modality: a hundred thousand ids as rows of Python objects take ten
        # times as long.
        joined = (
            func.string_agg(cast_to(passing.c.id, String), ",")
            if self.engine.dialect.name == "postgresql"
            else func.group_concat(passing.c.id)
        )
        found = {modality: np.empty(0, np.int64) for modality in wanted}
        with self._read() as connection:
            for name, ids in connection.execute(
                select(passing.c.modality, joined).group_by(passing.c.modality)
            ):
                found[Modality(name)] = np.sort(np.fromstring(ids, np.int64, sep=","))
        return found

    def values_of(self, ids: Sequence[int], column: ColumnElement[Any]) -> dict[int, Any]:
        """A column of `sources` or `segments` for some segments; missing ids are left out."""
        found: dict[int, Any] = {}
        query = select(SEGMENTS.c.id, column).join(SOURCES, SOURCES.c.id == SEGMENTS.c.source_id)
        with self._read() as connection:
            for chunk in chunks(ids):
                rows = connection.execute(query.where(SEGMENTS.c.id.in_(chunk)))
                found |= {row[0]: row[1] for row in rows}
        return found

    def count_values(
        self,
        collection_id: int,
        where: ColumnElement[bool],
        modalities: Sequence[Modality],
        columns: Sequence[ColumnElement[Any]],
        limit: int,
    ) -> list[tuple[tuple[Any, ...], int, int]]:
        """(values of `columns`, number of sources, of segments), the most frequent first.

        A column of a function's table (see `json_values.each_value`) counts every value of it.
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
        with self._read() as connection:
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
        if self.engine.dialect.name == "sqlite" and asks_values(where):
            # Values, their sources, their segments: in any other order the whole collection is
            # gone through, however few pass. SQLite finds no way back through a sum.
            source_id, collection = source_id + 0, collection + 0
        query = (
            select(*columns)
            .select_from(SOURCES.join(SEGMENTS, source_id == SEGMENTS.c.source_id))
            .where(collection == collection_id, where)
        )
        if modalities:
            query = query.where(SEGMENTS.c.modality.in_([m.value for m in modalities]))
        return query
