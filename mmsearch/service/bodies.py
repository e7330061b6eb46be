"""Request bodies, read with a limit and never whole in memory unless asked to.

`read_body` for JSON; `multipart_parts` streams the parts of multipart/form-data one after
the other, so that an upload goes to disk as it arrives.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from mmsearch.service.errors import RequestError

MAX_PARTS = 1000


def content_type_of(request: Request) -> str:
    """The media type without its parameters, in lower case; "" if there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def limited_stream(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body in pieces. Raises RequestError 413 as soon as it must be over `limit` bytes."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise _too_large(limit)
        if chunk:
            yield chunk


def _too_large(limit: int) -> RequestError:
    # The rest of the body is not read: the connection cannot be used for another request.
    return RequestError(
        413, "body_too_large", f"The body is larger than the {limit} bytes allowed here.",
        headers={"Connection": "close"},
    )  # fmt: skip


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises RequestError 413."""
    return b"".join([chunk async for chunk in limited_stream(request, limit)])


@dataclass(slots=True)
class Part:
    """One part of a form, as its header tells it."""

    name: str
    filename: str | None
    content_type: str


@dataclass(slots=True)
class _Header:
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)


Event = tuple[Part, bytes | None]
"""A piece of the part's content; None when the part is complete."""


class _Events:
    """Turns the parser's callbacks into events."""

    def __init__(self, boundary: bytes) -> None:
        self.ready: list[Event] = []
        self.complete = False
        self._count = 0
        self._header = _Header()
        self._headers: dict[bytes, bytes] = {}
        self._part: Part | None = None
        self.parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._finish,
            },
        )

    def _begin(self) -> None:
        self._count += 1
        if self._count > MAX_PARTS:
            raise RequestError(400, "too_many_parts", f"A form has at most {MAX_PARTS} parts.")
        self._headers = {}
        self._part = None

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header.name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header.value += data[start:end]

    def _header_end(self) -> None:
        self._headers[bytes(self._header.name).lower()] = bytes(self._header.value)
        self._header = _Header()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        if b"name" not in options:
            raise RequestError(400, "malformed_form", "A part of the form has no name.")
        filename = options.get(b"filename")
        kind = self._headers.get(b"content-type", b"").partition(b";")[0]
        self._part = Part(
            options[b"name"].decode("utf-8", "replace"),
            None if filename is None else filename.decode("utf-8", "replace"),
            kind.decode("latin-1").strip().lower(),
        )

    def _data(self, data: bytes, start: int, end: int) -> None:
        assert self._part is not None
        self.ready.append((self._part, data[start:end]))

    def _end(self) -> None:
        assert self._part is not None
        self.ready.append((self._part, None))

    def _finish(self) -> None:
        self.complete = True


async def multipart_parts(request: Request, limit: int) -> AsyncIterator[Event]:
    """The form's parts, in order and in pieces. Raises RequestError 400, 413."""
    _, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if not boundary:
        raise RequestError(400, "malformed_form", "The form's Content-Type names no boundary.")
    try:
        events = _Events(boundary)
        async for chunk in limited_stream(request, limit):
            events.parser.write(chunk)
            ready, events.ready = events.ready, []
            for event in ready:
                yield event
        events.parser.finalize()
    except FormParserError:
        raise RequestError(400, "malformed_form", "The form cannot be read.") from None
    if not events.complete:
        raise RequestError(400, "malformed_form", "The form ends in the middle of a part.")


async def read_form(
    request: Request, limit: int
) -> tuple[dict[str, str], list[tuple[Part, bytes]]]:
    """A whole form in memory: its fields by name, and its files.

    A part is a file if it has a file name. Raises RequestError 400, 413.
    """
    fields: dict[str, str] = {}
    files: list[tuple[Part, bytes]] = []
    pieces: list[bytes] = []
    async for part, chunk in multipart_parts(request, limit):
        if chunk is not None:
            pieces.append(chunk)
            continue
        content, pieces = b"".join(pieces), []
        if part.filename is not None:
            files.append((part, content))
        elif part.name in fields:
            raise RequestError(
                400, "malformed_form", f"The field {part.name!r} is given twice.", param=part.name
            )
        else:
            try:
                fields[part.name] = content.decode("utf-8")
            except UnicodeDecodeError:
                raise RequestError(
                    400, "malformed_form", f"The field {part.name!r} is not UTF-8.", param=part.name
                ) from None
    return fields, files
