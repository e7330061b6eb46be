"""What becomes of the ranked segments: bundles, then hits in order, then one page of them.

`Arranger.gather` makes the bundles (see `gathering`) that a closer look may reorder;
`Arranger.page` groups them by source, sorts or diversifies them, and cuts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mmsearch.errors import CursorError
from mmsearch.query import Hit, HitPart, Query
from mmsearch.search.parse.filters import FIELDS, check_field, known_fields
from mmsearch.search.results.collapse import Bundle, Lookalikes, gather
from mmsearch.search.results.cursors import Shown, cursor_of, shown_by
from mmsearch.search.scoring.fusion import Fused
from mmsearch.stores.metadata_values import whole_value
from mmsearch.stores.segments import Candidate
from mmsearch.stores.store import SqlStore
from mmsearch.types import Ids, Modality, Segment, Source, Vectors

SORT_POOL = 1000
"""First-stage candidates per channel that a sorted answer is put in order from."""

DIVERSE_POOL = 10
"""Bundles per hit among which diversity chooses."""

MOST_CHANGES = 20_000
"""Changes of a library that a cursor looks through for what became of what it has shown."""

_TELLING_SPACE: Mapping[Modality, str] = {
    Modality.TEXT: "text",
    Modality.SPEECH: "text",
    Modality.SOUND: "sound",
}
"""The space in which two segments are told apart; clip, if it is not here."""

Rows = Mapping[int, tuple[Segment, Source]]


@dataclass(slots=True)
class Arrangement:
    """One query's bundles on their way to hits."""

    query: Query
    collection_id: int
    mark: int
    """The change log's last row when the first page was made."""
    shown: tuple[int, ...] = ()
    hidden_sources: frozenset[int] = frozenset()
    bundles: list[Bundle] = field(default_factory=list)

    @property
    def leads(self) -> tuple[Fused, ...]:
        return tuple(bundle.lead for bundle in self.bundles)

    @property
    def size(self) -> int:
        """How many hits there are so far."""
        if self.query.group == "source":
            return len({bundle.place.source_id for bundle in self.bundles})
        return len(self.bundles)


@dataclass(frozen=True, slots=True)
class Page:
    """Some hits, and how to get the next."""

    hits: tuple[Hit, ...]
    cursor: str | None


class Arranger:
    """Arranges the answers of one library. Thread-safe."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self._library = store.library_uuid()

    def begin(self, query: Query, collection_id: int, last_change: int) -> Arrangement:
        """Read the query's cursor. Raises CursorError."""
        if query.cursor is None:
            return Arrangement(query, collection_id, last_change)
        shown = shown_by(query.cursor, query, self._library)
        if shown.mark > last_change:
            raise CursorError("the cursor is from another copy of this library: search again")
        hidden = self._taken_in_again(collection_id, shown)
        return Arrangement(query, collection_id, shown.mark, shown.segments, hidden)

    def _taken_in_again(self, collection_id: int, shown: Shown) -> frozenset[int]:
        """Sources of which something was shown, that have been indexed anew since.

        Their segments have new ids. Nobody can say which is which, so none is shown again.
        """
        gone = set(shown.segments) - set(self._store.segments.candidates(shown.segments))
        found: set[int] = set()
        after, seen = shown.mark, 0
        while gone:
            changes = self._store.changes.after(collection_id, after)
            if not changes:
                break
            seen += len(changes)
            if seen > MOST_CHANGES:
                raise CursorError("the library has changed too much since: search again")
            for change in changes:
                if change.op == "remove" and not gone.isdisjoint(change.segment_ids):
                    found.add(change.source_id)
                    gone -= set(change.segment_ids)
            after = changes[-1].id
        return frozenset(found)

    # ------------------------------------------------------------------ before a closer look

    def gather(self, arranged: Arrangement, fused: Sequence[Fused]) -> None:
        """Make the bundles. What scores less than `min_score` is left out."""
        query = arranged.query
        fused = [one for one in fused if one.score >= (query.min_score or 0)]
        if not (query.fold is not None or query.sort or query.diversity or arranged.shown):
            fused = self._worth_looking_at(query, fused)
        places = self._store.segments.candidates([*arranged.shown, *(one.id for one in fused)])
        lookalikes = None
        if query.fold is not None and query.fold < 1:
            lookalikes = Lookalikes(query.fold, self._vectors(arranged.collection_id, places))
        arranged.bundles = gather(
            fused,
            places,
            query,
            shown=arranged.shown,
            hidden_sources=arranged.hidden_sources,
            lookalikes=lookalikes,
        )

    @staticmethod
    def _worth_looking_at(query: Query, fused: list[Fused]) -> list[Fused]:
        """An ordinary page needs not all candidates: of the best hundreds, each takes time."""
        return fused if query.group == "source" else fused[: 4 * query.limit + 256]

    def _vectors(
        self, collection_id: int, places: Mapping[int, Candidate]
    ) -> dict[Modality, tuple[list[int], Vectors]]:
        """By modality, ids and unit rows in the space that tells its segments apart."""
        spaces = {
            s.space.name: s.id
            for s in self._store.spaces.active(collection_id)
            if s.state == "active"
        }
        by_space: dict[int, list[int]] = {}
        for place in places.values():
            name = _TELLING_SPACE.get(place.modality, "clip")
            if name in spaces:
                by_space.setdefault(spaces[name], []).append(place.id)
        found: dict[Modality, tuple[list[int], Vectors]] = {}
        for space_id, ids in by_space.items():
            grouped: Mapping[Modality, tuple[Ids, Any]] = self._store.vectors.of_segments(
                space_id, ids
            )
            for modality, (rows, matrix) in grouped.items():
                found[modality] = (rows.tolist(), matrix.astype(np.float32))
        return found

    # ------------------------------------------------------------------ after it

    def page(
        self,
        arranged: Arrangement,
        leads: Sequence[Fused],
        metadata_keys: Callable[[], Sequence[str]],
    ) -> Page:
        """One page of hits; `leads` are those of the bundles, in their final order."""
        query = arranged.query
        by_lead = {bundle.lead.id: bundle for bundle in arranged.bundles}
        least = query.min_score or 0.0
        bundles = [replace(by_lead[one.id], lead=one) for one in leads if one.score >= least]
        if query.sort:
            bundles = self._sorted(bundles, query, metadata_keys())
        groups: dict[int, list[Bundle]] = {}
        for bundle in bundles:
            key = bundle.place.source_id if query.group == "source" else bundle.lead.id
            groups.setdefault(key, []).append(bundle)
        ordered = list(groups.values())
        if query.diversity:
            ordered = self._diverse(arranged, ordered)
        chosen, rows = self._still_there(ordered, query)
        hits = tuple(_hit(rank, group, query, rows) for rank, group in enumerate(chosen, start=1))
        cursor = None
        if len(ordered) > len(chosen):
            now_shown = {*arranged.shown, *(group[0].lead.id for group in chosen)}
            shown = Shown(arranged.mark, tuple(sorted(now_shown)))
            cursor = cursor_of(query, self._library, shown)
        return Page(hits, cursor)

    def _still_there(
        self, ordered: Sequence[list[Bundle]], query: Query
    ) -> tuple[list[list[Bundle]], Rows]:
        """The page's groups and the rows of all their segments."""
        chosen = list(ordered[: query.limit])
        ids = [
            one.id
            for group in chosen
            for bundle in group[: query.best]
            for one in (bundle.lead, *bundle.evidence, *bundle.duplicates)
        ]
        rows = self._store.segments.with_sources(ids)
        # One deleted between the two looks into SQL is not replaced: the next page is.
        return [group for group in chosen if group[0].lead.id in rows], rows

    def _sorted(
        self, bundles: Sequence[Bundle], query: Query, metadata_keys: Sequence[str]
    ) -> list[Bundle]:
        """By the query's fields; what lacks a value comes last; equal ones by relevance."""
        ordered = list(bundles)
        ids = [bundle.lead.id for bundle in bundles]
        for key in reversed(query.sort):
            check_field(key.field, ["score", *known_fields(metadata_keys)], "sort field")
            if key.field == "score":
                values: Mapping[int, Any] = {b.lead.id: b.lead.score for b in bundles}
            else:
                is_column = key.field in FIELDS
                column = FIELDS[key.field].column if is_column else whole_value(key.field)
                values = self._store.segments.column_values(ids, column)
            ranked = [(_comparable(values.get(b.lead.id), last=key.descending), b) for b in ordered]
            with_value = [(value, b) for value, b in ranked if value is not None]
            with_value.sort(key=_value_of, reverse=key.descending)
            ordered = [b for _, b in with_value] + [b for value, b in ranked if value is None]
        return ordered

    def _diverse(self, arranged: Arrangement, groups: list[list[Bundle]]) -> list[list[Bundle]]:
        """Maximal marginal relevance (Carbonell and Goldstein, 1998), over the best groups.

        What earlier pages have shown counts as chosen already.
        """
        query = arranged.query
        pool = groups[: DIVERSE_POOL * query.limit]
        places = {group[0].lead.id: group[0].place for group in pool}
        shown = self._store.segments.candidates(arranged.shown)
        likeness = _Likeness(self._vectors(arranged.collection_id, places | shown))
        scores = np.array([group[0].lead.score for group in pool])
        relevance = (scores - scores.min()) / (float(np.ptp(scores)) or 1.0)
        nearest = np.zeros(len(pool))
        ids = [group[0].lead.id for group in pool]
        for segment in shown:
            nearest = np.maximum(nearest, likeness.of(segment, ids))
        left = list(range(len(pool)))
        order: list[int] = []
        while left and len(order) < query.limit:
            worth = (1 - query.diversity) * relevance[left] - query.diversity * nearest[left]
            best = left.pop(int(np.argmax(worth)))
            order.append(best)
            nearest = np.maximum(nearest, likeness.of(ids[best], ids))
        return [pool[i] for i in [*order, *left]] + groups[len(pool) :]


class _Likeness:
    """How alike segments are, 0..1: 0 for what is no more alike than any two of its kind."""

    def __init__(self, vectors: Mapping[Modality, tuple[list[int], Vectors]]) -> None:
        self._of: dict[int, tuple[Modality, int]] = {}
        self._matrix: dict[Modality, Vectors] = {}
        self._usual: dict[Modality, float] = {}
        for modality, (ids, matrix) in vectors.items():
            self._of |= {i: (modality, row) for row, i in enumerate(ids)}
            self._matrix[modality] = matrix
            count = len(ids)
            # The mean cosine of all pairs, from the length of the sum.
            length = float(np.square(matrix.sum(axis=0)).sum())
            self._usual[modality] = (length - count) / (count * (count - 1)) if count > 1 else 0.0

    def of(self, segment: int, others: Sequence[int]) -> np.ndarray[tuple[int], Any]:
        """Shape (len(others),); 0 for those of another modality or without a vector."""
        alike = np.zeros(len(others))
        if segment not in self._of:
            return alike
        modality, row = self._of[segment]
        matrix, usual = self._matrix[modality], min(self._usual[modality], 0.99)
        cosines = matrix @ matrix[row]
        for i, other in enumerate(others):
            found = self._of.get(other)
            if found is not None and found[0] is modality:
                alike[i] = max(0.0, (float(cosines[found[1]]) - usual) / (1 - usual))
        return alike


def _hit(rank: int, group: Sequence[Bundle], query: Query, rows: Rows) -> Hit:
    lead = group[0]
    segment, source = rows[lead.lead.id]
    return Hit(
        rank,
        lead.lead.score,
        lead.lead.scores,
        source,
        segment,
        evidence=_parts(lead.evidence, rows),
        segments=_parts([bundle.lead for bundle in group[: query.best]], rows)
        if query.group == "source"
        else (),
        duplicates=_parts(lead.duplicates, rows),
    )


def _parts(segments: Sequence[Fused], rows: Rows) -> tuple[HitPart, ...]:
    return tuple(
        HitPart(one.score, one.scores, rows[one.id][1], rows[one.id][0])
        for one in segments
        if one.id in rows
    )


def _value_of(pair: tuple[tuple[int, Any], Bundle]) -> tuple[int, Any]:
    return pair[0]


def _comparable(value: Any, *, last: bool) -> tuple[int, Any] | None:
    """Something that sorts whatever the type; None for no value.

    Of a list the first value in the wanted order counts; numbers come before texts.
    """
    if isinstance(value, list):
        each = [found for one in value if (found := _comparable(one, last=last)) is not None]
        return (max(each) if last else min(each)) if each else None
    if isinstance(value, bool | int | float):
        return (0, float(value))
    if isinstance(value, str):
        return (1, value)
    # Moments of the library's own fields; objects have no order.
    return (2, value) if value is not None and not isinstance(value, dict) else None
