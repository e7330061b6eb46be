"""Full text by PostgreSQL's tsvector, which we fill ourselves, under a GIN index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from mmsearch.stores.lexical.index import CandidateWords, SqlLexicalIndex, candidate_words
from mmsearch.stores.lexical.scoring import WeightedUnit
from mmsearch.types import Ids, Modality, WordUnit

_FROM = """
    FROM segment_words
    WHERE collection_id = :collection AND words @@ CAST(:expression AS tsquery)
"""


class PostgresqlLexicalIndex(SqlLexicalIndex):
    """See the module."""

    def _document_frequencies(
        self, connection: Connection, collection_id: int, units: Sequence[WordUnit], most: int
    ) -> list[int]:
        counts = ", ".join(
            f"(SELECT count(*) FROM (SELECT 1 {_FROM.replace(':expression', f':unit{n}')} "
            f"LIMIT :most) AS matches{n})"
            for n in range(len(units))
        )
        values: dict[str, Any] = {f"unit{n}": _phrase(unit) for n, unit in enumerate(units)}
        values |= {"collection": collection_id, "most": most}
        return list(connection.execute(text(f"SELECT {counts}"), values).one())

    def _holding(self, connection: Connection, collection_id: int, unit: WordUnit) -> list[int]:
        query = text(f"SELECT segment_id {_FROM}")
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
        values: dict[str, Any] = {
            "expression": " | ".join(_phrase(driver.unit) for driver in drivers),
            "collection": collection_id,
            "most": 2 * k,
            "budget": budget,
        }
        restrict = ""
        if allowed is not None:
            values["allowed"] = [int(i) for some in allowed.values() for i in some]
            restrict = "AND segment_id = ANY(:allowed)"
        # ts_rank ignores how rare a word is: order by the coverage of the query first.
        gains = []
        for n, driver in enumerate(drivers):
            values |= {f"unit{n}": _phrase(driver.unit), f"gain{n}": driver.gain}
            gains.append(
                f"CASE WHEN words @@ CAST(:unit{n} AS tsquery) "
                f"THEN CAST(:gain{n} AS float) ELSE 0 END"
            )
        order = f"{' + '.join(gains)} + 0.1 * ts_rank(words, CAST(:expression AS tsquery), 1)"
        examined = f"SELECT segment_id AS id, modality, words {_FROM} {restrict} LIMIT :budget"
        query = text(f"""
            SELECT id, modality, words FROM (
                SELECT id, modality, words, row_number() OVER (
                    PARTITION BY modality ORDER BY {order} DESC, id
                ) AS place FROM ({examined}) AS examined
            ) AS ranked WHERE place <= :most
        """)
        return candidate_words(connection, query, values)


def _phrase(unit: WordUnit) -> str:
    """A tsquery. Tokens hold letters and digits only, so nothing in them is syntax."""
    if unit.alternatives:
        return f"({' | '.join(_phrase(one) for one in unit.each())})"
    lexemes = [f"'{token}'" for token in unit.tokens]
    if unit.prefix:
        lexemes[-1] += ":*"
    return f"({' <-> '.join(lexemes)})"
