"""Runs: what indexing is doing and has done, with the outcome of every file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from mmsearch.errors import NotFoundError
from mmsearch.stores.database import Database, now
from mmsearch.stores.tables import RunItemRow, RunRow


@dataclass(frozen=True, slots=True)
class Run:
    """One indexing run or upload job."""

    id: int
    collection_id: int
    kind: str
    state: str
    started_at: datetime
    heartbeat_at: datetime
    finished_at: datetime | None
    counts: Mapping[str, Any]
    error: str | None


@dataclass(frozen=True, slots=True)
class RunItem:
    """What a run did with one file."""

    path: str
    outcome: str
    code: str | None = None
    reason: str | None = None


class RunStore(Database):
    """The part of the store that runs are recorded in."""

    def start_run(self, collection_id: int, kind: str, state: str = "running") -> int:
        with self._write() as connection:
            new = connection.scalar(
                insert(RunRow)
                .values(
                    collection_id=collection_id,
                    kind=kind,
                    state=state,
                    started_at=now(),
                    heartbeat_at=now(),
                    counts={},
                )
                .returning(RunRow.id)
            )
            assert new is not None
            return int(new)

    def interrupt_dead_runs(self) -> int:
        """Mark runs that never ended. Only for a holder of the write lock: then none is alive."""
        with self._write() as connection:
            result = connection.execute(
                update(RunRow)
                .where(RunRow.state == "running")
                .values(state="interrupted", finished_at=now())
            )
            return int(result.rowcount)

    def update_run(
        self,
        run_id: int,
        *,
        counts: Mapping[str, Any],
        items: Sequence[RunItem] = (),
        state: str | None = None,
        error: str | None = None,
    ) -> None:
        """Heartbeat, progress and outcomes; a `state` other than running or queued ends it."""
        values: dict[str, Any] = {"counts": dict(counts), "heartbeat_at": now(), "error": error}
        if state is not None:
            values["state"] = state
            values["finished_at"] = None if state in {"running", "queued"} else now()
        with self._write() as connection:
            connection.execute(update(RunRow).where(RunRow.id == run_id).values(**values))
            if items:
                connection.execute(
                    insert(RunItemRow),
                    [
                        {
                            "run_id": run_id,
                            "path": item.path,
                            "outcome": item.outcome,
                            "code": item.code,
                            "reason": item.reason,
                        }
                        for item in items
                    ],
                )

    def run(self, run_id: int) -> Run:
        with self._read() as connection:
            row = connection.execute(select(RunRow).where(RunRow.id == run_id)).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no job {run_id}", param="id")
        return Run(
            row.id,
            row.collection_id,
            row.kind,
            row.state,
            row.started_at,
            row.heartbeat_at,
            row.finished_at,
            row.counts,
            row.error,
        )

    def run_items(self, run_id: int, limit: int = 1000) -> list[RunItem]:
        query = (
            select(RunItemRow)
            .where(RunItemRow.run_id == run_id)
            .order_by(RunItemRow.id)
            .limit(limit)
        )
        with self._read() as connection:
            return [
                RunItem(row.path, row.outcome, row.code, row.reason)
                for row in connection.execute(query)
            ]
