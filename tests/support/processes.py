"""Services and workers in processes of their own."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until the condition holds; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.02)


@contextmanager
def process(role: str, library: Path, **settings: object) -> Iterator[subprocess.Popen[str]]:
    """A worker or a service; killed at the end, whatever happens."""
    given = [f"{name}={value}" for name, value in settings.items()]
    started = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.fake_server", role, str(library), *given],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def address(server: subprocess.Popen[str]) -> str:
    """The address that a starting service prints to standard error."""
    assert server.stderr is not None
    for line in server.stderr:
        if found := re.search(r"http://\S+/", line):
            # Nobody reads the rest: it must not fill the pipe.
            threading.Thread(target=server.stderr.read, daemon=True).start()
            return found[0]
    raise AssertionError("the server did not start")
