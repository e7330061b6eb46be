"""Full-text search in the library's own database: what both dialects share."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, Engine, TextClause, func, select

from mmsearch.stores.database import read
from mmsearch.stores.lexical.phrases import CrossingPhrases, crossing_phrases
from mmsearch.stores.lexical.scoring import WeightedUnit, rank, weigh
from mmsearch.stores.tables import SegmentWordsRow
from mmsearch.types import Ids, LexicalAnswer, Modality, WordUnit

MAX_UNITS = 128
"""Different units of one query. A whole page as a query is searched by its first words."""

BUDGET_SHARE, MIN_BUDGET, MAX_BUDGET = 0.05, 2_000, 20_000
"""The number of matches that are examined: this share of the segments, within these bounds.
Matches of the query's rarest words come first; words that are everywhere only order them."""

LARGE_COLLECTION = 20_000
TOTALS_SECONDS = 10.0
"""The totals of a collection larger than this are counted at most once in so many seconds."""

CandidateWords = dict[Modality, dict[int, Sequence[str]]]
"""By modality: segment id to its tokens."""


@dataclass(frozen=True, slots=True)
class LexicalTotals:
    """Sizes of one collection, as BM25 needs them."""

    segments: Mapping[Modality, int]
    """Segments that have words."""
    mean_lengths: Mapping[Modality, float]
    """Their mean length in tokens."""

    @property
    def total(self) -> int:
        return sum(self.segments.values())


class SqlLexicalIndex(ABC):
    """A `LexicalIndex` over the table `segment_words`. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._totals: dict[int, tuple[float, LexicalTotals]] = {}

    def search(
        self,
        collection_id: int,
        units: Sequence[WordUnit],
        k: int,
        *,
        allowed: Mapping[Modality, Ids] | None = None,
        totals: LexicalTotals | None = None,
    ) -> LexicalAnswer:
        """See `LexicalIndex.search`. Without `totals`, those of the collection are counted."""
        units = list(dict.fromkeys(units))[:MAX_UNITS]
        if not any(unit.weight > 0 for unit in units):
            return LexicalAnswer({}, 0.0)
        totals = totals or self.totals(collection_id)
        budget = min(max(MIN_BUDGET, int(BUDGET_SHARE * totals.total)), MAX_BUDGET)
        with read(self._engine) as connection:
            counts = self._document_frequencies(connection, collection_id, units, budget + 1)
            crossing = self._crossing(connection, collection_id, units, allowed)
            weighted = weigh(units, counts, totals.total)
            positive = [unit for unit in weighted if unit.unit.weight > 0]
            drivers = _drivers([unit for unit in positive if unit.count], budget)
            candidates: CandidateWords = {}
            if drivers:
                candidates = self._candidates(
                    connection, collection_id, drivers, k, budget, allowed
                )
        for modality, words in crossing.words.items():
            candidates.setdefault(modality, {}).update(words)
        rankings = {
            modality: rank(words, weighted, totals.mean_lengths.get(modality, 1.0), k)
            for modality, words in candidates.items()
        }
        mass = sum(unit.gain for unit in positive)
        present = [unit for unit in positive if unit.count or unit.unit in crossing.units]
        return LexicalAnswer(rankings, sum(unit.gain for unit in present) / mass if mass else 0.0)

    def holding(self, collection_id: int, unit: WordUnit) -> Ids:
        with read(self._engine) as connection:
            ids = set(self._holding(connection, collection_id, unit))
            for some in self._crossing(connection, collection_id, [unit]).words.values():
                ids |= some.keys()
        return np.sort(np.fromiter(ids, np.int64))

    def _crossing(
        self,
        connection: Connection,
        collection_id: int,
        units: Sequence[WordUnit],
        allowed: Mapping[Modality, Ids] | None = None,
    ) -> CrossingPhrases:
        def holding(unit: WordUnit) -> list[int]:
            return self._holding(connection, collection_id, unit)

        return crossing_phrases(connection, holding, units, allowed)

    def problems(self) -> list[str]:
        """Where the index and the words in the table differ."""
        return []

    def totals(self, collection_id: int) -> LexicalTotals:
        """The collection's sizes; of a large one as they were at most ten seconds ago."""
        now = time.monotonic()
        counted_at, totals = self._totals.get(collection_id, (0.0, LexicalTotals({}, {})))
        if now - counted_at < TOTALS_SECONDS and totals.total > LARGE_COLLECTION:
            return totals
        with read(self._engine) as connection:
            rows = connection.execute(
                select(SegmentWordsRow.modality, func.count(), func.avg(SegmentWordsRow.length))
                .where(SegmentWordsRow.collection_id == collection_id)
                .group_by(SegmentWordsRow.modality)
            ).all()
        totals = LexicalTotals(
            {Modality(row[0]): row[1] for row in rows},
            {Modality(row[0]): float(row[2]) for row in rows},
        )
        self._totals[collection_id] = now, totals
        return totals

    @abstractmethod
    def _document_frequencies(
        self, connection: Connection, collection_id: int, units: Sequence[WordUnit], most: int
    ) -> list[int]:
        """How many segments hold each unit, in one statement; counting ends at `most`."""

    @abstractmethod
    def _holding(self, connection: Connection, collection_id: int, unit: WordUnit) -> list[int]:
        """All segments that hold a unit."""

    @abstractmethod
    def _candidates(
        self,
        connection: Connection,
        collection_id: int,
        drivers: Sequence[WeightedUnit],
        k: int,
        budget: int,
        allowed: Mapping[Modality, Ids] | None,
    ) -> CandidateWords:
        """At least the best k of each modality by the database's own score, with their tokens.

        No more than `budget` matches are examined.
        """


def _drivers(present: Sequence[WeightedUnit], budget: int) -> list[WeightedUnit]:
    """The rarest units, as many as match no more than `budget` segments, but at least one."""
    drivers: list[WeightedUnit] = []
    matches = 0
    for unit in present:
        matches += unit.count
        if drivers and matches > budget:
            break
        drivers.append(unit)
    return drivers


def candidate_words(connection: Connection, query: TextClause, values: object) -> CandidateWords:
    """Run a statement that selects `id`, `modality` and `words`."""
    typed = query.columns(
        id=SegmentWordsRow.segment_id.type,
        modality=SegmentWordsRow.modality.type,
        words=SegmentWordsRow.words.type,
    )
    candidates: CandidateWords = {}
    for segment_id, modality, words in connection.execute(typed, values):  # type: ignore[call-overload]
        candidates.setdefault(Modality(modality), {})[segment_id] = words
    return candidates
