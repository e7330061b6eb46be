"""The worker beside the service: there from the start, again after a fall, gone when idle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from indexer.jobs import enqueue
from mmsearch.cli import worker_process
from mmsearch.cli.worker_process import WorkerProcess
from mmsearch.search.engine import SearchEngine
from mmsearch.settings import Settings
from tests.e2e.test_kill_jobs import address
from tests.support.fakes import open_fake

WAITS = "import sys; sys.stdin.read()"
"""A program that ends when its input does, as `mmsearch worker --until-eof`."""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SearchEngine]:
    with open_fake(tmp_path / "library") as opened:
        opened.library.store.collections.get_or_create("default", "nano")
        yield opened


def until(holds: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def begun(monkeypatch: pytest.MonkeyPatch, program: str = WAITS) -> list[subprocess.Popen[bytes]]:
    """Workers that are started from now on: this program instead of the real one."""
    started: list[subprocess.Popen[bytes]] = []

    def start(settings: Settings, idle: float) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE))
        return started[-1]

    monkeypatch.setattr(worker_process, "_start", start)
    monkeypatch.setattr(worker_process, "FIRST_PAUSE", 0.1)
    return started


def test_a_worker_that_fell_is_replaced_when_there_is_work(
    engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = begun(monkeypatch)
    with WorkerProcess(engine.library.store, engine.settings) as beside:
        first = beside.pid
        assert first == started[0].pid
        os.kill(first, signal.SIGKILL)
        until(lambda: beside.pid is None)
        time.sleep(1)
        assert len(started) == 1, "nothing to do, nobody to do it"
        enqueue(engine.library, "index", {"paths": []})
        until(lambda: beside.pid is not None)
        assert len(started) == 2
        second = started[1]
    assert second.poll() == 0, "it ends with the service, by the end of its input"


def test_one_that_falls_at_once_is_not_started_again_and_again(
    engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pauses double: 0.2, 0.4, 0.8 ... seconds here."""
    started = begun(monkeypatch, "raise SystemExit(3)")
    enqueue(engine.library, "index", {"paths": []})
    with WorkerProcess(engine.library.store, engine.settings):
        time.sleep(4)
    assert 2 <= len(started) <= 5


def test_one_that_ended_for_want_of_work_comes_back_for_it(
    engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = begun(monkeypatch, "pass")
    with WorkerProcess(engine.library.store, engine.settings) as beside:
        until(lambda: beside.pid is None)
        time.sleep(0.6)
        assert len(started) == 1
        enqueue(engine.library, "index", {"paths": []})
        until(lambda: len(started) > 1)


@pytest.mark.timeout(300)
def test_the_service_has_one_and_outlives_it(tmp_path: Path) -> None:
    """For real: uploaded, taken in by another process; that killed, the next upload too."""
    library, notes = tmp_path / "library", tmp_path / "notes"
    notes.mkdir()
    (notes / "first.txt").write_text("The ferry leaves at nine.\n")
    mmsearch = [sys.executable, "-m", "mmsearch"]
    given = ["--library", str(library), "--profile", "nano"]
    subprocess.run([*mmsearch, "index", str(notes), *given], check=True, capture_output=True)
    with subprocess.Popen(
        [*mmsearch, "serve", *given, "--port", "0"], stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            with httpx.Client(base_url=address(server), timeout=120) as client:
                for text, killed in (("Invoice 4711.", True), ("Invoice 4712.", False)):
                    answer = client.post("v1/uploads", files={"file": ("bill.txt", text.encode())})
                    job = answer.json()["job"]["id"]
                    until(partial(_done, client, job), 120)
                    found = client.post("v1/search", json={"query": text}).json()["hits"]
                    assert found[0]["segment"]["text"] == text
                    (worker,) = _children(server.pid, "worker")
                    if killed:
                        os.kill(worker, signal.SIGKILL)
        finally:
            server.terminate()
            server.wait(60)
    until(lambda: not Path(f"/proc/{worker}").exists(), 30)


def _done(client: httpx.Client, job: int) -> bool:
    return bool(client.get(f"v1/jobs/{job}").json()["job"]["state"] == "done")


def _children(parent: int, word: str) -> list[int]:
    """Processes of which `parent` is the parent and `word` one of the arguments (Linux)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            status = process.joinpath("stat").read_text().rpartition(")")[2].split()
            words = process.joinpath("cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(status[1]) == parent and word.encode() in words:
            found.append(int(process.name))
    return found
