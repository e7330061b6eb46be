"""Running the service: the engine, its background work, and uvicorn around the app."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import uvicorn

from indexer.jobs import BackgroundIngestor
from mmsearch.cli import output
from mmsearch.errors import ConfigurationError
from mmsearch.search.engine import SearchEngine
from mmsearch.service.app import create_app
from mmsearch.service.auth import check_bind
from mmsearch.settings import Settings

GOODBYE_SECONDS = 5
"""For which the end waits for answers that are being sent; some follow a job for hours."""


def run_server(
    engine: SearchEngine, *, worker: Literal["thread", "process", "none"] = "thread"
) -> None:
    """Serve until interrupted. Uploads are taken in by a worker on a thread of this process, in
    a process of its own (at the price of a second set of models in memory), or elsewhere."""
    settings = engine.settings
    check_bind(settings)
    listener = _listen(settings.host, settings.port)
    port = listener.getsockname()[1]
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    engine.start_following()
    if worker == "thread":
        sys.setswitchinterval(SWITCH_SECONDS)
    ingestor = BackgroundIngestor(engine, work=worker == "thread")
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(engine, ingestor),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=GOODBYE_SECONDS,
        )
    )
    output.err.print(f"mmsearch serves {engine.library} at http://{shown}:{port}/  (Ctrl-C ends)")
    try:
        with worker_process(engine.settings) if worker == "process" else nullcontext():
            server.run(sockets=[listener])
    finally:
        ingestor.close()


SWITCH_SECONDS = 0.0005
"""How long whoever takes files in may keep the interpreter from whoever answers (Python's own
5 ms are waited several times a query)."""


@contextmanager
def worker_process(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """`mmsearch worker` beside us, with our settings; it ends when we do, however we end."""
    given = settings.model_dump(mode="json", include=settings.model_fields_set - {"api_keys"})
    # In the environment, not on the command line, which everybody on the machine can read.
    told = {
        f"MMSEARCH_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in given.items()
        if value is not None
    }
    started = subprocess.Popen(  # our own interpreter and module
        [sys.executable, "-m", "mmsearch", "worker", "--until-eof"],
        stdin=subprocess.PIPE,
        env={k: v for k, v in os.environ.items() if k != "MMSEARCH_API_KEYS"} | told,
    )
    try:
        yield started
    finally:
        assert started.stdin is not None
        started.stdin.close()
        try:
            started.wait(GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            started.kill()  # its job goes back into the queue when the lease runs out
            started.wait()


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
