"""The service's own worker: `mmsearch worker` as a process beside it, there while there is work.

Whatever taking files in does, it does elsewhere: it holds no interpreter that answers, and if a
decoder's or a model's native code falls, the service stands. The price is a second set of models
in memory, so the process ends when there was no job for a while. It begins with the service, for
whoever has just started one often has something to take in, and loading takes seconds.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Self

from sqlalchemy.exc import DBAPIError

from mmsearch.errors import MMSearchError
from mmsearch.settings import Settings
from mmsearch.stores.store import SqlStore

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
IDLE_SECONDS = 300.0
"""A worker that had nothing to do for so long ends, and gives its memory back."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a worker that fell is started again: the first if it had lived longer than the
longest, else twice as many as the last time."""

GOODBYE_SECONDS = 5
"""For a worker to give its job back, before it is killed."""


class WorkerProcess:
    """Starts a worker at once, and again when a job is due and there is none; ends it with the
    service."""

    def __init__(self, store: SqlStore, settings: Settings, *, idle: float = IDLE_SECONDS) -> None:
        self._store = store
        self._settings = settings
        self._idle = idle
        self._process: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="mmsearch-worker", daemon=True)

    @property
    def pid(self) -> int | None:
        """Of the process, if there is one now."""
        running = self._process
        return running.pid if running is not None and running.poll() is None else None

    def __enter__(self) -> Self:
        self._process = _start(self._settings, self._idle)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._process is not None:
            _end(self._process)

    def _watch(self) -> None:
        pause, started = FIRST_PAUSE, time.monotonic()
        while not self._over.wait(POLL_SECONDS):
            running = self._process
            if running is not None:
                if running.poll() is None:
                    continue
                self._process = None
                _end(running)
                if running.returncode:
                    lived = time.monotonic() - started
                    pause = FIRST_PAUSE if lived > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
                    logger.warning(
                        "the worker ended with %d; another one is started in %.0f s, if there is "
                        "work", running.returncode, pause,
                    )  # fmt: skip
                    self._over.wait(pause)
                    continue
            try:
                due = self._store.jobs.any_due()
            except (DBAPIError, MMSearchError) as error:
                logger.warning("the queue cannot be read: %s", error)
                self._over.wait(FIRST_PAUSE)
                continue
            if due:
                started = time.monotonic()
                self._process = _start(self._settings, self._idle)


def _start(settings: Settings, idle: float) -> subprocess.Popen[bytes]:
    """With our settings; it ends when we do, however we end."""
    given = settings.model_dump(mode="json", include=settings.model_fields_set - {"api_keys"})
    # In the environment, not on the command line, which everybody on the machine can read.
    told = {
        f"MMSEARCH_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in given.items()
        if value is not None
    }
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "mmsearch", "worker", "--until-eof", "--idle", str(idle)],
        stdin=subprocess.PIPE,
        env={k: v for k, v in os.environ.items() if k != "MMSEARCH_API_KEYS"} | told,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """The end of its input tells it; nothing is left of it afterwards."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(GOODBYE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # its job goes back into the queue when the lease runs out
        process.wait()
