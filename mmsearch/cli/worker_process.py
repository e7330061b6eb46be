"""The worker of a service: `mmsearch worker` as a child process, while there is work.

Indexing in another process does not compete with searches for the interpreter, and a crash in
native code of a decoder or model does not end the service. The worker loads its own models, so it
exits after `IDLE_SECONDS` without a job. It is started with the service, because loading models
takes seconds and many people upload first.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sqlalchemy.exc import DBAPIError

from mmsearch.errors import MMSearchError
from mmsearch.settings import Settings

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
IDLE_SECONDS = 300.0
"""Seconds without a job after which a worker exits and frees its memory."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a crashed worker is replaced. The pause doubles with each crash, and starts anew
after a worker that ran for longer than the longest pause."""

GOODBYE_SECONDS = 5
"""Seconds for a worker to give its job back before it is killed."""


class WorkerProcess:
    """Starts a worker at once, and again when a job is due and none runs. `__exit__` ends it.

    `is_job_due` asks the queue. `start` starts a worker whose standard input is a pipe.
    """

    def __init__(
        self,
        is_job_due: Callable[[], bool],
        start: Callable[[], subprocess.Popen[bytes]],
        *,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._is_job_due = is_job_due
        self._start = start
        self._first_pause = first_pause
        self._process: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="mmsearch-worker", daemon=True)

    @property
    def pid(self) -> int | None:
        """Process id of the worker, if one runs."""
        running = self._process
        return running.pid if running is not None and running.poll() is None else None

    def __enter__(self) -> Self:
        self._process = self._start()
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
        pause, started = self._first_pause, time.monotonic()
        while not self._over.wait(POLL_SECONDS):
            running = self._process
            if running is not None:
                if running.poll() is None:
                    continue
                self._process = None
                _end(running)
                if running.returncode:
                    long = time.monotonic() - started > LONGEST_PAUSE
                    pause = self._first_pause if long else min(2 * pause, LONGEST_PAUSE)
                    logger.warning(
                        "the worker exited with status %d. If there is work, another one is "
                        "started in %.0f s.", running.returncode, pause,
                    )  # fmt: skip
                    self._over.wait(pause)
                    continue
            try:
                due = self._is_job_due()
            except (DBAPIError, MMSearchError) as error:
                logger.warning("the queue cannot be read: %s", error)
                self._over.wait(self._first_pause)
                continue
            if due:
                started = time.monotonic()
                self._process = self._start()


def start_worker(settings: Settings, idle: float = IDLE_SECONDS) -> subprocess.Popen[bytes]:
    """`mmsearch worker` with these settings. It ends when its standard input is closed."""
    in_force = settings.model_dump(mode="json", include=settings.model_fields_set - {"api_keys"})
    # In the environment: everybody on the machine can read a command line.
    variables = {
        f"MMSEARCH_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in in_force.items()
        if value is not None
    }
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "mmsearch", "worker", "--until-eof", "--idle", str(idle)],
        stdin=subprocess.PIPE,
        env={k: v for k, v in os.environ.items() if k != "MMSEARCH_API_KEYS"} | variables,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close its standard input and wait for it; after GOODBYE_SECONDS kill it."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(GOODBYE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # its job goes back into the queue when the lease runs out
        process.wait()
