"""Where a source's content lies: URIs, paths, and the way from one to the other.

Names are bytes to the operating system. A source's `uri` keeps them exactly (percent-encoded,
plain ASCII); its `path` is the same name as readable text, which SQL, JSON and terminals can
hold; `local_path` leads back from the URI to what `open` takes.

What lies inside another file (a shard's member, a table's row) has the URI of that file, `::`,
and a name of its own: `file:///data/00000.tar::000012.jpg`. A colon of a file's name is always
percent-encoded, so the two cannot be confused.
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
"""In a member's metadata: where its bytes begin in the shard. Never taken from a record."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class StoredContent:
    """Bytes on this machine: a whole file, or a part of one."""

    path: str
    offset: int = 0
    size: int | None = None
    """None: to the end."""


def uri_of(path: AnyPath) -> str:
    """The file: URI of a path, made absolute; any byte sequence survives in it."""
    absolute = os.path.abspath(os.fspath(path))  # noqa: PTH100  # links stay as they are
    return "file://" + quote_from_bytes(os.fsencode(absolute))


def member_uri(container: str, name: str) -> str:
    """The URI of what is called `name` inside of the file with the URI `container`."""
    return container + MEMBER + quote_from_bytes(name.encode("utf-8", "surrogateescape"))


def container_of(uri: str) -> str:
    """The URI of the file that holds it: its own, if it is not a member."""
    return uri.partition(MEMBER)[0]


def local_path(uri: str) -> str:
    """The path behind a file: URI, as `open` takes it. Raises ValueError for other URIs."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc or MEMBER in uri:
        raise ValueError(f"not the URI of a local file: {uri}")
    return os.fsdecode(unquote_to_bytes(uri.removeprefix("file://")))


def display_path(path: AnyPath) -> str:
    """The path as readable text: bytes that are no UTF-8 become escapes such as \\xe9."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_url(text: str) -> bool:
    """Whether it names something by scheme and //, as s3://bucket/name does; no file: URI."""
    return bool(_URL.match(text)) and not text.lower().startswith("file:")


def content_of(source: Source) -> StoredContent | None:
    """The source's bytes, None if they are not on this machine as a file or a part of one.

    Never guessed from `source.path`, which is only text.
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
        # A shard that was written again holds other bytes there.
        same = os.stat(path).st_mtime_ns == source.mtime_ns  # noqa: PTH116
    except OSError:
        return None
    return StoredContent(path, offset, source.size) if same else None
