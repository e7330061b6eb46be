"""What the user named, as a stream of items: folders, files, lists, shards, tables, URLs."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from indexer.inputs import remote, shards, tables
from indexer.inputs.content import Item, LocalFile, Spool
from indexer.inputs.fetch import Fetcher
from indexer.inputs.shards import ArchiveLimits
from indexer.inputs.sidecars import is_sidecar, read_sidecars
from indexer.inputs.walk import Globs, WalkProblem, WalkRecord, walk
from mmsearch.errors import MediaError, NotFoundError, QueryError
from mmsearch.settings import Settings
from mmsearch.stores.places import AnyPath, display_path, is_url, local_path, uri_of
from mmsearch.types import SourceFile

MAX_NAME = 64 * 1024
"""Bytes of one line of a list of names."""


@dataclass(frozen=True, slots=True)
class Named:
    """What is to be indexed, as it was named."""

    paths: tuple[AnyPath, ...] = ()
    """Files, folders, and URLs as text."""
    listed: Iterable[str] = ()
    """Many more of them, read only as the run goes on."""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ready: Iterable[Item] = ()
    """Items that were opened already."""

    @property
    def urls(self) -> list[str]:
        return [path for path in self.paths if isinstance(path, str) and is_url(path)]

    @property
    def local(self) -> list[AnyPath]:
        return [_local(path) for path in self.paths if not (isinstance(path, str) and is_url(path))]


class Inputs:
    """Lists the items of what was named. Each run has its own."""

    def __init__(
        self, settings: Settings, on_problem: Callable[[WalkProblem], None] = lambda _: None
    ) -> None:
        self._settings = settings
        self._report = on_problem
        self._limits = ArchiveLimits(settings.max_archive_members, settings.max_archive_mb * 2**20)
        self.spool = Spool(
            settings.library,
            Fetcher(
                max_bytes=settings.max_fetch_mb * 2**20,
                seconds=settings.fetch_seconds,
                allow_private=settings.fetch_private_addresses,
            ),
        )
        self.complete: set[str] = set()
        """URIs of the shards and tables that were read to their end."""
        self.folders = WalkRecord()

    def items(self, named: Named) -> Iterator[Item]:
        """Everything, in an order that depends on names only; problems are reported."""
        self.spool.clear()
        explicit = [path for path in named.local if _is_table_file(path)]
        folders = [path for path in named.local if path not in explicit]
        for path in explicit:
            yield from self._table(os.fspath(path))
        yield from self._files(folders, named)
        for url in named.urls:
            yield from self._url(url, named)
        yield from self._listed(named)
        yield from named.ready

    def _files(self, paths: Sequence[AnyPath], named: Named) -> Iterator[Item]:
        files = walk(
            paths,
            include=named.include,
            exclude=named.exclude,
            # A library may lie inside the folder that it indexes.
            skip=[self._settings.library],
            on_problem=self._report,
            record=self.folders,
        )
        for file in files:
            yield from self.file_items(file)

    def file_items(self, file: SourceFile) -> Iterator[Item]:
        """A file as one item, or as those in it."""
        path = local_path(file.uri)
        if shards.is_shard(path):
            yield from self._shard(path, file, stays=True)
        elif not (is_sidecar(path) or _describes_shard(path)):
            metadata, captions = read_sidecars(path)
            yield Item(file, LocalFile(path), metadata, captions)

    def _shard(self, path: str, shard: SourceFile, *, stays: bool) -> Iterator[Item]:
        try:
            yield from shards.members(path, self._limits, shard, stays=stays)
            self.complete.add(shard.uri)
        except MediaError as error:
            self._report(WalkProblem(shard.path, error.code, error.reason))

    def _table(self, path: str) -> Iterator[Item]:
        try:
            yield from tables.records(path)
            self.complete.add(uri_of(path))
        except MediaError as error:
            self._report(WalkProblem(display_path(path), error.code, error.reason))

    def _url(self, url: str, named: Named) -> Iterator[Item]:
        globs = Globs(named.include, named.exclude)
        try:
            for item in remote.listed(url, self.spool, wants=globs.wants_file):
                if shards.is_shard(item.file.path.partition("?")[0]):
                    yield from self._fetched_shard(item)
                else:
                    yield item
            if remote.is_whole(url) and not (named.include or named.exclude):
                self.complete.add(url.rstrip("/") + "/")
        except MediaError as error:
            self._report(WalkProblem(url, error.code, error.reason))

    def _fetched_shard(self, item: Item) -> Iterator[Item]:
        try:
            with item.content.opened(self.spool) as opened:
                assert opened.path is not None
                yield from self._shard(opened.path, item.file, stays=False)
        except MediaError as error:
            self._report(WalkProblem(item.file.path, error.code, error.reason))

    def _listed(self, named: Named) -> Iterator[Item]:
        """As the paths, but one by one: a list may be longer than memory is large."""
        for name in named.listed:
            if is_url(name):
                yield from self._url(name, named)
                continue
            path = os.fspath(_local(name))
            if _is_table_file(path):
                yield from self._table(path)
            else:
                yield from self._files([path], named)


def check_named(named: Named) -> None:
    """Raise NotFoundError or QueryError if there is nothing to index, before a library is made."""
    for url in named.urls:
        remote.check_url(url)
    if not named.paths and not named.listed:
        raise QueryError("name at least one file or folder to index", param="paths")
    if named.urls or named.listed:
        return
    if not any(os.path.exists(path) for path in named.local):  # noqa: PTH110
        missing = ", ".join(str(path) for path in named.paths)
        raise NotFoundError(f"there is nothing to index: {missing} does not exist", param="paths")


def read_list(stream: BinaryIO) -> Iterator[str]:
    """Names from a stream, one a line, or each ended by a NUL byte (`find -print0`)."""
    end = b"\n"
    rest = b""
    first = True
    while chunk := stream.read1(MAX_NAME) if hasattr(stream, "read1") else stream.read(MAX_NAME):
        if first and b"\0" in chunk:
            end = b"\0"
        first = False
        *names, rest = (rest + chunk).split(end)
        if len(rest) > MAX_NAME:
            raise QueryError("a line of the list is too long to be a name", param="from-list")
        yield from (os.fsdecode(name) for name in map(_stripped, names) if name)
    if _stripped(rest):
        yield os.fsdecode(_stripped(rest))


def open_list(name: str) -> Iterator[str]:
    """The names in a file, or on standard input for "-"; read as they are asked for.

    Raises QueryError at once if there is no such file.
    """
    if name == "-":
        return read_list(sys.stdin.buffer)
    try:
        stream = Path(name).open("rb")  # noqa: SIM115  # closed when all was read
    except OSError as error:
        raise QueryError(f"the list {name} cannot be read: {error.strerror}",
                         param="from-list") from None  # fmt: skip

    def names() -> Iterator[str]:
        with stream:
            yield from read_list(stream)

    return names()


def _stripped(line: bytes) -> bytes:
    return line.removesuffix(b"\r")


def _local(path: AnyPath) -> AnyPath:
    """A path as the walk takes it; a file: URI becomes one."""
    if isinstance(path, str) and path.lower().startswith("file:"):
        try:
            return local_path(path)
        except ValueError as error:
            raise QueryError(str(error), param="paths") from None
    return os.path.expanduser(os.fspath(path))  # noqa: PTH111  # may hold undecodable bytes


def absolute(path: str) -> str:
    """The same path for a process that runs elsewhere; a URL as it is."""
    return path if is_url(path) else os.path.abspath(os.fspath(_local(path)))  # noqa: PTH100


def _is_table_file(path: AnyPath) -> bool:
    name = os.fspath(path)
    try:
        return tables.is_table(name) and stat.S_ISREG(os.stat(name).st_mode)  # noqa: PTH116
    except (OSError, ValueError):
        return False


def _describes_shard(path: str) -> bool:
    """`00000.parquet` and `00000_stats.json` beside `00000.tar`, as img2dataset writes them."""
    for suffix in (".parquet", "_stats.json"):
        if path.endswith(suffix):
            return os.path.exists(path.removesuffix(suffix) + ".tar")  # noqa: PTH110
    return False
