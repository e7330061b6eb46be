"""Fetching one http(s) URL to a file, from vetted addresses only, within limits.

Redirects are followed one by one, each through `addresses.vetted` again. The standard library's
HTTP client is used because it lets the connection go to an address that was checked before, and
takes no proxy from the environment.
"""

from __future__ import annotations

import hashlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urljoin

from indexer.inputs.addresses import Resolve, Target, refused, vetted
from mmsearch.errors import MediaError, StorageError

CHUNK = 256 * 1024
MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a server answered; `sha256` is empty where only the headers were requested."""

    url: str
    """After redirects."""
    size: int
    """Bytes; -1 if unknown."""
    mtime_ns: int
    """From Last-Modified; 0 if unknown."""
    etag: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Limits and permissions of fetching. Safe to use from several threads."""

    max_bytes: int = 512 * 2**20
    seconds: float = 120.0
    """For one URL in all, redirects and slow servers included."""
    allow_private: bool = False
    resolve: Resolve | None = None
    """Replaces the system's resolver, in tests."""

    def fetch(self, url: str, path: Path) -> Fetched:
        """The content, into the new file `path`.

        Raises MediaError (refused, network, missing, too_large, timeout, unreadable, empty), and
        StorageError if `path` cannot be written; then there is no file.
        """
        try:
            file = path.open("xb")
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}") from error
        try:
            with file, self._answer("GET", url) as (answer, final):
                size, digest = self._copy(answer, file.write)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        if not size:
            path.unlink(missing_ok=True)
            raise MediaError("empty", "The address answered with nothing.")
        etag = answer.headers.get("ETag", "")
        return Fetched(final, size, _modified(answer.headers), etag, digest)

    def look(self, url: str) -> Fetched:
        """Size and time only, by HEAD. As `fetch`, but a server that gives neither is no error."""
        with self._answer("HEAD", url) as (answer, final):
            length = answer.headers.get("Content-Length", "")
            size = int(length) if length.isdigit() else -1
            etag = answer.headers.get("ETag", "")
            return Fetched(final, size, _modified(answer.headers), etag)

    def _copy(
        self, answer: http.client.HTTPResponse, write: Callable[[bytes], int]
    ) -> tuple[int, str]:
        digest = hashlib.sha256()
        size = 0
        while chunk := answer.read(CHUNK):
            size += len(chunk)
            if size > self.max_bytes:
                raise _too_large(self.max_bytes)
            digest.update(chunk)
            try:
                write(chunk)
            except OSError as error:
                raise StorageError(f"the library cannot be written: {error.strerror}") from error
        if answer.length:  # what Content-Length promised and did not come
            raise MediaError("network", "The connection closed before the whole file was received.")
        return size, digest.hexdigest()

    @contextmanager
    def _answer(self, method: str, url: str) -> Iterator[tuple[http.client.HTTPResponse, str]]:
        """The answer that is no redirect; the connection is closed afterwards."""
        deadline = time.monotonic() + self.seconds
        for _ in range(MAX_REDIRECTS + 1):
            target = vetted(url, allow_private=self.allow_private, resolve=self.resolve)
            connection = _Connection(target, deadline)
            try:
                with _translated(self.seconds, connection):
                    answer = connection.send(method)
                    location = answer.headers.get("Location")
                    if answer.status in _REDIRECTS and location:
                        url = self._redirected(target, location)
                        continue
                    self._check(answer)
                    yield answer, url
                    return
            finally:
                connection.close()
        raise MediaError("network", f"The address redirects more than {MAX_REDIRECTS} times.")

    def _redirected(self, target: Target, location: str) -> str:
        try:
            url = urljoin(target.url, location)
        except ValueError:
            raise refused(location, "it is not an address") from None
        if target.scheme == "https" and url.lower().startswith("http:"):
            raise refused(url, "a secure address led to an insecure one")
        return url

    def _check(self, answer: http.client.HTTPResponse) -> None:
        status = answer.status
        if status in {404, 410}:
            raise MediaError("missing", f"The server has no such file ({status}).")
        if status in {401, 403, 407, 451}:
            raise MediaError("unreadable", f"The server refuses access to the file ({status}).")
        if status in _PASSING:
            raise MediaError("network", f"The server cannot answer now ({status}).")
        if status != 200:
            raise MediaError("network", f"The server gave an unexpected answer ({status}).")
        length = answer.headers.get("Content-Length", "")
        if length.isdigit() and int(length) > self.max_bytes:
            raise _too_large(self.max_bytes)
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            # The request refuses it: unpacking could be made a decompression bomb.
            raise MediaError("network", "The server sent the file compressed, which was refused.")


class _Connection:
    """One request to one vetted address, ended at the deadline however slowly bytes drip."""

    def __init__(self, target: Target, deadline: float) -> None:
        self._target = target
        self._deadline = deadline
        self._socket: socket.socket | None = None
        self._timer: threading.Timer | None = None
        self._http: http.client.HTTPConnection | None = None
        self._answer: http.client.HTTPResponse | None = None
        self.late = False

    def send(self, method: str) -> http.client.HTTPResponse:
        target = self._target
        self._socket = self._connected()
        self._timer = threading.Timer(max(0.0, self._deadline - time.monotonic()), self._end)
        self._timer.daemon = True
        self._timer.start()
        if target.scheme == "https":
            context = ssl.create_default_context()
            self._socket = context.wrap_socket(
                self._socket, server_hostname=target.host.strip("[]")
            )
        self._http = http.client.HTTPConnection(target.host.strip("[]"), target.port)
        self._http.sock = self._socket
        self._http.auto_open = 0  # a closed connection is never opened again, by name
        default = {"http": 80, "https": 443}[target.scheme]
        host = target.host if target.port == default else f"{target.host}:{target.port}"
        self._http.putrequest(method, target.path, skip_host=True, skip_accept_encoding=True)
        for name, value in (
            ("Host", host),
            ("User-Agent", "mmsearch"),
            ("Accept", "*/*"),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ):
            self._http.putheader(name, value)
        self._http.endheaders()
        self._answer = self._http.getresponse()
        return self._answer

    def _connected(self) -> socket.socket:
        error: OSError = ConnectionRefusedError()
        for address in self._target.addresses:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            # Not create_connection: that would resolve, and `address` is to be taken as it is.
            connection = socket.socket(family, socket.SOCK_STREAM)
            try:
                connection.settimeout(min(left, 20.0))
                connection.connect((address, self._target.port))
                connection.settimeout(left)
                return connection
            except OSError as problem:
                connection.close()
                error = problem
        raise error

    def _end(self) -> None:
        self.late = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._answer is not None:
            self._answer.close()
        if self._http is not None:
            self._http.close()
        if self._socket is not None:
            self._socket.close()


@contextmanager
def _translated(seconds: float, connection: _Connection) -> Iterator[None]:
    """Raise network errors as MediaError."""
    try:
        yield
    except MediaError:
        if connection.late:
            raise _timeout(seconds) from None
        raise
    except StorageError:
        raise
    except TimeoutError:
        raise _timeout(seconds) from None
    except ssl.SSLCertVerificationError as error:
        raise MediaError(
            "network", f"The server's certificate is not valid ({error.verify_message})."
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        if connection.late:
            raise _timeout(seconds) from None
        detail = getattr(error, "strerror", None) or type(error).__name__
        raise MediaError("network", f"The server could not be reached ({detail}).") from None


def _timeout(seconds: float) -> MediaError:
    return MediaError("timeout", f"Fetching took longer than {seconds:g} seconds.")


def _too_large(limit: int) -> MediaError:
    return MediaError("too_large", f"The file is larger than the {limit >> 20} MiB allowed.")


def _modified(headers: http.client.HTTPMessage) -> int:
    with suppress(ValueError, TypeError, OverflowError):
        when = parsedate_to_datetime(headers.get("Last-Modified", ""))
        return int(when.timestamp()) * 10**9
    return 0
