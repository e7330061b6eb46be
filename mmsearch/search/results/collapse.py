"""From ranked segments to what people take for one thing each.

What speaks for the same moment of a video or recording (the shot, the words said in it) becomes
one, copies and near-duplicates become one, and what earlier pages have shown falls away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from mmsearch.query import Query
from mmsearch.search.scoring.fusion import Fused
from mmsearch.stores.segments import Candidate
from mmsearch.types import Modality, Vectors

SAME_MOMENT = 0.5
"""Two segments are of one moment if they share this much of the shorter one's time."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Segments that make one hit, before grouping by source."""

    lead: Fused
    """The best one: the hit is about it."""
    place: Candidate
    evidence: tuple[Fused, ...] = ()
    duplicates: tuple[Fused, ...] = ()


@dataclass(slots=True, eq=False)
class _Lead:
    place: Candidate
    fused: Fused | None
    """None for what an earlier page has shown."""
    evidence: list[Fused] = field(default_factory=list)
    duplicates: list[Fused] = field(default_factory=list)
    modalities: set[Modality] = field(default_factory=set)


class Lookalikes:
    """Finds the lead that a segment is too similar to. One modality at a time is compared."""

    def __init__(
        self, threshold: float, vectors: Mapping[Modality, tuple[list[int], Vectors]]
    ) -> None:
        self._threshold = threshold
        self._rows = {
            modality: ({i: row for row, i in enumerate(ids)}, matrix)
            for modality, (ids, matrix) in vectors.items()
        }
        self._leads: dict[Modality, list[tuple[int, _Lead]]] = {}

    def find(self, place: Candidate) -> _Lead | None:
        """The most similar lead, if it is similar enough."""
        rows, matrix = self._rows.get(place.modality, ({}, None))
        leads = self._leads.get(place.modality, [])
        if matrix is None or place.id not in rows or not leads:
            return None
        cosines = matrix[[row for row, _ in leads]] @ matrix[rows[place.id]]
        best = int(np.argmax(cosines))
        return leads[best][1] if cosines[best] >= self._threshold else None

    def add(self, lead: _Lead) -> None:
        """A new lead, to be found from now on."""
        rows, _ = self._rows.get(lead.place.modality, ({}, None))
        if lead.place.id in rows:
            self._leads.setdefault(lead.place.modality, []).append((rows[lead.place.id], lead))


def gather(
    fused: Iterable[Fused],
    places: Mapping[int, Candidate],
    query: Query,
    *,
    shown: Collection[int] = (),
    hidden_sources: Collection[int] = (),
    lookalikes: Lookalikes | None = None,
) -> list[Bundle]:
    """Bundles in the order of their leads, best first.

    `fused` comes best first; segments that `places` does not know have been deleted. `shown`
    are the leads of earlier pages: what would have joined one of them is dropped with it.
    """
    known = set(shown)
    leads: list[_Lead] = []
    by_source: dict[int, list[_Lead]] = {}
    by_content: dict[tuple[str, int, Modality], _Lead] = {}

    def add(lead: _Lead) -> None:
        lead.modalities.add(lead.place.modality)
        leads.append(lead)
        by_source.setdefault(lead.place.source_id, []).append(lead)
        by_content.setdefault(_content(lead.place), lead)
        if lookalikes is not None:
            lookalikes.add(lead)

    for segment in shown:
        if segment in places:
            add(_Lead(places[segment], None))
    shown_sources = {lead.place.source_id for lead in leads}
    for one in fused:
        place = places.get(one.id)
        if place is None or one.id in known or place.source_id in hidden_sources:
            continue
        if query.group == "source" and place.source_id in shown_sources:
            continue
        moment = None
        if query.group != "segment":
            moment = _moment(place, by_source.get(place.source_id, ()))
        if moment is not None:
            moment.modalities.add(place.modality)
            moment.evidence.append(one)
            continue
        twin = None
        if query.fold is not None:
            twin = by_content.get(_content(place))
            if twin is None and lookalikes is not None:
                twin = lookalikes.find(place)
        if twin is not None:
            twin.duplicates.append(one)
            continue
        add(_Lead(place, one))
    return [
        Bundle(lead.fused, lead.place, tuple(lead.evidence), tuple(lead.duplicates))
        for lead in leads
        if lead.fused is not None
    ]


def _content(place: Candidate) -> tuple[str, int, Modality]:
    """Equal for the same segment of two copies of a file."""
    return place.sha256, place.ordinal, place.modality


def _moment(place: Candidate, leads: Iterable[_Lead]) -> _Lead | None:
    """The lead in the same source that shares this segment's time and is of another kind."""
    if place.start is None or place.end is None:
        return None
    for lead in leads:
        other = lead.place
        if other.start is None or other.end is None or place.modality in lead.modalities:
            continue
        shared = min(place.end, other.end) - max(place.start, other.start)
        shorter = min(place.end - place.start, other.end - other.start)
        if shared > 0 and shared >= SAME_MOMENT * shorter:
            return lead
    return None
