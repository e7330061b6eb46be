"""Full text by SQLite's FTS5: an external-content table that triggers keep in step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson
from sqlalchemy import Connection, text
from sqlalchemy.exc import DatabaseError

from mmsearch.stores.lexical.index import CandidateWords, SqlLexicalIndex, candidate_words
from mmsearch.stores.lexical.scoring import WeightedUnit
from mmsearch.types import Ids, Modality, WordUnit

OVERFETCH = 2
"""FTS5 scores phrases and common words differently: fetch more candidates than requested."""

# CROSS JOIN: first the words, then what they belong to. The index spares reading the texts.
_FROM = """
    FROM segment_fts CROSS JOIN segment_words AS w INDEXED BY ix_segment_words_segment_id
        ON w.segment_id = segment_fts.rowid
    WHERE segment_fts MATCH :expression AND w.collection_id = :collection
"""


class SqliteLexicalIndex(SqlLexicalIndex):
    """See the module."""

    def problems(self) -> list[str]:
        # A write, though it changes nothing: FTS5 takes its commands so.
        check = "INSERT INTO segment_fts (segment_fts, rank) VALUES ('integrity-check', 1)"
        with self._engine.connect().execution_options(mmsearch_write=True) as connection:
            try:
                connection.execute(text(check))
            except DatabaseError:
                return ["full text differs from the segments' words (mmsearch reindex cuts them)"]
            finally:
                connection.rollback()
        return []

    def _document_frequencies(
        self, connection: Connection, collection_id: int, units: Sequence[WordUnit], most: int
    ) -> list[int]:
        counts = ", ".join(
            f"(SELECT count(*) FROM (SELECT 1 {_FROM.replace(':expression', f':unit{n}')} "
            "LIMIT :most))"
            for n in range(len(units))
        )
        values: dict[str, object] = {f"unit{n}": _phrase(unit) for n, unit in enumerate(units)}
        values |= {"collection": collection_id, "most": most}
        return list(connection.execute(text(f"SELECT {counts}"), values).one())

    def _holding(self, connection: Connection, collection_id: int, unit: WordUnit) -> list[int]:
        query = text(f"SELECT w.segment_id {_FROM}")
        values = {"expression": _phrase(unit), "collection": collection_id}
        return list(connection.scalars(query, values))

    def _candidates(
        self,
        connection: Connection,
        collection_id: int,
        drivers: Sequence[WeightedUnit],
        k: int,
        budget: int,
        allowed: Mapping[Modality, Ids] | None,
    ) -> CandidateWords:
        values = {
            "expression": " OR ".join(_phrase(driver.unit) for driver in drivers),
            "collection": collection_id,
            "most": OVERFETCH * k,
            "budget": budget,
        }
        restrict = ""
        if allowed is not None:
            ids = [int(i) for some in allowed.values() for i in some]
            values["allowed"] = orjson.dumps(ids).decode()
            restrict = "AND w.segment_id IN (SELECT value FROM json_each(:allowed))"
        # bm25 counts every match of a word before it scores the first one: where one word is
        # almost everywhere, that would take seconds and tell nothing.
        score = "0" if drivers[0].count > budget else "segment_fts.rank"
        examined = f"""
            SELECT w.segment_id AS id, w.modality AS modality, {score} AS score
            {_FROM} {restrict} LIMIT :budget
        """
        query = text(f"""
            SELECT ranked.id, ranked.modality, segment_words.words FROM (
                SELECT id, modality, row_number() OVER (
                    PARTITION BY modality ORDER BY score, id
                ) AS place FROM ({examined})
            ) AS ranked CROSS JOIN segment_words ON segment_words.segment_id = ranked.id
            WHERE ranked.place <= :most
        """)
        return candidate_words(connection, query, values)


def _phrase(unit: WordUnit) -> str:
    """An FTS5 phrase. Tokens hold letters and digits only, so nothing in them is syntax."""
    if unit.alternatives:
        return f"({' OR '.join(_phrase(one) for one in unit.each())})"
    return f'"{" ".join(unit.tokens)}"' + (" *" if unit.prefix else "")
