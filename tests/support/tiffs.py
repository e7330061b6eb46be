"""TIFF files of any directories, written byte by byte."""

from __future__ import annotations

import struct
from typing import Any

Tags = dict[int, tuple[int, Any]]
"""By tag: the type (TIFF 6.0) and the value; bytes for ASCII."""


def a_raw(
    directories: list[Tags],
    blobs: list[bytes],
    *,
    order: str = "<",
    magic: bytes = b"",
    sub: list[Tags] | None = None,
) -> bytes:
    """A TIFF of these directories, of others below the first, and of pieces that stand anywhere."""
    mark = magic or (b"II*\0" if order == "<" else b"MM\0*")
    at = 8 + sum(map(len, blobs))
    below = b""
    places = []
    for tags in sub or []:
        places.append(at + len(below))
        below += directory(tags, at + len(below), 0, order)
    body = b""
    first = at + len(below)
    for number, tags in enumerate(directories):
        if number == 0 and places:
            tags = tags | {330: (4, places)}
        here = first + len(body)
        length = len(directory(tags, here, 0, order))
        following = here + length if number + 1 < len(directories) else 0
        body += directory(tags, here, following, order)
    return mark + struct.pack(order + "I", first) + b"".join(blobs) + below + body


def directory(tags: Tags, at: int, following: int, order: str) -> bytes:
    head = struct.pack(order + "H", len(tags))
    values = b""
    end = at + 2 + 12 * len(tags) + 4
    for tag, (kind, value) in sorted(tags.items()):
        content = value
        if not isinstance(value, bytes):
            items = value if isinstance(value, list) else [value]
            content = struct.pack(order + {3: "H", 4: "I"}[kind] * len(items), *items)
        count = len(content) // {1: 1, 2: 1, 3: 2, 4: 4}[kind]
        head += struct.pack(order + "HHI", tag, kind, count)
        if len(content) <= 4:
            head += content.ljust(4, b"\0")
        else:
            head += struct.pack(order + "I", end + len(values))
            values += content + b"\0" * (len(content) % 2)
    return head + struct.pack(order + "I", following) + values
