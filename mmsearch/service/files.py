"""Answers from files: conditional requests, byte ranges, and no harm to the browser (RFC 9110)."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import Mapping
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mmsearch.service.context import until_disconnect
from mmsearch.service.errors import RequestError

CHUNK_BYTES = 256 * 1024

_RANGE = re.compile(r"bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})", re.IGNORECASE)

NO_SCRIPT = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
"""An indexed file runs no script and fetches nothing from other hosts."""

SANDBOX = f"sandbox; {NO_SCRIPT}"
"""And has no origin. Not for media: the browser's player would lose its own file by it."""

_TEXT = re.compile(
    r"text/.*|image/svg\+xml|.*[+/](xml|json|yaml|toml|javascript|ecmascript|x-sh|x-python|x-ndjson)"
)
_MEDIA = re.compile(r"(image|audio|video)/")
_SHOWN = re.compile(r"(image|audio|video)/.*|application/(pdf|ogg)")


def media_headers(mime: str, name: str, charset: str | None) -> dict[str, str]:
    """Content-Type, disposition and policy under which a hostile file can be served.

    Pictures, recordings, video and PDF are shown; anything written in text, markup and scripts
    included, is shown as plain text; all else can only be saved.
    """
    kind = mime.partition(";")[0].strip().lower()
    shown = True
    if _TEXT.fullmatch(kind):
        kind = f"text/plain; charset={charset if _is_charset(charset) else 'utf-8'}"
    elif not _SHOWN.fullmatch(kind):
        kind, shown = "application/octet-stream", False
    headers = {
        "Content-Type": kind,
        "Content-Disposition": content_disposition(name, inline=shown),
        "Content-Security-Policy": NO_SCRIPT if _MEDIA.match(kind) else SANDBOX,
        "Cache-Control": "private, no-cache",
    }
    if kind == "application/pdf":
        # A sandboxed document may not start the browser's PDF viewer, which has its own sandbox.
        headers["Content-Security-Policy"] = "frame-ancestors 'self'"
    return headers


def _is_charset(charset: str | None) -> bool:
    return charset is not None and re.fullmatch(r"[A-Za-z0-9_.:-]{1,40}", charset) is not None


def content_disposition(name: str, *, inline: bool) -> str:
    """RFC 6266: an ASCII fallback, and the true name in UTF-8."""
    kind = "inline" if inline else "attachment"
    plain = re.sub(r"[^ !#$&+\-.0-9A-Z^_`a-z|~()\[\]]", "_", name)
    exact = quote(name.encode("utf-8", "replace"), safe="")
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{exact}"


def _open(path: Path) -> tuple[int, os.stat_result]:
    # Non-blocking: opening a pipe that took the file's place must not hang a thread.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise FileNotFoundError(path)
    return descriptor, status


class OpenFile(Response):
    """An answer with a file's content; headers and content are read from one descriptor."""

    def __init__(
        self,
        descriptor: int,
        status: os.stat_result,
        headers: Mapping[str, str],
        offset: int = 0,
        size: int | None = None,
    ) -> None:
        self._descriptor = descriptor
        self._offset = min(offset, status.st_size)
        rest = status.st_size - self._offset
        self._size = rest if size is None else min(size, rest)
        self._etag = f'"{status.st_mtime_ns:x}-{self._size:x}-{status.st_ino:x}-{offset:x}"'
        self._modified = formatdate(status.st_mtime, usegmt=True)
        self._own_headers = {
            **headers,
            "Accept-Ranges": "bytes",
            "ETag": self._etag,
            "Last-Modified": self._modified,
        }
        self.status_code = 200
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A player that seeks closes the connection: the rest of a long film must not be read.
        gone = asyncio.create_task(until_disconnect(receive))
        try:
            await self._answer(scope, send, gone)
        finally:
            gone.cancel()
            await asyncio.shield(asyncio.to_thread(os.close, self._descriptor))

    async def _answer(self, scope: Scope, send: Send, gone: asyncio.Task[None]) -> None:
        request = Headers(scope=scope)
        headers = dict(self._own_headers)
        start, end, status = 0, self._size, 200
        if self._not_modified(request):
            status, end = 304, 0
            headers.pop("Content-Type", None)
        else:
            wanted = self._range(request)
            if wanted is not None:
                start, end = wanted
                status = 206
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{self._size}"
            headers["Content-Length"] = str(end - start)
        raw = [(k.lower().encode(), v.encode("latin-1")) for k, v in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        if scope["method"] == "HEAD" or status == 304:
            end = start
        while start < end and not gone.done():
            size = min(CHUNK_BYTES, end - start)
            chunk = await asyncio.to_thread(os.pread, self._descriptor, size, self._offset + start)
            if not chunk:
                # Shorter than announced: the connection must break, not pretend to be complete.
                raise ConnectionError("the file became shorter while it was sent")
            start += len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if not gone.done():
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _not_modified(self, request: Headers) -> bool:
        tags = request.get("if-none-match")
        if tags is not None:
            known = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
            return "*" in known or self._etag in known
        return request.get("if-modified-since") == self._modified

    def _range(self, request: Headers) -> tuple[int, int] | None:
        """The wanted bytes, start to end; None for all of them. Raises RequestError 416.

        What cannot be understood, and more than one range, is answered whole, as RFC 9110
        (14.2) allows.
        """
        match = _RANGE.fullmatch(request.get("range", "").strip())
        if match is None or match.groups() == ("", ""):
            return None
        condition = request.get("if-range")
        if condition is not None and condition not in {self._etag, self._modified}:
            return None
        first, last = match.groups()
        if first == "":
            start, end = max(0, self._size - int(last)), self._size
        else:
            start, end = int(first), min(self._size, int(last) + 1 if last else self._size)
            if last and int(last) < start:
                return None
        if start >= self._size:
            raise RequestError(
                416, "range_not_satisfiable", f"The file has {self._size} bytes.",
                headers={"Content-Range": f"bytes */{self._size}"},
            )  # fmt: skip
        return start, end


async def file_response(
    path: Path, headers: Mapping[str, str], *, offset: int = 0, size: int | None = None
) -> OpenFile:
    """A file, or `size` bytes of it from `offset` on (a shard's member).

    Raises OSError if `path` cannot be opened, FileNotFoundError if it is no regular file.
    """
    descriptor, status = await asyncio.to_thread(_open, path)
    return OpenFile(descriptor, status, headers, offset, size)
