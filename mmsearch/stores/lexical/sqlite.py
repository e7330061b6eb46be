"""Full text by SQLite's FTS5: an external-content table that triggers keep in step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson
from sqlalchemy import Connection, text
from sqlalchemy.exc import DatabaseError

from mmsearch.stores.lexical.index import SqlLexicalIndex, by_modality
from mmsearch.stores.lexical.scoring import Weighed
from mmsearch.types import Ids, Modality, WordUnit

SPARE = 2
"""FTS5 counts phrases and common words otherwise than we do: look at some more than asked."""

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

    def _count(self, connection: Connection, collection_id: int, unit: WordUnit, most: int) -> int:
        query = text(f"SELECT count(*) FROM (SELECT 1 {_FROM} LIMIT :most)")
        return int(
            connection.scalar(
                query,
                {"expression": _phrase(unit), "collection": collection_id, "most": most},
            )
            or 0
        )

    def _holding(self, connection: Connection, collection_id: int, unit: WordUnit) -> list[int]:
        query = text(f"SELECT w.segment_id {_FROM}")
        values = {"expression": _phrase(unit), "collection": collection_id}
        return list(connection.scalars(query, values))

    def _candidates(
        self,
        connection: Connection,
        collection_id: int,
        drivers: Sequence[Weighed],
        k: int,
        budget: int,
        allowed: Mapping[Modality, Ids] | None,
    ) -> dict[Modality, list[int]]:
        values = {
            "expression": " OR ".join(_phrase(one.unit) for one in drivers),
            "collection": collection_id,
            "most": SPARE * k,
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
        looked_at = f"""
            SELECT w.segment_id AS id, w.modality AS modality, {score} AS score
            {_FROM} {restrict} LIMIT :budget
        """
        query = text(f"""
            SELECT id, modality FROM (
                SELECT id, modality, row_number() OVER (
                    PARTITION BY modality ORDER BY score, id
                ) AS place FROM ({looked_at})
            ) WHERE place <= :most
        """)
        return by_modality(connection.execute(query, values))


def _phrase(unit: WordUnit) -> str:
    """An FTS5 phrase. Tokens hold letters and digits only, so nothing in them is syntax."""
    if unit.alternatives:
        return f"({' OR '.join(_phrase(one) for one in unit.each())})"
    return f'"{" ".join(unit.tokens)}"' + (" *" if unit.prefix else "")
