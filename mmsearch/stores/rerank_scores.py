"""Saved rerank scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, select

from mmsearch.stores.database import Database, now
from mmsearch.stores.rows import chunks
from mmsearch.stores.tables import RerankScoreRow
from mmsearch.types import RerankScore

MAX_SAVED = 200_000
"""Scores that stay when the oldest are deleted."""

_CHECK_EVERY = 1000


class RerankScoreStore:
    """The table `rerank_scores`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._until_check = 0

    def get(self, keys: Sequence[str]) -> dict[str, RerankScore]:
        """By key, those that were scored."""
        scores: dict[str, RerankScore] = {}
        with self._database.read() as connection:
            for chunk in chunks(keys):
                rows = connection.execute(
                    select(RerankScoreRow).where(RerankScoreRow.key.in_(chunk))
                )
                scores |= {row.key: RerankScore(row.score, row.reason) for row in rows}
        return scores

    def save(self, scores: Mapping[str, RerankScore], *, limit: int = MAX_SAVED) -> None:
        """Save scores, in place of earlier ones (a score may have got a reason).

        Every thousand scores, all but the newest `limit` are deleted.
        """
        if not scores:
            return
        created = now()
        values = [
            {"key": key, "score": score.score, "reason": score.reason, "created_at": created}
            for key, score in sorted(scores.items())
        ]
        with self._database.write() as connection:
            for chunk in chunks(values):
                new = self._database.dialect.insert(RerankScoreRow).values(list(chunk))
                connection.execute(
                    new.on_conflict_do_update(
                        index_elements=["key"],
                        set_={
                            name: new.excluded[name] for name in ("score", "reason", "created_at")
                        },
                    )
                )
        self._until_check -= len(values)
        if self._until_check <= 0:
            self._until_check = _CHECK_EVERY
            self._delete_oldest(limit)

    def _delete_oldest(self, limit: int) -> None:
        """Scoring again is cheaper than a table that grows without end."""
        with self._database.write() as connection:
            newest_deleted = connection.scalar(
                select(RerankScoreRow.created_at)
                .order_by(RerankScoreRow.created_at.desc())
                .offset(limit)
                .limit(1)
            )
            if newest_deleted is not None:
                connection.execute(
                    delete(RerankScoreRow).where(RerankScoreRow.created_at <= newest_deleted)
                )
