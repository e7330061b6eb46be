"""The outermost middleware: request ids, security headers, metrics, unexpected errors."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmsearch.service.errors import RequestError, response_of
from mmsearch.service.metrics import Metrics

log = logging.getLogger("mmsearch.service")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

BODY_SECONDS = 30.0
"""Between two pieces of a request's body."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    # Other sites' pages cannot embed what is here, not even blindly.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Headers that a route sets itself are not replaced."""


async def until_disconnect(receive: Receive) -> None:
    """Returns when the client has gone. The body must have been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


class RequestContext:
    """ASGI middleware: X-Request-ID, security headers, metrics, and a 500 without details.

    A body of which nothing arrives for `body_seconds` ends its request with 408.
    """

    body_seconds = BODY_SECONDS

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get("x-request-id", "")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        began = time.perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        complete = False

        async def receive_in_time() -> Message:
            nonlocal complete
            if complete:  # what follows is the end of the connection, whenever that is
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self.body_seconds)
            except TimeoutError:
                raise RequestError(
                    408, "body_timeout", "The rest of the body did not arrive.",
                    headers={"Connection": "close"},
                ) from None  # fmt: skip
            complete = message["type"] != "http.request" or not message.get("more_body", False)
            return message

        try:
            await self._app(scope, receive_in_time, send_with_headers)
        except ClientDisconnect:
            log.debug("request %s: the client closed the connection", request_id)
        except Exception as error:  # the last safety net
            if status:
                # The answer has begun: only a broken connection can still mark it as incomplete.
                log.warning("request %s broke off: %s", request_id, error)
                raise
            await response_of(scope, error)(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            # 499: the client disconnected before there was an answer.
            seconds = time.perf_counter() - began
            self._metrics.observe_request(scope["method"], route, status or 499, seconds)
