"""The worker of a service: there from the start, replaced after a crash, gone when idle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from mmsearch.cli.worker_process import WorkerProcess
from mmsearch.library import Library
from tests.support.processes import address, until

WAITS = "import sys; sys.stdin.read()"
"""A program that ends when its input does, as `mmsearch worker --until-eof`."""


class Queue:
    """Whether a job is due, and how often that was asked."""

    def __init__(self, *, due: bool = False) -> None:
        self.due = due
        self.polls = 0

    def __call__(self) -> bool:
        self.polls += 1
        return self.due

    def polled(self, times: int) -> None:
        """Wait for so many polls from now on."""
        end = self.polls + times
        until(lambda: self.polls >= end)


class Programs:
    """Starts a program in place of a worker, and records every start."""

    def __init__(self, program: str = WAITS) -> None:
        self.program = program
        self.processes: list[subprocess.Popen[bytes]] = []
        self.times: list[float] = []

    def __call__(self) -> subprocess.Popen[bytes]:
        self.times.append(time.monotonic())
        command = [sys.executable, "-c", self.program]
        self.processes.append(subprocess.Popen(command, stdin=subprocess.PIPE))
        return self.processes[-1]


def test_a_crashed_worker_is_replaced_when_there_is_work() -> None:
    """Not before: the queue is asked several times first. At the end its input is closed."""
    queue, programs = Queue(), Programs()
    with WorkerProcess(queue, programs, first_pause=0.05) as child:
        first = child.pid
        assert first == programs.processes[0].pid
        os.kill(first, signal.SIGKILL)
        until(lambda: child.pid is None)
        queue.polled(3)
        assert len(programs.processes) == 1
        queue.due = True
        until(lambda: child.pid is not None)
        assert len(programs.processes) == 2
    assert programs.processes[1].poll() == 0


def test_the_pauses_between_crashes_double() -> None:
    """0.1, 0.2, 0.4 seconds here; a busy machine only makes them longer."""
    programs = Programs("raise SystemExit(3)")
    with WorkerProcess(Queue(due=True), programs, first_pause=0.05):
        until(lambda: len(programs.times) == 4)
    gaps = [after - before for before, after in pairwise(programs.times)]
    assert all(gap >= 0.1 * 2**n for n, gap in enumerate(gaps)), gaps


def test_a_worker_that_exited_without_work_comes_back_for_it() -> None:
    """Exit status 0 is no crash: the next poll that finds a job starts another one."""
    queue, programs = Queue(), Programs("pass")
    with WorkerProcess(queue, programs) as child:
        until(lambda: child.pid is None)
        queue.polled(3)
        assert len(programs.processes) == 1
        queue.due = True
        until(lambda: len(programs.processes) > 1)


@pytest.mark.timeout(600)
def test_the_service_has_one_and_outlives_it(tmp_path: Path) -> None:
    """The real worker indexes an upload; after it was killed, its successor the next one."""
    library = tmp_path / "library"
    with Library.open(library, create=True) as empty:
        empty.store.collections.get_or_create("default", "nano")
    mmsearch = [sys.executable, "-m", "mmsearch"]
    given = ["--library", str(library)]
    with subprocess.Popen(
        [*mmsearch, "serve", *given, "--port", "0"], stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            with httpx.Client(base_url=address(server), timeout=120) as client:
                for text, killed in (("Invoice 4711.", True), ("Invoice 4712.", False)):
                    answer = client.post("v1/uploads", files={"file": ("bill.txt", text.encode())})
                    job = answer.json()["job"]["id"]
                    until(partial(_done, client, job), 240)
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
