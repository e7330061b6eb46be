"""Running the service: the engine, its background work, and uvicorn around the app."""

from __future__ import annotations

import socket

import uvicorn

from indexer.jobs import BackgroundIngestor
from mmsearch.cli import output
from mmsearch.errors import ConfigurationError
from mmsearch.search.engine import SearchEngine
from mmsearch.service.app import create_app
from mmsearch.service.auth import check_bind

GOODBYE_SECONDS = 5
"""For which the end waits for answers that are being sent; some follow a job for hours."""


def run_server(engine: SearchEngine, *, work: bool = True) -> None:
    """Serve until interrupted; with `work`, a worker in this process takes uploads in."""
    settings = engine.settings
    check_bind(settings)
    listener = _listen(settings.host, settings.port)
    port = listener.getsockname()[1]
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    engine.start_following()
    ingestor = BackgroundIngestor(engine, work=work)
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
        server.run(sockets=[listener])
    finally:
        ingestor.close()


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
