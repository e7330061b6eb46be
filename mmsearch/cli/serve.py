"""Running the service: the engine, its background work, and uvicorn around the app."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from contextlib import nullcontext
from typing import Literal

import uvicorn

from indexer.jobs import BackgroundIngestor
from mmsearch.cli import output
from mmsearch.cli.worker_process import WorkerProcess
from mmsearch.errors import ConfigurationError
from mmsearch.search.engine import SearchEngine
from mmsearch.service.app import create_app
from mmsearch.service.auth import check_bind

GOODBYE_SECONDS = 5
"""For which the end waits for answers that are being sent; some follow a job for hours."""


def run_server(engine: SearchEngine, *, worker: Literal["thread", "process", "none"]) -> None:
    """Serve until interrupted. Uploads are taken in by a worker in a process of its own (see
    `worker_process`), on a thread of this one (which then answers less evenly), or elsewhere."""
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
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=GOODBYE_SECONDS,
        )
    )
    output.err.print(
        f"mmsearch serves {engine.library.path} at http://{shown}:{port}/  (Ctrl-C ends)"
    )
    try:
        beside = (
            WorkerProcess(engine.library.store, engine.settings) if worker == "process" else None
        )
        with beside or nullcontext():
            server.run(sockets=[listener])
    finally:
        ingestor.close()


SWITCH_SECONDS = 0.0001
"""How long whoever takes files in may keep the interpreter from whoever answers (Python's own
5 ms are waited several times a query)."""


def _terminated(number: int, _frame: object) -> None:
    """Uvicorn has sent its answers by now, and passes the signal on. Ending as for Ctrl-C gives
    the job at hand back at once, where dying would leave it to its lease."""
    raise SystemExit(128 + number)


def _listen(host: str, port: int) -> socket.socket:
    """Bind before anything heavy, so that a taken port is told at once and in plain words."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {error.strerror}. Choose another with --port.",
            param="port",
        ) from None
