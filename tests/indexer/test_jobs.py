"""Workers: jobs are run, retried, cancelled and paused; each file of a job has one outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from indexer.jobs import BackgroundIngestor, Worker, enqueue
from mmsearch.errors import StorageError
from mmsearch.search.engine import SearchEngine
from mmsearch.stores import jobs as queue
from mmsearch.types import Vectors
from tests.support.fakes import a_picture, open_fake, some_files


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SearchEngine]:
    with open_fake(
        tmp_path / "library", workers=1, job_lease_seconds=4.0, commit_files=1, batch_size=1
    ) as opened:
        yield opened


def pictures(folder: Path, count: int) -> list[str]:
    return [str(a_picture(folder / f"{n}.png", (n * 9, 255 - n, n))) for n in range(count)]


def outcomes(engine: SearchEngine, job: int) -> dict[str, str]:
    items = engine.library.store.runs.items(job)
    assert len({item.path for item in items}) == len(items)
    return {Path(item.path).name: item.outcome for item in items}


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for a condition; the time is only a limit."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


class Gate:
    """Lets so many batches of pictures be embedded, and holds the next one until it is opened."""

    def __init__(self, engine: SearchEngine, batches: int) -> None:
        self.closed = threading.Event()
        """Set once a batch is held."""
        self._permits = threading.Semaphore(batches)
        clip = engine.library.models("nano").clip
        encode = clip.encode_pixels

        def gated(pixels: npt.NDArray[np.uint8]) -> Vectors:
            if not self._permits.acquire(blocking=False):
                self.closed.set()
                assert self._permits.acquire(timeout=60)
            return encode(pixels)

        clip.encode_pixels = gated  # type: ignore[method-assign]

    def permit(self, batches: int = 1) -> None:
        self._permits.release(batches)

    def open(self) -> None:
        self.permit(1000)


def wait_for_renewals(engine: SearchEngine, job: int, count: int = 2) -> None:
    """Until the lease was renewed so often: after the second, the first has been heeded."""
    for _ in range(count):
        before = engine.library.store.runs.get(job).heartbeat_at
        eventually(lambda before=before: engine.library.store.runs.get(job).heartbeat_at != before)  # type: ignore[misc]


def test_jobs_are_worked_off(engine: SearchEngine, tmp_path: Path) -> None:
    """Every file has an outcome, known ones too; a missing file is a failure."""
    folder = some_files(tmp_path / "files")
    first = enqueue(engine.library, "index", {"paths": [str(folder)]})
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no picture")
    names = [str(folder / "tea.md"), str(broken), str(tmp_path / "gone.txt")]
    second = enqueue(engine.library, "index", {"paths": names, "total": 3})
    assert Worker(engine.library).run(once=True) == 2
    job = engine.library.store.runs.get(first)
    assert (job.state, job.counts["indexed"], job.attempts) == ("done", 5, 1)
    assert set(outcomes(engine, first).values()) == {"indexed"}
    job = engine.library.store.runs.get(second)
    assert job.state == "done"
    assert (job.done, job.total) == (3, 3)
    assert outcomes(engine, second) == {
        "tea.md": "unchanged",
        "broken.jpg": "failed",
        "gone.txt": "failed",
    }
    assert engine.search("boat lake", modality="text").hits


def test_what_cannot_pass_fails_at_once(engine: SearchEngine, tmp_path: Path) -> None:
    """A collection of another profile: no second attempt would help."""
    collection = engine.library.store.collections.get_or_create("other", "small").id
    job = engine.library.store.jobs.enqueue(collection, "index", {"paths": pictures(tmp_path, 1)})
    assert Worker(engine.library).run(once=True) == 1
    assert engine.library.store.runs.get(job).state == "failed"
    assert "profile" in (engine.library.store.runs.get(job).error or "")


def test_what_may_pass_is_tried_again(
    engine: SearchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, once: the job waits its pause and is done at the second attempt."""
    monkeypatch.setattr(queue, "LONGEST_PAUSE", 3600.0)
    monkeypatch.setattr(queue, "FIRST_PAUSE", 3600.0)
    job = enqueue(engine.library, "index", {"paths": pictures(tmp_path / "files", 3)})
    write = engine.library.store.sources.write
    calls = 0

    def full_once(*args: object) -> list[int]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise StorageError("the disk is full")
        return write(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.library.store.sources, "write", full_once)
    worker = Worker(engine.library)
    assert worker.run(once=True) == 1
    row = engine.library.store.runs.get(job)
    assert (row.state, row.error) == ("queued", "StorageError: the disk is full")
    assert row.not_before is not None
    assert worker.run(once=True) == 0
    with engine.library.store.database.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE runs SET not_before = NULL WHERE id = {job}")
    assert worker.run(once=True) == 1
    row = engine.library.store.runs.get(job)
    assert (row.state, row.attempts, row.error) == ("done", 2, None)
    assert sorted(outcomes(engine, job)) == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize(("wanted", "state"), [("cancel", "cancelled"), ("pause", "paused")])
def test_a_running_job_can_be_cancelled_and_paused(
    engine: SearchEngine, tmp_path: Path, wanted: str, state: str
) -> None:
    """It ends between two commits; resumed, it goes on where it was."""
    gate = Gate(engine, batches=3)
    job = enqueue(engine.library, "index", {"paths": pictures(tmp_path / "files", 30)})
    worker = Worker(engine.library, poll=0.05)
    thread = threading.Thread(target=worker.run)
    thread.start()
    assert gate.closed.wait(30)
    engine.library.store.jobs.request(job, wanted)
    wait_for_renewals(engine, job)
    gate.open()
    eventually(lambda: engine.library.store.runs.get(job).state == state)
    worker.end()
    thread.join(30)
    assert engine.library.store.status.counts()["sources"] == 3
    engine.library.store.jobs.resume(job)
    Worker(engine.library).run(once=True)
    assert engine.library.store.runs.get(job).state == "done"
    assert len(outcomes(engine, job)) == 30
    assert engine.library.store.status.counts()["sources"] == 30


def test_a_worker_that_ends_leaves_its_job_to_the_next(
    engine: SearchEngine, tmp_path: Path
) -> None:
    """Closing the service ends the job between two commits, and costs no attempt."""
    gate = Gate(engine, batches=3)
    ingestor = BackgroundIngestor(engine.library)
    files = [Path(name) for name in pictures(tmp_path / "files", 40)]
    job = ingestor.submit(files, None)
    assert gate.closed.wait(30)
    closing = threading.Thread(target=ingestor.close)
    closing.start()
    while closing.is_alive():
        gate.permit()
        closing.join(0.1)
    row = engine.library.store.runs.get(job)
    assert (row.state, row.attempts, row.total) == ("queued", 0, 40)
    assert 3 <= engine.library.store.status.counts()["sources"] < 40


def test_a_worker_that_lost_its_lease_writes_nothing_more(
    engine: SearchEngine, tmp_path: Path
) -> None:
    """Another worker has the job: the first one refuses its own next commit."""
    gate = Gate(engine, batches=3)
    job = enqueue(engine.library, "index", {"paths": pictures(tmp_path / "files", 30)})
    worker = Worker(engine.library, poll=0.05)
    thread = threading.Thread(target=worker.run, kwargs={"once": True})
    thread.start()
    assert gate.closed.wait(30)
    with engine.library.store.database.engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE runs SET lease = 'another', worker = 'other' WHERE id = {job}"
        )
    # The thread that renews the lease ends when the lease is lost.
    eventually(lambda: all(other.name != "mmsearch-lease" for other in threading.enumerate()))
    gate.open()
    thread.join(30)
    assert not thread.is_alive()
    row = engine.library.store.runs.get(job)
    assert (row.state, row.worker) == ("running", "other")
    assert engine.library.store.status.counts()["sources"] == 3
