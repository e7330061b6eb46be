"""Workers: jobs are run, retried, cancelled, paused; each file of a job has one outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

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
        tmp_path / "library", workers=1, job_lease_seconds=6.0, commit_files=1, batch_size=1
    ) as opened:
        yield opened


def pictures(folder: Path, count: int) -> list[str]:
    return [str(a_picture(folder / f"{n}.png", (n * 9, 255 - n, n))) for n in range(count)]


def outcomes(engine: SearchEngine, job: int) -> dict[str, str]:
    items = engine.library.store.runs.items(job)
    assert len({item.path for item in items}) == len(items)
    return {Path(item.path).name: item.outcome for item in items}


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def slow_down(engine: SearchEngine, seconds: float) -> threading.Event:
    """Each batch of pictures takes its time; set once the first has begun."""
    begun = threading.Event()
    clip = engine.library.models("nano").clip
    encode = clip.encode_pixels

    def slowly(pixels: object) -> Vectors:
        begun.set()
        time.sleep(seconds)
        return encode(pixels)  # type: ignore[arg-type]

    clip.encode_pixels = slowly  # type: ignore[method-assign]
    return begun


def test_jobs_are_worked_off(engine: SearchEngine, tmp_path: Path) -> None:
    """Every file has an outcome, known ones too; what is missing is told."""
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
    monkeypatch.setattr(queue, "FIRST_PAUSE", 0.2)
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
    time.sleep(0.3)
    assert worker.run(once=True) == 1
    row = engine.library.store.runs.get(job)
    assert (row.state, row.attempts, row.error) == ("done", 2, None)
    assert sorted(outcomes(engine, job)) == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize(("wanted", "state"), [("cancel", "cancelled"), ("pause", "paused")])
def test_a_running_job_hears_what_is_wanted(
    engine: SearchEngine, tmp_path: Path, wanted: str, state: str
) -> None:
    """It ends between two commits; resumed, it goes on where it was."""
    begun = slow_down(engine, 0.2)
    job = enqueue(engine.library, "index", {"paths": pictures(tmp_path / "files", 30)})
    worker = Worker(engine.library, poll=0.05)
    thread = threading.Thread(target=worker.run)
    thread.start()
    assert begun.wait(20)
    engine.library.store.jobs.request(job, wanted)
    eventually(lambda: engine.library.store.runs.get(job).state == state)
    done = engine.library.store.status.counts()["sources"]
    assert done < 30
    time.sleep(0.3)
    assert engine.library.store.status.counts()["sources"] == done
    worker.end()
    thread.join()
    del engine.library.models("nano").clip.encode_pixels  # at full speed again
    engine.library.store.jobs.resume(job)
    Worker(engine.library).run(once=True)
    assert engine.library.store.runs.get(job).state == "done"
    assert len(outcomes(engine, job)) == 30
    assert engine.library.store.status.counts()["sources"] == 30


def test_a_worker_that_ends_leaves_its_job_to_the_next(
    engine: SearchEngine, tmp_path: Path
) -> None:
    """Closing the service is quick, and costs no attempt."""
    begun = slow_down(engine, 0.2)
    ingestor = BackgroundIngestor(engine.library)
    files = [Path(name) for name in pictures(tmp_path / "files", 40)]
    job = ingestor.submit(files, None)
    assert begun.wait(20)
    began = time.monotonic()
    ingestor.close()
    assert time.monotonic() - began < 5
    row = engine.library.store.runs.get(job)
    assert (row.state, row.attempts, row.total) == ("queued", 0, 40)


def test_a_worker_that_lost_its_lease_writes_nothing_more(
    engine: SearchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else has the job: the first worker notices before its next commit."""
    begun = slow_down(engine, 0.3)
    job = enqueue(engine.library, "index", {"paths": pictures(tmp_path / "files", 30)})
    worker = Worker(engine.library, poll=0.05)
    thread = threading.Thread(target=worker.run, kwargs={"once": True})
    thread.start()
    assert begun.wait(20)
    with engine.library.store.database.engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE runs SET lease = 'another', worker = 'other' WHERE id = {job}"
        )
    thread.join(30)
    assert not thread.is_alive()
    row = engine.library.store.runs.get(job)
    assert (row.state, row.worker) == ("running", "other")
    assert engine.library.store.status.counts()["sources"] < 30
