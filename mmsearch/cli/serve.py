"""Run the service: the engine, the worker for uploads, and uvicorn around the app."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from contextlib import nullcontext
from functools import partial
from typing import Literal

import uvicorn

from indexer.jobs import BackgroundIngestor
from mmsearch.cli import output
from mmsearch.cli.worker_process import WorkerProcess, start_worker
from mmsearch.errors import ConfigurationError
from mmsearch.search.engine import SearchEngine
from mmsearch.service.app import create_app
from mmsearch.service.auth import check_bind
from mmsearch.service.connections import MAX_CONNECTIONS, LimitedProtocol

GOODBYE_SECONDS = 5
"""Seconds to wait at the end for responses that are being sent. Some follow a job for hours."""


def run_server(engine: SearchEngine, *, worker: Literal["thread", "process", "none"]) -> None:
    """Serve until interrupted.

    Uploads are indexed in a child process (see `worker_process`), in a thread of this process
    (searches are then slower at times), or by a worker elsewhere.
    """
    settings = engine.settings
    check_bind(settings)
    listener = _listen(settings.host, settings.port)
    port = listener.getsockname()[1]
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    engine.start_following()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)
    if worker == "thread":
        sys.setswitchinterval(SWITCH_SECONDS)
    ingestor = BackgroundIngestor(engine.library, work=worker == "thread")
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(engine, ingestor),
            http=LimitedProtocol,
            limit_concurrency=MAX_CONNECTIONS,
            # Its messages go to the handlers of this program, which escape control characters.
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=GOODBYE_SECONDS,
        )
    )
    output.err.print(
        f"mmsearch serves {engine.library.path} at http://{shown}:{port}/  (Ctrl-C ends)"
    )
    try:
        child = (
            WorkerProcess(engine.library.store.jobs.any_due, partial(start_worker, settings))
            if worker == "process"
            else None
        )
        with child or nullcontext():
            server.run(sockets=[listener])
    finally:
        ingestor.close()


SWITCH_SECONDS = 0.0001
"""Longest time that the indexing thread holds the interpreter while a search waits. A query waits
several times, so Python's default of 5 ms would add up."""


def _terminated(number: int, _frame: object) -> None:
    """Exit as for Ctrl-C. Uvicorn has sent its responses by now and passes the signal on.

    The worker then gives its job back at once; if the process died, the job would wait for its
    lease to expire.
    """
    raise SystemExit(128 + number)


def _listen(host: str, port: int) -> socket.socket:
    """Bind before anything slow, so that a port in use is reported at once."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {error.strerror}. Choose another with --port.",
            param="port",
        ) from None
