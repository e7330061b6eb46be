"""Clients that go away, or that never send what they began."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import uvicorn
from starlette.types import Message

from mmsearch.service.connections import LimitedProtocol
from mmsearch.service.context import RequestContext

from .conftest import Service

pytestmark = pytest.mark.anyio


async def call(service: Service, messages: list[Message | float]) -> list[Message]:
    """Send a POST whose body arrives as `messages`; a number is the seconds until the next."""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/search",
        "raw_path": b"/v1/search",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1:8765"), (b"content-type", b"application/json")],
        "server": ("127.0.0.1", 8765),
        "client": ("127.0.0.1", 1),
    }
    waiting = iter(messages)
    sent: list[Message] = []

    async def receive() -> Message:
        message = next(waiting)
        while isinstance(message, float):
            await asyncio.sleep(message)
            message = next(waiting)
        return message

    async def send(message: Message) -> None:
        sent.append(message)

    await service.app(scope, receive, send)
    return sent


async def test_an_aborted_request_is_no_error(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """The client closes the connection in the middle of its body: one line at debug level."""
    with caplog.at_level(logging.DEBUG, "mmsearch"):
        sent = await call(
            service,
            [
                {"type": "http.request", "body": b'{"query"', "more_body": True},
                {"type": "http.disconnect"},
            ],
        )
    assert sent == []
    [record] = [r for r in caplog.records if r.name == "mmsearch.service"]
    assert (record.levelno, record.exc_info) == (logging.DEBUG, None)


async def test_a_stalled_body_is_408(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is closed after the answer."""
    monkeypatch.setattr(RequestContext, "body_seconds", 0.05)
    sent = await call(
        service, [{"type": "http.request", "body": b'{"query"', "more_body": True}, 60.0]
    )
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


async def test_headers_must_arrive(service: Service) -> None:
    """A connection that sends half of a request is closed; one that sends all is answered."""

    class Impatient(LimitedProtocol):
        header_seconds = 0.3

    config = uvicorn.Config(service.app, port=0, http=Impatient, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        for begun in (b"", b"GET /healthz HTTP/1.1\r\nHost: localhost"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(begun)
            assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = await asyncio.wait_for(reader.readuntil(b'{"status":"ok"}'), 10)
            assert answer.startswith(b"HTTP/1.1 200")
        writer.close()
    finally:
        server.should_exit = True
        await serving
