"""The last stage: groups of segments become one page of hits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mmsearch.query import Hit, HitPart, Query
from mmsearch.search.plan import PlannedQuery
from mmsearch.search.results.collapse import HitGroup
from mmsearch.search.results.cursors import Shown, cursor_of
from mmsearch.search.results.ordering import DIVERSITY_POOL, diverse_order, sort_order
from mmsearch.search.results.similarity import Likeness, read_vectors
from mmsearch.search.scoring.rankings import ScoredSegment
from mmsearch.stores.store import SqlStore
from mmsearch.types import Segment, Source

SegmentRows = Mapping[int, tuple[Segment, Source]]


@dataclass(frozen=True, slots=True)
class Page:
    """Some hits, and the cursor of the next page."""

    hits: tuple[Hit, ...]
    cursor: str | None


class ResultPager:
    """Makes pages of hits. Thread-safe."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self._library = store.library_uuid()

    def page(
        self,
        planned: PlannedQuery,
        groups: Sequence[HitGroup],
        representatives: Sequence[ScoredSegment],
    ) -> Page:
        """One page; `representatives` are those of the groups, with final scores and order."""
        query = planned.query
        by_id = {group.representative.id: group for group in groups}
        groups = [
            replace(by_id[segment.id], representative=segment)
            for segment in representatives
            if segment.score >= planned.thresholds.min_score
        ]
        hits = self._ordered(planned, _grouped(self._sorted(planned, groups), query))
        chosen, rows = self._read(hits[: query.limit], query)
        cursor = None
        if len(hits) > len(chosen):
            shown = {*planned.earlier.shown, *(hit[0].representative.id for hit in chosen)}
            cursor = cursor_of(
                query, self._library, Shown(planned.earlier.mark, tuple(sorted(shown)))
            )
        return Page(
            tuple(_hit(rank, hit, query, rows) for rank, hit in enumerate(chosen, start=1)), cursor
        )

    def _sorted(self, planned: PlannedQuery, groups: list[HitGroup]) -> list[HitGroup]:
        query = planned.query
        if not query.sort:
            return groups
        scores = {group.representative.id: group.representative.score for group in groups}
        by_id = {group.representative.id: group for group in groups}
        keys = planned.snapshot.metadata_keys(planned.collection.id)
        return [by_id[i] for i in sort_order(self._store, scores, query.sort, keys)]

    def _ordered(self, planned: PlannedQuery, hits: list[list[HitGroup]]) -> list[list[HitGroup]]:
        """With diversity among the best hits, if the query asks for it."""
        query = planned.query
        if not query.diversity or not hits:
            return hits
        pool = hits[: DIVERSITY_POOL * query.limit]
        places = {hit[0].representative.id: hit[0].place for hit in pool}
        shown = self._store.segments.candidates(planned.earlier.shown)
        order = diverse_order(
            {hit[0].representative.id: hit[0].representative.score for hit in pool},
            list(shown),
            Likeness(read_vectors(self._store, planned.spaces, places | shown)),
            diversity=query.diversity,
            limit=query.limit,
        )
        by_id = {hit[0].representative.id: hit for hit in pool}
        return [by_id[i] for i in order] + hits[len(pool) :]

    def _read(
        self, hits: Sequence[list[HitGroup]], query: Query
    ) -> tuple[list[list[HitGroup]], SegmentRows]:
        """The hits that have not been deleted meanwhile, and the rows of all their segments."""
        ids = [
            segment.id
            for hit in hits
            for group in hit[: query.best]
            for segment in (group.representative, *group.evidence, *group.duplicates)
        ]
        rows = self._store.segments.with_sources(ids)
        return [hit for hit in hits if hit[0].representative.id in rows], rows


def _grouped(groups: Sequence[HitGroup], query: Query) -> list[list[HitGroup]]:
    """The groups of each hit: with `group="source"` all of a source, else one."""
    hits: dict[int, list[HitGroup]] = {}
    for group in groups:
        by_source = query.group == "source"
        key = group.place.source_id if by_source else group.representative.id
        hits.setdefault(key, []).append(group)
    return list(hits.values())


def _hit(rank: int, groups: Sequence[HitGroup], query: Query, rows: SegmentRows) -> Hit:
    best = groups[0]
    segment, source = rows[best.representative.id]
    segments: tuple[HitPart, ...] = ()
    if query.group == "source":
        segments = _parts([group.representative for group in groups[: query.best]], rows)
    return Hit(
        rank,
        best.representative.score,
        best.representative.scores,
        source,
        segment,
        evidence=_parts(best.evidence, rows),
        segments=segments,
        duplicates=_parts(best.duplicates, rows),
    )


def _parts(segments: Sequence[ScoredSegment], rows: SegmentRows) -> tuple[HitPart, ...]:
    return tuple(
        HitPart(segment.score, segment.scores, rows[segment.id][1], rows[segment.id][0])
        for segment in segments
        if segment.id in rows
    )
