"""Full text by SQLite's FTS5: an external-content table that triggers keep in step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson
from sqlalchemy import Connection, text

from mmsearch.stores.lexical.index import SqlLexicalIndex, by_modality
from mmsearch.stores.lexical.scoring import Weighed
from mmsearch.types import Ids, Modality, WordUnit

SPARE = 2
"""FTS5 counts phrases and common words otherwise than we do: look at some more than asked."""

_FROM = """
    FROM segment_fts JOIN segment_words AS w ON w.segment_id = segment_fts.rowid
    WHERE segment_fts MATCH :expression AND w.collection_id = :collection
"""


class SqliteLexicalIndex(SqlLexicalIndex):
    """See the module."""

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
        allowed: Mapping[Modality, Ids] | None,
    ) -> dict[Modality, list[int]]:
        values = {
            "expression": " OR ".join(_phrase(one.unit) for one in drivers),
            "collection": collection_id,
            "most": SPARE * k,
        }
        restrict = ""
        if allowed is not None:
            ids = [int(i) for some in allowed.values() for i in some]
            values["allowed"] = orjson.dumps(ids).decode()
            restrict = "AND w.segment_id IN (SELECT value FROM json_each(:allowed))"
        ranked = f"""
            SELECT w.segment_id AS id, w.modality AS modality, row_number() OVER (
                PARTITION BY w.modality ORDER BY segment_fts.rank, w.segment_id
            ) AS place {_FROM} {restrict}
        """
        query = text(f"SELECT id, modality FROM ({ranked}) WHERE place <= :most")
        return by_modality(connection.execute(query, values))


def _phrase(unit: WordUnit) -> str:
    """An FTS5 phrase. Tokens hold letters and digits only, so nothing in them is syntax."""
    return f'"{" ".join(unit.tokens)}"' + (" *" if unit.prefix else "")
