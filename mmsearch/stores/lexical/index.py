"""Full text in the library's own database: what both dialects share, and which is which."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, func, select

from mmsearch.stores.lexical.scoring import Weighed, rank, weigh
from mmsearch.stores.lexical.seams import Crossings, crossings
from mmsearch.stores.rows import chunks
from mmsearch.stores.tables import SegmentWordsRow
from mmsearch.types import Ids, LexicalAnswer, LexicalRanking, Modality, WordUnit

MAX_UNITS = 128
"""Different units of one query; a whole page as a query is looked for by its first words."""

LOOKED_AT = (2_000, 0.05, 20_000)
"""How many matches are looked at: this share of the segments, at least and at most so many.
What is found by the query's rarest words comes first; those that are everywhere only order it."""

FEW = 20_000
"""The sizes of collections larger than this are asked for anew only now and then."""

KEPT_SECONDS = 10.0


class SqlLexicalIndex(ABC):
    """A `LexicalIndex` over the table `segment_words`. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sizes: dict[int, tuple[float, dict[str, tuple[int, float]]]] = {}

    def search(
        self,
        collection_id: int,
        units: Sequence[WordUnit],
        k: int,
        *,
        allowed: Mapping[Modality, Ids] | None = None,
    ) -> LexicalAnswer:
        units = list(dict.fromkeys(units))[:MAX_UNITS]
        if not any(unit.weight > 0 for unit in units):
            return LexicalAnswer({}, 0.0)
        with self._engine.connect() as connection:
            totals = self._totals(connection, collection_id)
            total = sum(count for count, _ in totals.values())
            least, share, most = LOOKED_AT
            budget = min(max(least, int(share * total)), most)
            counts = [self._count(connection, collection_id, u, budget + 1) for u in units]
            crossed = self._crossing(connection, collection_id, units, allowed)
            weighed = weigh(units, counts, total)
            wanted = [one for one in weighed if one.unit.weight > 0]
            mass = sum(one.gain for one in wanted)
            there = [one for one in wanted if one.count or one.unit in crossed.units]
            known = sum(one.gain for one in there) / mass if mass else 0.0
            drivers = _drivers([one for one in wanted if one.count], budget)
            some: dict[Modality, list[int]] = {}
            if drivers:
                some = self._candidates(connection, collection_id, drivers, k, budget, allowed)
            rankings: dict[Modality, LexicalRanking] = {}
            for modality in some.keys() | crossed.words.keys():
                words = _words(connection, some.get(modality, ()))
                words |= crossed.words.get(modality, {})
                mean = totals[modality.value][1]
                rankings[modality] = rank(words, weighed, mean, k)
        return LexicalAnswer(rankings, known)

    def holding(self, collection_id: int, unit: WordUnit) -> Ids:
        with self._engine.connect() as connection:
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
    ) -> Crossings:
        def holding(unit: WordUnit) -> list[int]:
            return self._holding(connection, collection_id, unit)

        return crossings(connection, holding, units, allowed)

    def problems(self) -> list[str]:
        """Where the index and the words in the table differ."""
        return []

    def _totals(self, connection: Connection, collection_id: int) -> dict[str, tuple[int, float]]:
        """By modality: segments that have words, and their mean length."""
        now = time.monotonic()
        counted, sizes = self._sizes.get(collection_id, (0.0, {}))
        if now - counted < KEPT_SECONDS and sum(n for n, _ in sizes.values()) > FEW:
            return sizes
        rows = connection.execute(
            select(SegmentWordsRow.modality, func.count(), func.avg(SegmentWordsRow.length))
            .where(SegmentWordsRow.collection_id == collection_id)
            .group_by(SegmentWordsRow.modality)
        )
        sizes = {row[0]: (row[1], float(row[2])) for row in rows}
        self._sizes[collection_id] = now, sizes
        return sizes

    @abstractmethod
    def _count(self, connection: Connection, collection_id: int, unit: WordUnit, most: int) -> int:
        """How many segments hold a unit; counting ends at `most`."""

    @abstractmethod
    def _holding(self, connection: Connection, collection_id: int, unit: WordUnit) -> list[int]:
        """All segments that hold a unit."""

    @abstractmethod
    def _candidates(
        self,
        connection: Connection,
        collection_id: int,
        drivers: Sequence[Weighed],
        k: int,
        budget: int,
        allowed: Mapping[Modality, Ids] | None,
    ) -> dict[Modality, list[int]]:
        """At least the best k of each modality, by the database's own reckoning.

        No more than `budget` matches are looked at.
        """


def lexical_index(engine: Engine) -> SqlLexicalIndex:
    """The full text of a database that `mmsearch.stores.migrate` has brought up to date."""
    from mmsearch.stores.lexical.postgresql import PostgresqlLexicalIndex
    from mmsearch.stores.lexical.sqlite import SqliteLexicalIndex

    if engine.dialect.name == "postgresql":
        return PostgresqlLexicalIndex(engine)
    return SqliteLexicalIndex(engine)


def _drivers(found: Sequence[Weighed], budget: int) -> list[Weighed]:
    """The rarest units, as many as find no more than `budget` segments, but at least one."""
    drivers: list[Weighed] = []
    matches = 0
    for one in found:
        matches += one.count
        if drivers and matches > budget:
            break
        drivers.append(one)
    return drivers


def by_modality(rows: Any) -> dict[Modality, list[int]]:
    """Rows of (id, modality)."""
    found: dict[Modality, list[int]] = {}
    for segment_id, modality in rows:
        found.setdefault(Modality(modality), []).append(segment_id)
    return found


def _words(connection: Connection, ids: Sequence[int]) -> dict[int, Sequence[str]]:
    found: dict[int, Sequence[str]] = {}
    for chunk in chunks(ids):
        rows = connection.execute(
            select(SegmentWordsRow.segment_id, SegmentWordsRow.words).where(
                SegmentWordsRow.segment_id.in_(chunk)
            )
        )
        found |= {row[0]: row[1] for row in rows}
    return found
