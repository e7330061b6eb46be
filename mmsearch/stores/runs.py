"""Runs: the progress of indexing, with the outcome of every file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update

from mmsearch.errors import LeaseLostError, NotFoundError
from mmsearch.stores.database import Database, now
from mmsearch.stores.tables import RunItemRow, RunRow


@dataclass(frozen=True, slots=True)
class Run:
    """An indexing run, or a job of the queue."""

    id: int
    collection_id: int
    kind: str
    state: str
    started_at: datetime
    heartbeat_at: datetime
    finished_at: datetime | None
    counts: Mapping[str, Any]
    error: str | None
    task: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    attempts: int = 0
    max_attempts: int = 0
    """0: not a job of the queue."""
    not_before: datetime | None = None
    lease_until: datetime | None = None
    worker: str | None = None
    wanted: str | None = None
    claimed_at: datetime | None = None
    """The beginning of the attempt."""

    @property
    def done(self) -> int:
        """Files that have an outcome."""
        names = ("indexed", "unchanged", "moved", "failed")
        return sum(int(self.counts.get(name, 0)) for name in names)

    @property
    def total(self) -> int | None:
        """All files, if their number is known."""
        if self.state == "done":
            return self.done
        total = self.task.get("total")
        return total if isinstance(total, int) else None

    @property
    def rate(self) -> float | None:
        """Files per second of the attempt, up to its last heartbeat."""
        seconds = (self.heartbeat_at - (self.claimed_at or self.started_at)).total_seconds()
        return round(self.done / seconds, 2) if self.done and seconds > 0 else None


@dataclass(frozen=True, slots=True)
class RunItem:
    """What a run did with one file."""

    path: str
    outcome: str
    code: str | None = None
    reason: str | None = None


def run_to_json(run: Run) -> dict[str, Any]:
    """The JSON of the service and of `--json`, without the files."""
    return {
        "id": run.id,
        "kind": run.kind,
        "state": run.state,
        "started_at": run.started_at,
        "heartbeat_at": run.heartbeat_at,
        "finished_at": run.finished_at,
        "counts": dict(run.counts),
        "error": run.error,
        "progress": {"done": run.done, "total": run.total, "rate": run.rate},
        "priority": run.priority,
        "attempts": run.attempts,
        "max_attempts": run.max_attempts,
        "retry_at": run.not_before,
        "worker": run.worker,
        "wanted": run.wanted,
    }


class RunStore:
    """The tables `runs` and `run_items`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, collection_id: int, kind: str, state: str = "running") -> int:
        """Record a run in the foreground; returns its id."""
        with self._database.write() as connection:
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

    def interrupt_unfinished(self) -> int:
        """Mark runs that never ended. Only for a holder of the write lock: then none is running.

        Jobs are not marked: their leases expire.
        """
        with self._database.write() as connection:
            result = connection.execute(
                update(RunRow)
                .where(RunRow.state == "running", RunRow.max_attempts == 0)
                .values(state="interrupted", finished_at=now())
            )
            return int(result.rowcount)

    def update(
        self,
        run_id: int,
        *,
        counts: Mapping[str, Any],
        items: Sequence[RunItem] = (),
        state: str | None = None,
        error: str | None = None,
        lease: str | None = None,
    ) -> None:
        """Heartbeat, progress and outcomes. A `state` other than running or queued ends the run.

        With `lease`, LeaseLostError unless the job is held by it.
        """
        values: dict[str, Any] = {"counts": dict(counts), "heartbeat_at": now(), "error": error}
        if state is not None:
            values["state"] = state
            values["finished_at"] = None if state in {"running", "queued"} else now()
        with self._database.write() as connection:
            statement = update(RunRow).where(RunRow.id == run_id)
            if lease is not None:
                statement = statement.where(RunRow.lease == lease)
            if connection.execute(statement.values(**values)).rowcount != 1 and lease is not None:
                raise LeaseLostError(run_id)
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

    def get(self, run_id: int) -> Run:
        """The run or job with this id. NotFoundError."""
        with self._database.read() as connection:
            row = connection.execute(select(RunRow).where(RunRow.id == run_id)).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no job {run_id}", param="id")
        return to_run(row)

    def items(self, run_id: int, limit: int = 1000) -> list[RunItem]:
        """The outcomes of a run's files, in order."""
        query = (
            select(RunItemRow)
            .where(RunItemRow.run_id == run_id)
            .order_by(RunItemRow.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [
                RunItem(row.path, row.outcome, row.code, row.reason)
                for row in connection.execute(query)
            ]


def to_run(row: Row[Any]) -> Run:
    """A row of runs."""
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
        row.task,
        row.priority,
        row.attempts,
        row.max_attempts,
        row.not_before,
        row.lease_until,
        row.worker,
        row.wanted,
        row.claimed_at,
    )
