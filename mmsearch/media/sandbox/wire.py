"""The language between parent and decoding worker: messages of one JSON header and raw buffers.

::

    uint32 header length | header (JSON) | buffer | buffer | ...

The header's "buffers" gives each buffer's length in bytes. The reader trusts nothing: a worker
that has decoded a hostile file may say anything, so lengths, types and shapes are checked.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from mmsearch.media.parts import (
    AudioPart,
    Cue,
    DecodeRequest,
    FramePart,
    ImagePart,
    PagePart,
    Part,
    SoundPart,
    SubtitlePart,
    TextLine,
    TextPart,
)
from mmsearch.types import Preprocess

_LENGTH = struct.Struct("<I")
MAX_HEADER = 2**20
MAX_BUFFER = 2**30
MAX_DESCRIPTORS = 16


class WireError(Exception):
    """The other side is gone, or does not keep to the format."""


class WireTimeoutError(Exception):
    """Nothing complete came before the deadline."""


def send_descriptors(
    channel: socket.socket,
    descriptors: Sequence[int],
    header: Mapping[str, Any],
    buffers: Sequence[Any] = (),
) -> None:
    """Write one message that open descriptors come with. Raises OSError."""
    socket.send_fds(channel, [b"\0"], list(descriptors))
    send(channel.fileno(), header, buffers)


def receive_descriptors(
    channel: socket.socket,
) -> tuple[list[int], dict[str, Any], list[bytearray]]:
    """Read one message of `send_descriptors`: descriptors, header, buffers. Raises WireError."""
    try:
        mark, descriptors, _, _ = socket.recv_fds(channel, 1, MAX_DESCRIPTORS)
    except OSError as error:
        raise WireError(f"no message: {error}") from None
    if not mark:
        raise WireError("end of stream")
    return list(descriptors), *receive(channel.fileno())


def send(fd: int, header: Mapping[str, Any], buffers: Sequence[Any] = ()) -> None:
    """Write one message. Raises OSError when the other side is gone."""
    views = [memoryview(buffer).cast("B") for buffer in buffers if len(buffer)]
    text = json.dumps({**header, "buffers": [len(view) for view in views]}).encode()
    if len(text) > MAX_HEADER:
        raise WireError("header too long")
    pending = [memoryview(_LENGTH.pack(len(text)) + text), *views]
    while pending:
        written = os.writev(fd, pending)
        while pending and written >= len(pending[0]):
            written -= len(pending.pop(0))
        if written:
            pending[0] = pending[0][written:]


def receive(fd: int, deadline: float | None = None) -> tuple[dict[str, Any], list[bytearray]]:
    """Read one message; `deadline` in the time of `time.monotonic` needs a non-blocking `fd`.

    Raises WireTimeoutError, and WireError at the end of the stream or for a malformed message.
    """
    (length,) = _LENGTH.unpack(_read_exactly(fd, _LENGTH.size, deadline))
    if length > MAX_HEADER:
        raise WireError("header too long")
    try:
        header = json.loads(_read_exactly(fd, length, deadline))
        sizes = header["buffers"]
        if not all(type(size) is int and 0 < size <= MAX_BUFFER for size in sizes):
            raise WireError("bad buffer length")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WireError(f"malformed header: {error}") from None
    return header, [_read_exactly(fd, size, deadline) for size in sizes]


def _read_exactly(fd: int, length: int, deadline: float | None) -> bytearray:
    """`fd` is non-blocking where there is a deadline: what has come already costs no waiting."""
    data = bytearray(length)
    view = memoryview(data)
    while view:
        try:
            count = os.readv(fd, [view])
        except BlockingIOError:
            _wait(fd, deadline)
            continue
        if count == 0:
            raise WireError("end of stream")
        view = view[count:]
    return data


def _wait(fd: int, deadline: float | None) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    left = None if deadline is None else deadline - time.monotonic()
    if (left is not None and left <= 0) or not poll.poll(left and left * 1000):
        raise WireTimeoutError


# ------------------------------------------------------------------ requests


_REQUEST_FIELDS = tuple(field.name for field in fields(DecodeRequest) if field.name != "content")


def encode_request(request: DecodeRequest) -> tuple[dict[str, Any], list[Any]]:
    """(header, buffers) of a request."""
    header = {name: getattr(request, name) for name in _REQUEST_FIELDS}
    if request.preprocess is not None:
        header["preprocess"] = asdict(request.preprocess)
    return header, [] if not request.content else [request.content]


def decode_request(header: Mapping[str, Any], buffers: Sequence[bytearray]) -> DecodeRequest:
    """The inverse of `encode_request`."""
    given = {name: value for name, value in header.items() if name != "buffers"}
    spec: dict[str, Any] | None = given["preprocess"]
    if spec is not None:
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in spec.items()
        }
        given["preprocess"] = Preprocess(**values)
    given["kinds"] = tuple(given["kinds"])
    if given["path"] is None:
        given["content"] = bytes(buffers[0]) if buffers else b""
    return DecodeRequest(**given)


# ------------------------------------------------------------------ parts


def encode_part(part: Part) -> tuple[dict[str, Any], list[Any]]:
    """(header, buffers) of a part."""
    header: dict[str, Any] = {"mime": part.mime, "metadata": part.metadata}
    if isinstance(part, ImagePart):
        seen, buffers = _encode_seen(part)
        return header | {"part": "image"} | seen, buffers
    if isinstance(part, PagePart):
        seen, buffers = _encode_seen(part)
        lines = [[line.start, line.end, *line.box] for line in part.lines]
        header |= {"part": "page", "number": part.number, "title": part.title}
        header["about"] = dict(part.about)
        text = part.text.encode()
        header |= {"text": bool(text)} | seen
        # A page of a million characters has more lines than a header holds.
        buffers += [text, json.dumps(lines).encode()]
        return header, buffers
    if isinstance(part, FramePart):
        seen, buffers = _encode_seen(part)
        return (
            header
            | {"part": "frame", "start": part.start, "end": part.end, "moment": part.moment}
            | seen,
            buffers,
        )
    if isinstance(part, SubtitlePart):
        cues = [[cue.start, cue.end, cue.text] for cue in part.cues]
        return header | {"part": "subtitles"}, [json.dumps(cues).encode()]
    if isinstance(part, TextPart):
        return header | {"part": "text"}, [part.text.encode()]
    kind = "sound" if isinstance(part, SoundPart) else "audio"
    return (
        header | {"part": kind, "start": part.start, "last": part.last},
        [np.ascontiguousarray(part.samples)],
    )


def _encode_seen(part: ImagePart | PagePart | FramePart) -> tuple[dict[str, Any], list[Any]]:
    """What a part shows: its arrays' shapes and the buffers, pixels first."""
    header: dict[str, Any] = {"thumbnail": part.thumbnail is not None}
    buffers: list[Any] = []
    for name, array in (("pixels", part.pixels), ("picture", part.picture)):
        header[name] = None if array is None else array.shape
        if array is not None:
            buffers.append(np.ascontiguousarray(array).reshape(-1))
    if part.thumbnail is not None:
        buffers.append(part.thumbnail)
    return header, buffers


def decode_part(header: Mapping[str, Any], buffers: Sequence[bytearray]) -> Part:
    """The inverse of `encode_part`. Raises WireError if anything does not fit."""
    try:
        mime, metadata = str(header["mime"]), header["metadata"]
        if not isinstance(metadata, dict):
            raise WireError("metadata is not an object")
        kind = header["part"]
        rest = list(buffers)
        if kind == "image":
            return ImagePart(mime, metadata, **_decode_seen(header, rest))
        if kind == "page":
            seen = _decode_seen(header, rest)
            text = rest.pop(0).decode() if header["text"] else ""
            lines = tuple(
                TextLine(int(start), int(end), (float(x0), float(y0), float(x1), float(y1)))
                for start, end, x0, y0, x1, y1 in json.loads(rest.pop(0))
            )
            title = None if header["title"] is None else str(header["title"])
            about = header["about"]
            if not isinstance(about, dict):
                raise WireError("what a page says of itself is not an object")
            number = int(header["number"])
            return PagePart(mime, metadata, number, text, title, lines, **seen, about=about)
        if kind == "frame":
            start, end, moment = (float(header[name]) for name in ("start", "end", "moment"))
            return FramePart(mime, metadata, start, end, moment, **_decode_seen(header, rest))
        if kind == "subtitles":
            cues = tuple(Cue(float(a), float(b), str(c)) for a, b, c in json.loads(rest.pop(0)))
            return SubtitlePart(mime, metadata, cues)
        if kind == "text":
            return TextPart(mime, metadata, rest.pop(0).decode() if rest else "")
        if kind in ("audio", "sound"):
            samples = np.frombuffer(rest.pop(0) if rest else b"", np.float32)
            start, last = float(header["start"]), bool(header["last"])
            part = SoundPart if kind == "sound" else AudioPart
            return part(mime, metadata, samples, start, last)
        raise WireError(f"unknown part {kind!r}")
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise WireError(f"malformed part: {error}") from None


def _decode_seen(header: Mapping[str, Any], rest: list[bytearray]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for name in ("pixels", "picture"):
        shape = header[name]
        if shape is not None:
            height, width, channels = shape
            if channels != 3:
                raise WireError("pixels are not RGB")
            seen[name] = np.frombuffer(rest.pop(0), np.uint8).reshape(height, width, 3)
    if header["thumbnail"]:
        seen["thumbnail"] = bytes(rest.pop(0))
    return seen
