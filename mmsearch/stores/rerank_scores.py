"""What reranking needs of the database: saved scores, and what stands around a segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased

from mmsearch.stores.database import Database, now
from mmsearch.stores.rows import chunks
from mmsearch.stores.tables import RerankScoreRow, SegmentRow
from mmsearch.types import RerankScore

KEPT = 200_000
"""Saved scores; the oldest are deleted when there are a tenth more."""

_LOOK_EVERY = 1000


class RerankScoreStore(Database):
    """The part of the store that saves rerank scores."""

    _until_look = 0

    def rerank_scores(self, keys: Sequence[str]) -> dict[str, RerankScore]:
        """Those of the keys that have been scored."""
        found: dict[str, RerankScore] = {}
        with self._read() as connection:
            for chunk in chunks(keys):
                rows = connection.execute(
                    select(RerankScoreRow).where(RerankScoreRow.key.in_(chunk))
                )
                found |= {row.key: RerankScore(row.score, row.reason) for row in rows}
        return found

    def save_rerank_scores(self, scored: Mapping[str, RerankScore], *, kept: int = KEPT) -> None:
        """Save rerank scores; one that is there is replaced (it may have got a reason)."""
        if not scored:
            return
        made = now()
        values = [
            {"key": key, "score": one.score, "reason": one.reason, "created_at": made}
            for key, one in sorted(scored.items())
        ]
        insert = (sqlite if self.engine.dialect.name == "sqlite" else postgresql).insert
        with self._write() as connection:
            for chunk in chunks(values):
                new = insert(RerankScoreRow).values(list(chunk))
                connection.execute(
                    new.on_conflict_do_update(
                        index_elements=["key"],
                        set_={
                            name: new.excluded[name] for name in ("score", "reason", "created_at")
                        },
                    )
                )
        self._until_look -= len(values)
        if self._until_look <= 0:
            self._until_look = _LOOK_EVERY
            self._delete_rerank_scores(kept)

    def _delete_rerank_scores(self, kept: int) -> None:
        """Delete the oldest. Scoring again costs little; a table that grows for ever, much."""
        with self._write() as connection:
            oldest_kept = connection.scalar(
                select(RerankScoreRow.created_at)
                .order_by(RerankScoreRow.created_at.desc())
                .offset(kept)
                .limit(1)
            )
            if oldest_kept is not None:
                connection.execute(
                    delete(RerankScoreRow).where(RerankScoreRow.created_at <= oldest_kept)
                )

    def neighbours(self, ids: Sequence[int]) -> dict[int, tuple[str | None, str | None]]:
        """The texts of the segments before and after, of the same source and modality."""
        here, near = aliased(SegmentRow), aliased(SegmentRow)
        found: dict[int, list[str | None]] = {}
        with self._read() as connection:
            for chunk in chunks(ids):
                rows = connection.execute(
                    select(here.id, near.ordinal - here.ordinal, near.text)
                    .join(
                        near,
                        (near.source_id == here.source_id)
                        & (near.modality == here.modality)
                        & near.ordinal.in_([here.ordinal - 1, here.ordinal + 1]),
                    )
                    .where(here.id.in_(chunk))
                )
                for segment, step, text in rows:
                    found.setdefault(segment, [None, None])[0 if step < 0 else 1] = text
        return {segment: (pair[0], pair[1]) for segment, pair in found.items()}
