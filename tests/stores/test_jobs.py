"""The queue: one worker at a time holds a job, and no job is lost with its worker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from mmsearch.errors import ConflictError, LeaseLostError, NotFoundError
from mmsearch.stores import jobs
from mmsearch.stores.database import now
from mmsearch.stores.jobs import pause_after
from mmsearch.stores.store import SqlStore

LONG = 60.0


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time go by for the queue."""
    moved = 0.0

    def skip(seconds: float) -> None:
        nonlocal moved
        moved += seconds
        monkeypatch.setattr(jobs, "now", lambda: now() + timedelta(seconds=moved))

    return skip


def queued(store: SqlStore, count: int = 1, **options: int) -> list[int]:
    collection = store.collections.get_or_create("default", "fake").id
    return [store.jobs.enqueue(collection, "index", {"n": n}, **options) for n in range(count)]


def test_jobs_go_by_priority_and_then_by_age(store: SqlStore) -> None:
    """The highest priority first, then the oldest job."""
    first, second = queued(store, 2)
    (urgent,) = queued(store, priority=5)
    taken = [store.jobs.claim("a", LONG) for _ in range(4)]
    assert [claim and claim.job.id for claim in taken] == [urgent, first, second, None]
    job = taken[0]
    assert job is not None
    assert (job.job.state, job.job.worker, job.job.attempts) == ("running", "a", 1)
    store.jobs.finish(job, "done")
    assert store.runs.get(urgent).state == "done"
    assert store.runs.get(urgent).finished_at is not None


def test_many_workers_at_once_never_get_the_same_job(store: SqlStore) -> None:
    """Twenty jobs, five threads: each job exactly once."""
    ids = queued(store, 20)
    got: list[int] = []
    lock = threading.Lock()

    def work(name: str) -> None:
        while (claim := store.jobs.claim(name, LONG)) is not None:
            with lock:
                got.append(claim.job.id)
            store.jobs.finish(claim, "done")

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while (
        claim := store.jobs.claim("rest", LONG)
    ) is not None:  # jobs that every thread saw locked
        got.append(claim.job.id)
        store.jobs.finish(claim, "done")
    assert sorted(got) == ids


def test_a_silent_worker_loses_its_job(store: SqlStore, later: Callable[[float], None]) -> None:
    """After the lease another worker gets the job, and calls of the first one are refused."""
    (job,) = queued(store)
    first = store.jobs.claim("first", 10)
    assert first is not None
    assert store.jobs.renew(first, 10) is None
    assert store.jobs.claim("second", 10) is None
    later(11)
    assert store.jobs.claim("second", 10) is None  # put back, and not due at once
    assert "did not report back" in (store.runs.get(job).error or "")
    later(pause_after(1) + 0.1)
    second = store.jobs.claim("second", 10)
    assert second is not None
    assert second.job.attempts == 2
    for late in (
        lambda: store.jobs.renew(first, 10),
        lambda: store.jobs.finish(first, "done"),
        lambda: store.jobs.retry(first),
        lambda: store.runs.update(job, counts={"indexed": 9}, lease=first.lease),
    ):
        with pytest.raises(LeaseLostError):
            late()
    store.runs.update(job, counts={"indexed": 1}, lease=second.lease)
    store.jobs.finish(second, "done")
    assert (store.runs.get(job).state, store.runs.get(job).counts) == ("done", {"indexed": 1})


def test_attempts_are_counted_and_wait_longer_each_time(
    store: SqlStore, later: Callable[[float], None]
) -> None:
    """The pause doubles with each attempt; the last attempt ends the job."""
    (job,) = queued(store, max_attempts=3)
    pauses = []
    for attempt in (1, 2):
        claim = store.jobs.claim("a", LONG)
        assert claim is not None
        assert store.jobs.retry(claim, f"error {attempt}")
        row = store.runs.get(job)
        assert (row.state, row.error) == ("queued", f"error {attempt}")
        assert row.not_before is not None
        pauses.append((row.not_before - row.heartbeat_at).total_seconds())
        assert store.jobs.claim("a", LONG) is None
        later(pause_after(attempt))
    assert pauses == pytest.approx([2, 4], abs=0.5)
    claim = store.jobs.claim("a", LONG)
    assert claim is not None
    assert not store.jobs.retry(claim, "error 3")
    assert (store.runs.get(job).state, store.runs.get(job).error) == ("failed", "error 3")
    assert [pause_after(n) for n in (1, 2, 5, 50)] == [2, 4, 32, 300]


def test_workers_that_always_die_end_the_job(
    store: SqlStore, later: Callable[[float], None]
) -> None:
    """A job that kills whoever takes it has failed in the end, with the reason."""
    (job,) = queued(store, max_attempts=2)
    for _ in range(2):
        assert store.jobs.claim("victim", 5) is not None
        later(6)
        store.jobs.claim("finder", 5)
        later(pause_after(5))
    assert store.jobs.claim("a", 5) is None
    assert store.runs.get(job).state == "failed"
    assert "victim did not report back (attempt 2)" in (store.runs.get(job).error or "")


def test_a_worker_that_stops_returns_its_job_without_an_attempt(store: SqlStore) -> None:
    """The attempt is not counted, so even a job with one attempt runs again."""
    (job,) = queued(store, max_attempts=1)
    claim = store.jobs.claim("a", LONG)
    assert claim is not None
    assert store.jobs.retry(claim, counted=False)
    again = store.jobs.claim("b", LONG)
    assert again is not None
    assert (again.job.id, again.job.attempts) == (job, 1)


def test_cancel_pause_and_resume(store: SqlStore, later: Callable[[float], None]) -> None:
    """At once for a waiting job; through its worker for a running one."""
    waiting, running, lost_job = queued(store, 3)
    assert store.jobs.request(waiting, "pause").state == "paused"
    claim = store.jobs.claim("a", 10)
    assert claim is not None
    assert claim.job.id == running
    assert store.jobs.request(running, "pause").state == "running"
    assert store.jobs.renew(claim, 10) == "pause"
    store.jobs.finish(claim, "paused")
    assert store.runs.get(running).finished_at is None
    lost = store.jobs.claim("b", 10)
    assert lost is not None
    store.jobs.request(lost_job, "cancel")
    later(11)
    assert store.jobs.claim("c", 10) is None
    assert store.runs.get(lost_job).state == "cancelled"  # although its worker never renewed
    assert store.jobs.resume(running).state == "queued"
    assert store.jobs.resume(waiting).state == "queued"
    assert store.jobs.request(waiting, "cancel").state == "cancelled"
    with pytest.raises(ConflictError):
        store.jobs.request(waiting, "cancel")
    with pytest.raises(ConflictError):
        store.jobs.resume(running)
    with pytest.raises(NotFoundError):
        store.jobs.request(999, "cancel")
    assert [job.id for job in store.jobs.list(states=["cancelled"])] == [lost_job, waiting]
    assert [job.id for job in store.jobs.list(limit=2, before=lost_job)] == [running, waiting]


def test_a_run_in_the_foreground_is_no_job(store: SqlStore) -> None:
    """It is never handed out, and cannot be cancelled from elsewhere."""
    collection = store.collections.get_or_create("default", "fake").id
    run = store.runs.start(collection, "index", state="queued")
    assert store.jobs.claim("a", LONG) is None
    with pytest.raises(ConflictError, match="foreground"):
        store.jobs.request(run, "cancel")
    (job,) = queued(store)
    claim = store.jobs.claim("a", LONG)
    assert claim is not None
    store.runs.update(run, counts={}, state="running")
    assert store.runs.interrupt_unfinished() == 1
    assert (store.runs.get(run).state, store.runs.get(job).state) == ("interrupted", "running")
