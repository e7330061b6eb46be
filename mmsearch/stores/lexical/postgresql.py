"""Full text by PostgreSQL's tsvector, which we fill ourselves, under a GIN index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from mmsearch.stores.lexical.index import SqlLexicalIndex, by_modality
from mmsearch.stores.lexical.scoring import Weighed
from mmsearch.types import Ids, Modality, WordUnit

_FROM = """
    FROM segment_words
    WHERE collection_id = :collection AND words @@ CAST(:expression AS tsquery)
"""


class PostgresqlLexicalIndex(SqlLexicalIndex):
    """See the module."""

    def _count(self, connection: Connection, collection_id: int, unit: WordUnit, most: int) -> int:
        query = text(f"SELECT count(*) FROM (SELECT 1 {_FROM} LIMIT :most) AS found")
        return int(
            connection.scalar(
                query,
                {"expression": _phrase(unit), "collection": collection_id, "most": most},
            )
            or 0
        )

    def _holding(self, connection: Connection, collection_id: int, unit: WordUnit) -> list[int]:
        query = text(f"SELECT segment_id {_FROM}")
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
        values: dict[str, Any] = {
            "expression": " | ".join(_phrase(one.unit) for one in drivers),
            "collection": collection_id,
            "most": 2 * k,
            "budget": budget,
        }
        restrict = ""
        if allowed is not None:
            values["allowed"] = [int(i) for some in allowed.values() for i in some]
            restrict = "AND segment_id = ANY(:allowed)"
        # ts_rank knows nothing of rarity: what counts first is how much of the query is there.
        gains = []
        for n, one in enumerate(drivers):
            values |= {f"unit{n}": _phrase(one.unit), f"gain{n}": one.gain}
            gains.append(
                f"CASE WHEN words @@ CAST(:unit{n} AS tsquery) "
                f"THEN CAST(:gain{n} AS float) ELSE 0 END"
            )
        order = f"{' + '.join(gains)} + 0.1 * ts_rank(words, CAST(:expression AS tsquery), 1)"
        looked_at = f"SELECT segment_id AS id, modality, words {_FROM} {restrict} LIMIT :budget"
        query = text(f"""
            SELECT id, modality FROM (
                SELECT id, modality, row_number() OVER (
                    PARTITION BY modality ORDER BY {order} DESC, id
                ) AS place FROM ({looked_at}) AS looked_at
            ) AS ranked WHERE place <= :most
        """)
        return by_modality(connection.execute(query, values))


def _phrase(unit: WordUnit) -> str:
    """A tsquery. Tokens hold letters and digits only, so nothing in them is syntax."""
    if unit.alternatives:
        return f"({' | '.join(_phrase(one) for one in unit.each())})"
    lexemes = [f"'{token}'" for token in unit.tokens]
    if unit.prefix:
        lexemes[-1] += ":*"
    return f"({' <-> '.join(lexemes)})"
