"""JSON requests to a model server, bounded in time and size.

The address comes from the settings, never from a query. Redirects are not followed. Keys, and
passwords in addresses, appear in no message and no log.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mmsearch.errors import RerankError, SettingsError

if TYPE_CHECKING:
    import httpx

MAX_ANSWER_BYTES = 2 * 2**20
_MAX_MESSAGE = 160


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of any status, with the body if it is JSON."""

    status: int
    value: Any
    """None if the body is not JSON."""
    message: str
    """The server's error message, shortened; "" for a success."""
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class JsonServer:
    """A server that takes JSON by POST. Thread-safe. Raises SettingsError for a bad address."""

    def __init__(self, url: str, key: str | None = None, *, setting: str = "rerank_url") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"{setting} must be an http:// or https:// address", param=setting)
        self.url = url.rstrip("/")
        self.host = parts.hostname + (f":{parts.port}" if parts.port else "")
        """For messages: without path, user and password."""
        self._key = key
        self._encrypted = parts.scheme == "https"
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    def post(self, url: str, body: Mapping[str, Any], seconds: float) -> Answer:
        """The response to `body`.

        Raises RerankError if the server is not reached, closes the connection, or exceeds
        `seconds` or MAX_ANSWER_BYTES.
        """
        import httpx

        deadline = time.monotonic() + seconds
        client = self._opened()
        try:
            with client.stream(
                "POST", url, json=body, timeout=httpx.Timeout(max(0.05, seconds))
            ) as response:
                content = bytearray()
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > MAX_ANSWER_BYTES:
                        raise RerankError(f"{self.host} sent more than {MAX_ANSWER_BYTES} bytes")
                    # httpx bounds each wait only: a slow stream of bytes would never time out.
                    if time.monotonic() > deadline:
                        raise RerankError(f"{self.host} took longer than {seconds:.3g} s")
        except httpx.TimeoutException:
            raise RerankError(f"{self.host} took longer than {seconds:.3g} s") from None
        except httpx.ConnectError:
            raise RerankError(f"{self.host} cannot be reached") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RerankError(
                f"{self.host} closed the connection ({type(error).__name__})"
            ) from None
        value = _parsed(bytes(content))
        return Answer(
            response.status_code,
            value,
            "" if response.is_success else _message(value, self._key),
            _seconds(response.headers.get("retry-after")),
        )

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _opened(self) -> httpx.Client:
        import httpx

        # Its log lines contain addresses.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        with self._lock:
            if self._client is None:
                headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
                self._client = httpx.Client(
                    headers=headers,
                    follow_redirects=False,
                    # Reading the certificates takes 0.2 s, and http needs none.
                    verify=self._encrypted,
                    limits=httpx.Limits(max_connections=64),
                )
            return self._client


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _message(value: Any, key: str | None) -> str:
    """The message in {"error": {"message"}}, {"error"}, {"detail"} or {"message"}."""
    message: Any = value
    for name in ("error", "message", "detail"):
        if isinstance(message, dict) and name in message:
            message = message[name]
    if message is None or message == value:
        return ""
    text = " ".join((message if isinstance(message, str) else json.dumps(message)).split())
    if key:
        text = text.replace(key, "[key]")
    return text[:_MAX_MESSAGE]


def _seconds(header: str | None) -> float | None:
    try:
        value = float(header) if header is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < 3600 else None
