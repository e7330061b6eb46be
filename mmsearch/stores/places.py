"""Where the content of a source is: URIs, paths, and their conversion.

File names are bytes to the operating system. The `uri` of a source holds them exactly
(percent-encoded, plain ASCII). Its `path` is the same name as readable text, for SQL, JSON and
terminals. `local_path` converts the URI to what `open` takes.

The URI of a shard's member or a table's row is the URI of that file, `::` and the name in it:
`file:///data/00000.tar::000012.jpg`. A colon in a file name is always percent-encoded, so the
two cannot be confused.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

from mmsearch.types import Source

AnyPath = str | os.PathLike[str]

MEMBER = "::"
OFFSET_KEY = "shard_offset"
"""Metadata key of a member: the offset of its bytes in the shard. Ignored in records."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class StoredContent:
    """Bytes on this machine: a whole file, or a part of one."""

    path: str
    offset: int = 0
    size: int | None = None
    """None: to the end."""


def uri_of(path: AnyPath) -> str:
    """The file: URI of a path, made absolute. Any byte sequence is preserved."""
    absolute = os.path.abspath(os.fspath(path))  # noqa: PTH100  # links stay as they are
    return "file://" + quote_from_bytes(os.fsencode(absolute))


def member_uri(container: str, name: str) -> str:
    """The URI of `name` inside the file with the URI `container`."""
    return container + MEMBER + quote_from_bytes(name.encode("utf-8", "surrogateescape"))


def container_of(uri: str) -> str:
    """The URI of the file that contains a member; other URIs unchanged."""
    return uri.partition(MEMBER)[0]


def local_path(uri: str) -> str:
    """The path of a file: URI, as `open` takes it. ValueError for other URIs."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc or MEMBER in uri:
        raise ValueError(f"not the URI of a local file: {uri}")
    return os.fsdecode(unquote_to_bytes(uri.removeprefix("file://")))


def display_path(path: AnyPath) -> str:
    """The path as readable text. Bytes that are not UTF-8 become escapes such as \\xe9."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_url(text: str) -> bool:
    """Whether a text is a URL with scheme and //, such as s3://bucket/name; not a file: URI."""
    return bool(_URL.match(text)) and not text.lower().startswith("file:")


def content_of(source: Source) -> StoredContent | None:
    """The bytes of a source, None if they are not in a local file.

    `source.path` is never used: it is only text.
    """
    container = container_of(source.uri)
    try:
        path = local_path(container)
    except ValueError:
        return None
    if container == source.uri:
        return StoredContent(path)
    offset = source.metadata.get(OFFSET_KEY)
    if not isinstance(offset, int):
        return None
    try:
        # A shard that was written again has other bytes at this offset.
        same = os.stat(path).st_mtime_ns == source.mtime_ns  # noqa: PTH116
    except OSError:
        return None
    return StoredContent(path, offset, source.size) if same else None
