"""Full text in the library's own database: what both dialects share, and which is which."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, func, select

from mmsearch.stores.lexical.scoring import Weighed, rank, weigh
from mmsearch.stores.rows import chunks
from mmsearch.stores.tables import SegmentWordsRow
from mmsearch.types import Ids, LexicalAnswer, LexicalRanking, Modality, WordUnit

MAX_UNITS = 128
"""Different units of one query; a whole page as a query is looked for by its first words."""

COMMON = 0.1
"""A unit that more than this share of the segments hold finds nothing on its own."""

FEW = 2_000
"""... unless they are fewer than this: then it costs nothing to look at all of them."""


class SqlLexicalIndex(ABC):
    """A `LexicalIndex` over the table `segment_words`. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

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
            common = max(FEW, int(COMMON * total))
            counts = [self._count(connection, collection_id, u, common + 1) for u in units]
            weighed = weigh(units, counts, total)
            wanted = [one for one in weighed if one.unit.weight > 0]
            mass = sum(one.gain for one in wanted)
            known = sum(one.gain for one in wanted if one.count) / mass if mass else 0.0
            found = [one for one in wanted if one.count]
            # Words that are everywhere order what rarer ones find; alone they find something.
            drivers = [one for one in found if one.count <= common] or found
            rankings: dict[Modality, LexicalRanking] = {}
            if drivers:
                some = self._candidates(connection, collection_id, drivers, k, allowed)
                for modality, ids in some.items():
                    words = _words(connection, ids)
                    mean = totals[modality.value][1]
                    rankings[modality] = rank(words, weighed, mean, k)
        return LexicalAnswer(rankings, known)

    def holding(self, collection_id: int, unit: WordUnit) -> Ids:
        with self._engine.connect() as connection:
            return np.sort(np.fromiter(self._holding(connection, collection_id, unit), np.int64))

    def _totals(self, connection: Connection, collection_id: int) -> dict[str, tuple[int, float]]:
        """By modality: segments that have words, and their mean length."""
        rows = connection.execute(
            select(SegmentWordsRow.modality, func.count(), func.avg(SegmentWordsRow.length))
            .where(SegmentWordsRow.collection_id == collection_id)
            .group_by(SegmentWordsRow.modality)
        )
        return {row[0]: (row[1], float(row[2])) for row in rows}

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
        allowed: Mapping[Modality, Ids] | None,
    ) -> dict[Modality, list[int]]:
        """At least the best k of each modality, by the database's own reckoning."""


def lexical_index(engine: Engine) -> SqlLexicalIndex:
    """The full text of a database that `mmsearch.stores.migrate` has brought up to date."""
    from mmsearch.stores.lexical.postgresql import PostgresqlLexicalIndex
    from mmsearch.stores.lexical.sqlite import SqliteLexicalIndex

    if engine.dialect.name == "postgresql":
        return PostgresqlLexicalIndex(engine)
    return SqliteLexicalIndex(engine)


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
