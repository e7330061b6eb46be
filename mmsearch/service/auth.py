"""Who may send requests: API keys, and the guard against other web sites' pages.

Keys travel as `Authorization: Bearer KEY`. Pictures and players in a page cannot send that
header, so `POST /v1/session` hands the page a short-lived cookie that opens nothing but
`GET` of media and thumbnails, and from which the key cannot be had.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import time
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from mmsearch.errors import ConfigurationError
from mmsearch.service.errors import RequestError, response_of
from mmsearch.settings import Settings

SESSION_COOKIE = "mmsearch_media"
SESSION_SECONDS = 12 * 3600
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_LOOPBACK_HOST = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_SESSION_PATH = re.compile(r"/v1/sources/\d+/(media|thumbnail)")


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reachable from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_bind(settings: Settings) -> None:
    """Raise ConfigurationError if the service would be open to other machines without keys."""
    if any(not key.strip() for key in settings.api_keys):
        raise ConfigurationError("An API key must not be empty.", param="api_keys")
    if any(not (key.isascii() and key.isprintable()) for key in settings.api_keys):
        raise ConfigurationError(
            "An API key has characters beyond printable ASCII, which HTTP headers do not carry "
            "reliably. Choose letters, digits and signs.",
            param="api_keys",
        )
    if not settings.api_keys and not is_loopback(settings.host):
        raise ConfigurationError(
            f"Listening on {settings.host} would open the library to other machines. "
            "Set api_keys (or MMSEARCH_API_KEYS), or listen on 127.0.0.1.",
            param="host",
        )


def key_matches(key: str, keys: Sequence[str]) -> bool:
    """Compares with every key in constant time."""
    matches = False
    for known in keys:
        matches |= hmac.compare_digest(key.encode(), known.encode())
    return matches


def session_token(key: str, *, now: float | None = None) -> str:
    """A value of the media cookie. It is valid for SESSION_SECONDS."""
    expires = int((time.time() if now is None else now) + SESSION_SECONDS)
    return f"{expires}.{_signature(key, expires)}"


def session_valid(token: str, keys: Sequence[str], *, now: float | None = None) -> bool:
    """Whether one of `keys` signed this token, and it has not expired."""
    expires, _, signature = token.partition(".")
    if not expires.isascii() or not expires.isdigit() or len(expires) > 12:
        return False
    if int(expires) < (time.time() if now is None else now):
        return False
    matches = False
    for key in keys:
        matches |= hmac.compare_digest(signature.encode(), _signature(key, int(expires)).encode())
    return matches


def _signature(key: str, expires: int) -> str:
    return hmac.new(key.encode(), f"mmsearch media {expires}".encode(), hashlib.sha256).hexdigest()


def bearer_key(headers: Headers) -> str | None:
    """The key of the Authorization header, or None."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None


class Guard:
    """ASGI middleware that refuses requests without a valid key or from other sites."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._keys = settings.api_keys
        # With keys a rebound name gains an attacker nothing, and a reverse proxy on this
        # machine may pass on the public name.
        self._loopback_only = is_loopback(settings.host) and not settings.api_keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except RequestError as error:
            await response_of(scope, error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if len(headers.getlist("host")) > 1:
            raise RequestError(400, "duplicate_host", "The request has more than one Host header.")
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            raise RequestError(422, "invalid_parameter", "The address has a NUL character.")
        if self._loopback_only and not _LOOPBACK_HOST.fullmatch(headers.get("host", "")):
            raise RequestError(
                403, "host_not_allowed",
                "This service answers to localhost only. To reach it under another name, "
                "set api_keys and the address to listen on.",
            )  # fmt: skip
        path: str = scope["path"]
        in_api = path == "/v1" or path.startswith("/v1/")
        if in_api or scope["method"] not in SAFE_METHODS:
            _check_origin(headers)
        if self._keys and in_api:
            self._check_key(headers, scope["method"], path)

    def _check_key(self, headers: Headers, method: str, path: str) -> None:
        key = bearer_key(headers)
        if key is not None:
            if key_matches(key, self._keys):
                return
        elif method in SAFE_METHODS and _SESSION_PATH.fullmatch(path):
            token = cookie_parser(headers.get("cookie", "")).get(SESSION_COOKIE, "")
            if session_valid(token, self._keys):
                return
        raise RequestError(
            401,
            "invalid_key" if key is not None else "missing_key",
            "This key is not valid."
            if key is not None
            else "A key is needed: Authorization: Bearer KEY.",
            headers={"WWW-Authenticate": "Bearer"},
        )


def _check_origin(headers: Headers) -> None:
    """Browsers name the site of the page that sends a request; other clients name none.

    Reading counts, too: a page of another site learns from the time and size of answers.
    """
    origin = headers.get("origin")
    same = origin is None or origin.partition("://")[2].lower() == headers.get("host", "").lower()
    if not same or headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
        raise RequestError(
            403, "cross_origin", "Pages of other sites may not change, search or read this library."
        )
