"""The queue: each job goes to one worker at a time, and none is lost when a worker is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from mmsearch.errors import ConflictError, LeaseLostError, NotFoundError
from mmsearch.stores import jobs
from mmsearch.stores.database import now
from mmsearch.stores.jobs import pause_after
from mmsearch.stores.sql import SqlStore

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
    collection = store.ensure_collection("default", "fake").id
    return [store.enqueue(collection, "index", {"n": n}, **options) for n in range(count)]


def test_jobs_go_by_priority_and_then_by_age(store: SqlStore) -> None:
    first, second = queued(store, 2)
    (urgent,) = queued(store, priority=5)
    taken = [store.claim("a", LONG) for _ in range(4)]
    assert [claim and claim.job.id for claim in taken] == [urgent, first, second, None]
    job = taken[0]
    assert job is not None
    assert (job.job.state, job.job.worker, job.job.attempts) == ("running", "a", 1)
    store.finish(job, "done")
    assert store.run(urgent).state == "done"
    assert store.run(urgent).finished_at is not None


def test_many_workers_at_once_never_get_the_same_job(store: SqlStore) -> None:
    """Twenty jobs, five threads: each job exactly once."""
    ids = queued(store, 20)
    got: list[int] = []
    lock = threading.Lock()

    def work(name: str) -> None:
        while (claim := store.claim(name, LONG)) is not None:
            with lock:
                got.append(claim.job.id)
            store.finish(claim, "done")

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while (claim := store.claim("rest", LONG)) is not None:  # a thread may have looked too early
        got.append(claim.job.id)
        store.finish(claim, "done")
    assert sorted(got) == ids


def test_a_silent_worker_loses_its_job(store: SqlStore, later: Callable[[float], None]) -> None:
    """After the lease, another gets it; what the first one still says changes nothing."""
    (job,) = queued(store)
    first = store.claim("first", 10)
    assert first is not None
    assert store.renew(first, 10) is None
    assert store.claim("second", 10) is None
    later(11)
    assert store.claim("second", 10) is None  # put back, and not due at once
    assert "did not report back" in (store.run(job).error or "")
    later(pause_after(1) + 0.1)
    second = store.claim("second", 10)
    assert second is not None
    assert second.job.attempts == 2
    for late in (
        lambda: store.renew(first, 10),
        lambda: store.finish(first, "done"),
        lambda: store.give_back(first),
        lambda: store.update_run(job, counts={"indexed": 9}, lease=first.lease),
    ):
        with pytest.raises(LeaseLostError):
            late()
    store.update_run(job, counts={"indexed": 1}, lease=second.lease)
    store.finish(second, "done")
    assert (store.run(job).state, store.run(job).counts) == ("done", {"indexed": 1})


def test_attempts_are_counted_and_wait_longer_each_time(
    store: SqlStore, later: Callable[[float], None]
) -> None:
    (job,) = queued(store, max_attempts=3)
    pauses = []
    for attempt in (1, 2):
        claim = store.claim("a", LONG)
        assert claim is not None
        assert store.give_back(claim, f"error {attempt}")
        row = store.run(job)
        assert (row.state, row.error) == ("queued", f"error {attempt}")
        assert row.not_before is not None
        pauses.append((row.not_before - row.heartbeat_at).total_seconds())
        assert store.claim("a", LONG) is None
        later(pause_after(attempt))
    assert pauses == pytest.approx([2, 4], abs=0.5)
    claim = store.claim("a", LONG)
    assert claim is not None
    assert not store.give_back(claim, "error 3")
    assert (store.run(job).state, store.run(job).error) == ("failed", "error 3")
    assert [pause_after(n) for n in (1, 2, 5, 50)] == [2, 4, 32, 300]


def test_workers_that_always_die_end_the_job(
    store: SqlStore, later: Callable[[float], None]
) -> None:
    """A job that kills whoever takes it has failed in the end, with the reason."""
    (job,) = queued(store, max_attempts=2)
    for _ in range(2):
        assert store.claim("victim", 5) is not None
        later(6)
        store.claim("finder", 5)
        later(pause_after(5))
    assert store.claim("a", 5) is None
    assert store.run(job).state == "failed"
    assert "victim did not report back (attempt 2)" in (store.run(job).error or "")


def test_a_worker_that_ends_gives_its_job_back_unspent(store: SqlStore) -> None:
    (job,) = queued(store, max_attempts=1)
    claim = store.claim("a", LONG)
    assert claim is not None
    assert store.give_back(claim, spent=False)
    again = store.claim("b", LONG)
    assert again is not None
    assert (again.job.id, again.job.attempts) == (job, 1)


def test_cancel_pause_and_resume(store: SqlStore, later: Callable[[float], None]) -> None:
    """At once for what waits; through its worker for what runs."""
    waiting, running, gone = queued(store, 3)
    assert store.request(waiting, "pause").state == "paused"
    claim = store.claim("a", 10)
    assert claim is not None
    assert claim.job.id == running
    assert store.request(running, "pause").state == "running"
    assert store.renew(claim, 10) == "pause"
    store.finish(claim, "paused")
    assert store.run(running).finished_at is None
    lost = store.claim("b", 10)
    assert lost is not None
    store.request(gone, "cancel")
    later(11)
    assert store.claim("c", 10) is None
    assert store.run(gone).state == "cancelled"  # although its worker never heard of it
    assert store.resume(running).state == "queued"
    assert store.resume(waiting).state == "queued"
    assert store.request(waiting, "cancel").state == "cancelled"
    with pytest.raises(ConflictError):
        store.request(waiting, "cancel")
    with pytest.raises(ConflictError):
        store.resume(running)
    with pytest.raises(NotFoundError):
        store.request(999, "cancel")
    assert [job.id for job in store.jobs(states=["cancelled"])] == [gone, waiting]
    assert [job.id for job in store.jobs(limit=2, before=gone)] == [running, waiting]


def test_a_run_in_the_foreground_is_no_job(store: SqlStore) -> None:
    """It is never handed out, and cannot be cancelled from elsewhere."""
    collection = store.ensure_collection("default", "fake").id
    run = store.start_run(collection, "index", state="queued")
    assert store.claim("a", LONG) is None
    with pytest.raises(ConflictError, match="foreground"):
        store.request(run, "cancel")
    (job,) = queued(store)
    claim = store.claim("a", LONG)
    assert claim is not None
    store.update_run(run, counts={}, state="running")
    assert store.interrupt_dead_runs() == 1
    assert (store.run(run).state, store.run(job).state) == ("interrupted", "running")
