"""The job queue: runs that wait in SQL until a worker claims them.

A worker claims a job and holds it by a lease, which it renews while it works. If the lease
expires (the worker was killed, or its machine is gone), the next worker that looks for a job puts
this one back into the queue. Every claim has its own token. A worker whose token has been
replaced can change nothing: its calls raise LeaseLostError.

::

    queued -> running -> done | failed | cancelled
      ^  ^        |
      |  +--------+  lease expired, or an error that may pass: again, after a pause that doubles
      +-- paused <- (queued | running)
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, insert, or_, select, update

from mmsearch.errors import ConflictError, LeaseLostError, NotFoundError
from mmsearch.stores.database import Database, now
from mmsearch.stores.runs import Run, to_run
from mmsearch.stores.tables import RunRow

MAX_ATTEMPTS = 5
FINISHED = frozenset({"done", "failed", "cancelled", "interrupted"})
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0
"""Seconds before the second attempt, and at most before a later one."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that a worker holds until the lease expires."""

    job: Run
    lease: str
    """The token."""


def pause_after(attempts: int) -> float:
    """Seconds to wait after this many attempts: 2, 4, 8 ... at most 300."""
    return float(min(FIRST_PAUSE * 2.0 ** max(0, attempts - 1), LONGEST_PAUSE))


class JobStore:
    """The queue in the table `runs`: its rows with `max_attempts`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enqueue(
        self,
        collection_id: int,
        kind: str,
        task: Mapping[str, Any],
        *,
        priority: int = 0,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> int:
        """Add a job; returns its id. Higher priorities go first, then older jobs."""
        if max_attempts < 1:
            raise ValueError("a job needs at least one attempt")
        moment = now()
        with self._database.write() as connection:
            new = connection.scalar(
                insert(RunRow)
                .values(
                    collection_id=collection_id,
                    kind=kind,
                    state="queued",
                    started_at=moment,
                    heartbeat_at=moment,
                    counts={},
                    task=dict(task),
                    priority=priority,
                    max_attempts=max_attempts,
                )
                .returning(RunRow.id)
            )
            assert new is not None
            return int(new)

    def any_due(self) -> bool:
        """Whether `claim` would return a job. Takes no write lock: workers poll it."""
        moment = now()
        query = select(RunRow.id).where(or_(_ready(moment), _abandoned(moment))).limit(1)
        with self._database.read() as connection:
            return connection.scalar(query) is not None

    def claim(self, worker: str, seconds: float) -> Claim | None:
        """The next job, with a lease of `seconds`; None if no job is due."""
        if not self.any_due():
            return None
        moment, lease = now(), uuid.uuid4().hex
        with self._database.write() as connection:
            self._requeue_abandoned(connection, moment)
            job_id = connection.scalar(
                select(RunRow.id)
                .where(_ready(moment))
                .order_by(RunRow.priority.desc(), RunRow.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            if job_id is None:
                return None
            row = connection.execute(
                update(RunRow)
                .where(RunRow.id == job_id, RunRow.state == "queued")
                .values(
                    state="running",
                    attempts=RunRow.attempts + 1,
                    lease=lease,
                    lease_until=moment + timedelta(seconds=seconds),
                    worker=worker,
                    wanted=None,
                    not_before=None,
                    claimed_at=moment,
                    heartbeat_at=moment,
                    error=None,
                )
                .returning(RunRow)
            ).one_or_none()
        return None if row is None else Claim(to_run(row), lease)

    def renew(self, claim: Claim, seconds: float) -> str | None:
        """Extend the lease; returns "cancel" or "pause" if that was requested. LeaseLostError."""
        moment = now()
        with self._database.write() as connection:
            row = connection.execute(
                update(RunRow)
                .where(*_held(claim))
                .values(lease_until=moment + timedelta(seconds=seconds), heartbeat_at=moment)
                .returning(RunRow.wanted)
            ).one_or_none()
        if row is None:
            raise LeaseLostError(claim.job.id)
        return None if row.wanted is None else str(row.wanted)

    def finish(self, claim: Claim, state: str, error: str | None = None) -> None:
        """End a job, or pause it (`state` "paused"). LeaseLostError."""
        self._release(claim, state=state, error=error)

    def retry(self, claim: Claim, error: str | None = None, *, counted: bool = True) -> bool:
        """Queue a job again, after a pause; False if it has failed with its last attempt.

        Not `counted`: the worker stops before the job is done, which is no attempt.
        LeaseLostError.
        """
        attempts = claim.job.attempts
        if counted and attempts >= claim.job.max_attempts:
            self._release(claim, state="failed", error=error)
            return False
        later = now() + timedelta(seconds=pause_after(attempts)) if counted else None
        self._release(
            claim,
            state="queued",
            error=error,
            not_before=later,
            attempts=attempts if counted else attempts - 1,
        )
        return True

    def _release(self, claim: Claim, **values: Any) -> None:
        ended = values["state"] in FINISHED
        with self._database.write() as connection:
            result = connection.execute(
                update(RunRow)
                .where(*_held(claim))
                .values(
                    lease=None,
                    lease_until=None,
                    wanted=None,
                    heartbeat_at=now(),
                    finished_at=now() if ended else None,
                    **values,
                )
            )
            if result.rowcount != 1:
                raise LeaseLostError(claim.job.id)

    # ------------------------------------------------------------------ requests of users

    def request(self, job_id: int, action: str) -> Run:
        """Do the action "cancel" or "pause": at once, or when the job's worker renews its lease.

        Raises NotFoundError, ConflictError.
        """
        state = {"cancel": "cancelled", "pause": "paused"}[action]
        with self._database.write() as connection:
            job = self._job(connection, job_id)
            if job.state == "running":
                values: dict[str, Any] = {"wanted": action}
            elif job.state in {"queued", "paused"}:
                ended = now() if action == "cancel" else None
                values = {"state": state, "finished_at": ended, "not_before": None}
            else:
                raise ConflictError(f"job {job_id} has ended already ({job.state})", param="id")
            connection.execute(update(RunRow).where(RunRow.id == job_id).values(**values))
            return self._job(connection, job_id)

    def resume(self, job_id: int) -> Run:
        """Queue a paused, failed or cancelled job again, with all of its attempts.

        Raises NotFoundError, ConflictError.
        """
        with self._database.write() as connection:
            job = self._job(connection, job_id)
            if job.state == "running" and job.wanted == "pause":
                values: dict[str, Any] = {"wanted": None}
            elif job.state in {"paused", "failed", "cancelled"}:
                values = {
                    "state": "queued",
                    "attempts": 0,
                    "not_before": None,
                    "finished_at": None,
                    "error": None,
                }
            else:
                raise ConflictError(f"job {job_id} is {job.state}, not paused", param="id")
            connection.execute(update(RunRow).where(RunRow.id == job_id).values(**values))
            return self._job(connection, job_id)

    def _job(self, connection: Connection, job_id: int) -> Run:
        query = select(RunRow).where(RunRow.id == job_id).with_for_update()
        row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no job {job_id}", param="id")
        if not row.max_attempts:
            raise ConflictError(
                f"run {job_id} is not a job: it runs in the foreground of `mmsearch index`",
                param="id",
            )
        return to_run(row)

    def _requeue_abandoned(self, connection: Connection, moment: datetime) -> None:
        """Queue jobs with an expired lease again, or end them."""
        query = select(RunRow).where(_abandoned(moment)).with_for_update(skip_locked=True)
        for row in connection.execute(query).all():
            state = {"cancel": "cancelled", "pause": "paused"}.get(row.wanted or "", "queued")
            error = f"the worker {row.worker} did not report back (attempt {row.attempts})"
            if state == "queued" and row.attempts >= row.max_attempts:
                state = "failed"
            pause = timedelta(seconds=pause_after(row.attempts))
            connection.execute(
                update(RunRow)
                .where(RunRow.id == row.id, RunRow.lease == row.lease)
                .values(
                    state=state,
                    lease=None,
                    lease_until=None,
                    wanted=None,
                    error=error,
                    not_before=moment + pause if state == "queued" else None,
                    finished_at=moment if state in FINISHED else None,
                )
            )

    def list(
        self, *, states: Sequence[str] = (), before: int | None = None, limit: int = 50
    ) -> list[Run]:
        """Runs and jobs, newest first; `before` an id, for the next page."""
        query = select(RunRow).order_by(RunRow.id.desc()).limit(limit)
        if states:
            query = query.where(RunRow.state.in_(states))
        if before is not None:
            query = query.where(RunRow.id < before)
        with self._database.read() as connection:
            return [to_run(row) for row in connection.execute(query)]


def _ready(moment: datetime) -> Any:
    due = or_(RunRow.not_before.is_(None), RunRow.not_before <= moment)
    return and_(RunRow.state == "queued", RunRow.max_attempts > 0, due)


def _abandoned(moment: datetime) -> Any:
    return and_(RunRow.state == "running", RunRow.max_attempts > 0, RunRow.lease_until < moment)


def _held(claim: Claim) -> tuple[Any, ...]:
    return RunRow.id == claim.job.id, RunRow.lease == claim.lease, RunRow.state == "running"
