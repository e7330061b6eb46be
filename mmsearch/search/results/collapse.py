"""The fifth stage: segments that people take for one thing become one hit.

Segments of the same time of a video or recording (the shot, the words said in it) become one,
copies and near-duplicates become one, and what earlier pages have shown is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mmsearch.query import Query
from mmsearch.search.plan import PlannedQuery
from mmsearch.search.results.similarity import NearDuplicates, read_vectors
from mmsearch.search.scoring.rankings import Ranked, ScoredSegment
from mmsearch.stores.segments import Candidate
from mmsearch.stores.store import SqlStore
from mmsearch.types import Modality

MIN_OVERLAP = 0.5
"""Two segments are of the same time if they share this much of the shorter one's time."""


@dataclass(frozen=True, slots=True)
class HitGroup:
    """Segments that make one hit, before grouping by source."""

    representative: ScoredSegment
    """The best one: the hit is about it."""
    place: Candidate
    evidence: tuple[ScoredSegment, ...] = ()
    duplicates: tuple[ScoredSegment, ...] = ()


@dataclass(slots=True, eq=False)
class _OpenGroup:
    place: Candidate
    representative: ScoredSegment | None
    """None for what an earlier page has shown."""
    evidence: list[ScoredSegment] = field(default_factory=list)
    duplicates: list[ScoredSegment] = field(default_factory=list)
    modalities: set[Modality] = field(default_factory=set)


class Collapser:
    """Collapses the ranked segments of a query. Thread-safe."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    def collapse(self, planned: PlannedQuery, ranked: Ranked) -> list[HitGroup]:
        """The groups, best first."""
        query, earlier = planned.query, planned.earlier
        segments = _needed(planned, ranked.segments)
        places = self._store.segments.candidates(
            [*earlier.shown, *(segment.id for segment in segments)]
        )
        near_duplicates = None
        if query.fold is not None and query.fold < 1:
            vectors = read_vectors(self._store, planned.spaces, places)
            near_duplicates = NearDuplicates(query.fold, vectors)
        return collapse(
            segments,
            places,
            query,
            shown=earlier.shown,
            hidden_sources=earlier.hidden_sources,
            near_duplicates=near_duplicates,
        )


def hit_count(groups: Sequence[HitGroup], query: Query) -> int:
    """How many hits the groups make."""
    if query.group == "source":
        return len({group.place.source_id for group in groups})
    return len(groups)


def collapse(
    segments: Iterable[ScoredSegment],
    places: Mapping[int, Candidate],
    query: Query,
    *,
    shown: Collection[int] = (),
    hidden_sources: Collection[int] = (),
    near_duplicates: NearDuplicates | None = None,
) -> list[HitGroup]:
    """Groups in the order of their representatives, best first.

    `segments` come best first; those without a place have been deleted. `shown` are the
    representatives of earlier pages: what would join one of them is left out with it.
    """
    groups: dict[int, _OpenGroup] = {}
    by_source: dict[int, list[_OpenGroup]] = {}
    by_content: dict[tuple[str, int, Modality], _OpenGroup] = {}

    def add(group: _OpenGroup) -> None:
        place = group.place
        group.modalities.add(place.modality)
        groups[place.id] = group
        by_source.setdefault(place.source_id, []).append(group)
        by_content.setdefault(_content(place), group)
        if near_duplicates is not None:
            near_duplicates.add(place)

    for segment_id in shown:
        if segment_id in places:
            add(_OpenGroup(places[segment_id], None))
    shown_sources = {group.place.source_id for group in groups.values()}
    known = set(shown)
    for segment in segments:
        place = places.get(segment.id)
        if place is None or place.id in known or place.source_id in hidden_sources:
            continue
        if query.group == "source" and place.source_id in shown_sources:
            continue
        if query.group != "segment":
            overlapping = _overlapping(place, by_source.get(place.source_id, ()))
            if overlapping is not None:
                overlapping.modalities.add(place.modality)
                overlapping.evidence.append(segment)
                continue
        if query.fold is not None:
            original = by_content.get(_content(place))
            if original is None and near_duplicates is not None:
                similar = near_duplicates.find(place)
                original = None if similar is None else groups[similar]
            if original is not None:
                original.duplicates.append(segment)
                continue
        add(_OpenGroup(place, segment))
    return [
        HitGroup(group.representative, group.place, tuple(group.evidence), tuple(group.duplicates))
        for group in groups.values()
        if group.representative is not None
    ]


def _needed(planned: PlannedQuery, segments: Sequence[ScoredSegment]) -> Sequence[ScoredSegment]:
    """An ordinary page needs only the best few hundred candidates, and reading each takes time."""
    query = planned.query
    needs_all = query.fold is not None or query.sort or query.diversity or planned.earlier.shown
    if needs_all or query.group == "source":
        return segments
    return segments[: 4 * query.limit + 256]


def _content(place: Candidate) -> tuple[str, int, Modality]:
    """Equal for the same segment of two copies of a file."""
    return place.sha256, place.ordinal, place.modality


def _overlapping(place: Candidate, groups: Iterable[_OpenGroup]) -> _OpenGroup | None:
    """The group of the same source and time that has no segment of this modality."""
    if place.start is None or place.end is None:
        return None
    for group in groups:
        other = group.place
        if other.start is None or other.end is None or place.modality in group.modalities:
            continue
        overlap = min(place.end, other.end) - max(place.start, other.start)
        shorter = min(place.end - place.start, other.end - other.start)
        if overlap > 0 and overlap >= MIN_OVERLAP * shorter:
            return group
    return None
