"""Tar shards, WebDataset's among them: every member is a source, read where it lies.

Members with one key (their name up to the first dot of its last part) belong together, as
WebDataset writes them: `000012.jpg`, `000012.txt`, `000012.json`. Beside content, a .json is
metadata and a .txt the caption. Nothing is ever unpacked under a name from the shard.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from indexer.inputs.content import (
    IN_MEMORY,
    Broken,
    Content,
    FilePart,
    InlineBytes,
    Item,
    as_captions,
)
from indexer.inputs.sidecars import split_captions
from indexer.inputs.walk import is_left_out
from mmsearch.errors import MediaError
from mmsearch.stores.places import OFFSET_KEY, display_path, member_uri
from mmsearch.types import SourceFile

PLAIN = (".tar",)
COMPRESSED = (".tar.gz", ".tgz")
MAX_SIDE_BYTES = 2**20
MAX_GROUP = 64
"""Members with one key that belong together; more are a group of their own."""

_KEY = re.compile(r"(.*?(?:^|/)[^./][^./]*)\.([^/]+)", re.DOTALL)
_SIDE = ("json", "txt", "caption", "captions", "cls")


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much a shard may hold."""

    members: int
    bytes: int
    """Unpacked, of a compressed one."""


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    size: int
    offset: int
    data: bytes | None
    """Of side files, and of all members of a compressed shard."""


def is_shard(name: str) -> bool:
    """Whether a file's name is that of a tar."""
    return name.lower().endswith(PLAIN + COMPRESSED)


def members(path: str, limits: ArchiveLimits, shard: SourceFile, *, stays: bool) -> Iterator[Item]:
    """The items in a shard, in its order.

    `path` is where it can be read, `shard` its record, which for a fetched shard names its
    address; unless it `stays` where it is read, items hold their bytes themselves.
    Raises MediaError where it is damaged, after what came before.
    """
    group: list[_Member] = []
    key = ""
    held = 0
    """Bytes of the group in memory."""
    try:
        for member in _read(path, limits, stays=stays):
            match = _KEY.fullmatch(member.name)
            member_key = match[1] if match else member.name
            if group and (member_key != key or len(group) >= MAX_GROUP or held >= IN_MEMORY):
                yield from _items(group, path, shard)
                group, held = [], 0
            key = member_key
            group.append(member)
            held += len(member.data or b"")
    except MediaError:
        yield from _items(group, path, shard)
        raise
    yield from _items(group, path, shard)


def _read(path: str, limits: ArchiveLimits, *, stays: bool) -> Iterator[_Member]:
    try:
        with open(path, "rb") as raw:  # noqa: PTH123  # the path may hold undecodable bytes
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream: Any = gzip.GzipFile(fileobj=raw) if packed else raw
            file = _Bounded(stream, limits.bytes if packed else None)
            with tarfile.open(fileobj=cast("BinaryIO", file), mode="r:") as tar:
                for count, info in enumerate(tar):
                    if count >= limits.members:
                        raise MediaError(
                            "too_large", f"The shard has more than {limits.members} members."
                        )
                    # The list of all members that tarfile keeps would grow with the shard.
                    tar.members = []  # type: ignore[attr-defined]
                    if _is_wanted(info):
                        yield _member(tar, info, whole=packed or not stays)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise MediaError("corrupt", f"The shard is damaged ({error}).") from None
    except OSError as error:
        raise MediaError("unreadable", f"The shard cannot be read: {error.strerror}.") from None


def _is_wanted(info: tarfile.TarInfo) -> bool:
    """Plain files only: links and devices lead out of the shard. What a walk leaves out of a
    folder is left out here too."""
    parts = [part for part in info.name.split("/") if part not in ("", ".", "..")]
    return (
        info.isreg()
        and not info.issparse()
        and not info.name.endswith("/")
        and bool(parts)
        and not any(map(is_left_out, parts))
    )


def _member(tar: tarfile.TarFile, info: tarfile.TarInfo, *, whole: bool) -> _Member:
    side = info.name.rpartition(".")[2].lower() in _SIDE and info.size <= MAX_SIDE_BYTES
    data = None
    if whole and info.size > IN_MEMORY:
        return _Member(info.name, info.size, -1, None)
    if whole or side:
        opened = tar.extractfile(info)
        assert opened is not None  # a regular file
        data = opened.read()
        if len(data) < info.size:
            raise tarfile.ReadError("unexpected end of data")
    return _Member(info.name, info.size, info.offset_data, data)


def _items(group: list[_Member], path: str, shard: SourceFile) -> Iterator[Item]:
    content = [member for member in group if not _is_side(member)]
    side = [member for member in group if _is_side(member)]
    if not content:  # a note by itself is content
        content, side = side, []
    metadata, captions = _side_metadata(side)
    for member in content:
        place: Content
        extra: dict[str, Any] = {}
        if member.data is not None:
            place = InlineBytes(member.data, member.name)
        elif member.offset < 0:
            place = Broken(
                "too_large",
                f"Files of more than {IN_MEMORY >> 20} MiB are not read out of a shard that is "
                "compressed or elsewhere; bring it here and unpack it.",
            )
        else:
            place = FilePart(path, member.offset, member.size, member.name)
            extra = {OFFSET_KEY: member.offset}
        yield Item(
            SourceFile(
                member_uri(shard.uri, member.name),
                f"{shard.path}::{display_path(member.name)}",
                member.size,
                shard.mtime_ns,
            ),
            place,
            metadata | extra,
            captions,
        )


def _is_side(member: _Member) -> bool:
    match = _KEY.fullmatch(member.name)
    return member.data is not None and match is not None and match[2].lower() in _SIDE


def _side_metadata(side: list[_Member]) -> tuple[dict[str, Any], tuple[str, ...]]:
    metadata: dict[str, Any] = {}
    captions: tuple[str, ...] = ()
    for member in side:
        text = (member.data or b"").decode("utf-8", "replace")
        match member.name.rpartition(".")[2].lower():
            case "json":
                try:
                    record = json.loads(text)
                except (ValueError, RecursionError):
                    continue
                if isinstance(record, dict):
                    more, captions_here = split_captions(record)
                    metadata |= more
                    captions = captions or captions_here
            case "cls":
                metadata["class"] = text.strip()[:200]
            case _:
                captions = as_captions(text) or captions
    return metadata, captions


class _Bounded:
    """A file with a limit per read, and in all if it is unpacked."""

    def __init__(self, file: Any, total: int | None) -> None:
        self._file = file
        self._total = total

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > IN_MEMORY:  # a header may announce gigabytes
            raise tarfile.ReadError("an entry is too large")
        data: bytes = self._file.read(size)
        self._check()
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        # Seeking forward in a compressed file unpacks what it passes, in small pieces.
        if self._total is not None and whence == os.SEEK_SET and offset > self._total:
            raise MediaError("too_large", "The shard unpacks to more than is allowed.")
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def _check(self) -> None:
        if self._total is not None and self._file.tell() > self._total:
            raise MediaError("too_large", "The shard unpacks to more than is allowed.")
