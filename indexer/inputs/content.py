"""Items: what is to be indexed, and how its bytes are opened when its turn comes.

An item is cheap and holds no bytes where that can be avoided: a run lists thousands before it
opens the first. `opened` makes the bytes readable by a decoding worker, and removes temporary
files afterwards.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from io import BufferedReader
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from indexer.inputs.fetch import Fetcher
from mmsearch.errors import MediaError, StorageError
from mmsearch.media.sandbox.files import open_regular
from mmsearch.types import Metadata, Modality, SegmentDraft, SourceFile

CHUNK = 2**20
IN_MEMORY = 32 * 2**20
"""Parts of a shard up to this size are handed to the decoder as bytes, larger ones as a file."""

T = TypeVar("T")


class Spool:
    """A folder in the library for what is fetched or unpacked, until it has been decoded."""

    LEFTOVER_SECONDS = 24 * 3600.0

    def __init__(self, library: Path, fetcher: Fetcher) -> None:
        self.folder = library / "spool"
        self.fetcher = fetcher

    def new(self) -> Path:
        """The path of a file that does not exist yet."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.folder} cannot be made: {error.strerror}") from None
        return self.folder / secrets.token_hex(16)

    @contextmanager
    def file(self) -> Iterator[Path]:
        """A path that is gone afterwards."""
        path = self.new()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove what killed runs have left behind."""
        if not self.folder.is_dir():
            return
        for path in self.folder.iterdir():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > self.LEFTOVER_SECONDS:
                    path.unlink()


@dataclass(frozen=True, slots=True)
class Opened:
    """Bytes at hand: one of `path`, `data`, `text` and `vector`."""

    sha256: str
    size: int
    path: str | None = None
    data: bytes | None = None
    text: str | None = None
    """A record's words: text as it is, never looked at for what kind of file it might be."""
    name: str = ""
    """Its extension may decide between kinds of text."""
    vector: npt.NDArray[np.float16] | None = None
    """A picture that is only here as its vector in the `clip` space; `name` is its media type."""


class Content(Protocol):
    """Where an item's bytes are: the seam for local files, web files, members of shards, rows of
    tables and files of object stores. Frozen; used by one thread of a run at a time."""

    def opened(self, spool: Spool) -> AbstractContextManager[Opened]:
        """The bytes, for the duration of the context. Raises MediaError if they cannot be had,
        StorageError if the spool cannot be written."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to index, and its metadata from outside of its bytes."""

    file: SourceFile
    content: Content
    metadata: Metadata = field(default_factory=dict)
    """From a sidecar, a record or a shard; joined with the metadata in the file."""
    captions: tuple[str, ...] = ()
    revision: str = ""
    """Shows a change where size and time do not (an ETag, a hash of a record's text)."""

    @property
    def stamp(self) -> str:
        """A fingerprint of the metadata from outside of it; "" if there is none."""
        if not self.metadata and not self.captions and not self.revision:
            return ""
        outside = json.dumps([self.metadata, self.captions, self.revision], sort_keys=True)
        return hashlib.sha256(outside.encode()).hexdigest()[:16]

    @property
    def weight(self) -> int:
        """Bytes of memory that it holds."""
        return len(self.content.data) if isinstance(self.content, InlineBytes) else 0


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file where it lies."""

    path: str

    @contextmanager
    def opened(self, spool: Spool) -> Iterator[Opened]:  # noqa: ARG002
        with _reading(self.path) as file:
            before = _version(os.fstat(file.fileno()))
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
        yield Opened(digest, size, path=self.path)
        try:
            after = _version(os.stat(self.path))  # noqa: PTH116
        except OSError:  # its content was read to the end
            return
        if after != before:
            raise MediaError("changed", "The file was changed while it was read.")


@dataclass(frozen=True, slots=True)
class FilePart:
    """Some bytes of a file: a member of a shard."""

    path: str
    offset: int
    size: int
    name: str

    @contextmanager
    def opened(self, spool: Spool) -> Iterator[Opened]:
        with _reading(self.path) as file:
            file.seek(self.offset)
            if self.size <= IN_MEMORY:
                data = file.read(self.size)
                if len(data) < self.size:
                    raise MediaError("corrupt", "The shard ends in the middle of this file.")
                digest = hashlib.sha256(data).hexdigest()
                yield Opened(digest, self.size, data=data, name=self.name)
                return
            with spool.file() as path:
                digest = copied(file, path, self.size)
                yield Opened(digest, self.size, path=os.fspath(path), name=self.name)


@dataclass(frozen=True, slots=True)
class InlineBytes:
    """Bytes of a table's row, or of a member of a compressed shard."""

    data: bytes = field(repr=False)
    name: str = ""

    @contextmanager
    def opened(self, spool: Spool) -> Iterator[Opened]:  # noqa: ARG002
        if not self.data:
            raise MediaError("empty", "There is nothing in it.")
        digest = hashlib.sha256(self.data).hexdigest()
        yield Opened(digest, len(self.data), data=self.data, name=self.name)


@dataclass(frozen=True, slots=True)
class Words:
    """A record's text."""

    text: str

    @contextmanager
    def opened(self, spool: Spool) -> Iterator[Opened]:  # noqa: ARG002
        if not self.text.strip():
            raise MediaError("empty", "It holds no text.")
        data = self.text.encode()
        yield Opened(hashlib.sha256(data).hexdigest(), len(data), text=self.text)


@dataclass(frozen=True, slots=True)
class WebFile:
    """What is at an http(s) URL; the address guard stands before it."""

    url: str

    @contextmanager
    def opened(self, spool: Spool) -> Iterator[Opened]:
        with spool.file() as path:
            fetched = spool.fetcher.fetch(self.url, path)
            name = self.url.partition("?")[0].rpartition("/")[2]
            yield Opened(fetched.sha256, fetched.size, path=os.fspath(path), name=name)


@dataclass(frozen=True, slots=True)
class Broken:
    """Content that is known to be unusable before it is opened."""

    code: str
    reason: str

    @contextmanager
    def opened(self, spool: Spool) -> Iterator[Opened]:  # noqa: ARG002
        raise MediaError(self.code, self.reason)
        yield  # a generator, as the others


@contextmanager
def _reading(path: str) -> Iterator[BufferedReader]:
    try:
        with open(open_regular(path), "rb") as file:  # noqa: PTH123  # a descriptor
            yield file
    except OSError as error:
        raise MediaError("unreadable", f"The file cannot be read: {error.strerror}.") from None


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def copied(source: Any, path: Path, limit: int) -> str:
    """At most `limit` bytes into a new file; returns their SHA-256."""
    digest = hashlib.sha256()
    try:
        with path.open("xb") as target:
            while limit > 0 and (chunk := source.read(min(CHUNK, limit))):
                digest.update(chunk)
                target.write(chunk)
                limit -= len(chunk)
    except OSError as error:
        raise StorageError(f"the library cannot be written: {error.strerror}") from error
    return digest.hexdigest()


def file_hash(path: Path) -> tuple[str, int]:
    """(SHA-256, size) of the content. Raises MediaError if it cannot be read."""
    with _reading(os.fspath(path)) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), stream.tell()


def batches(
    items: Iterator[T], size: int, *, weight: Callable[[T], int] = lambda _: 0, most: int = 2**26
) -> Iterator[list[T]]:
    """Lists of at most `size` items, and of about `most` bytes."""
    batch: list[T] = []
    held = 0
    for item in items:
        batch.append(item)
        held += weight(item)
        if len(batch) == size or held >= most:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def joined_metadata(in_file: Mapping[str, Any], item: Item) -> dict[str, Any]:
    """The metadata in a file, overridden by that from outside of it."""
    joined = dict(in_file) | dict(item.metadata)
    if item.captions:
        joined["caption"] = item.captions[0]
        if len(item.captions) > 1:
            joined["captions"] = list(item.captions)
    return joined


def captioned(drafts: Sequence[SegmentDraft], captions: Sequence[str]) -> tuple[SegmentDraft, ...]:
    """With the captions as words of the first picture, before those that stand in it."""
    with_words = list(drafts)
    for n, draft in enumerate(with_words if captions else ()):
        if draft.modality is Modality.IMAGE:
            words = "\n".join(captions)
            with_words[n] = replace(draft, text=f"{words}\n{draft.text}" if draft.text else words)
            break
    return tuple(with_words)


def as_captions(value: Any) -> tuple[str, ...]:
    """One caption or several, as records give them."""
    several: Sequence[Any] = [value] if isinstance(value, str) else value or ()
    if not isinstance(several, list | tuple):
        return ()
    words = (clean_text(text).strip() for text in several if isinstance(text, str))
    return tuple(dict.fromkeys(text for text in words if text))


def clean_text(text: str) -> str:
    """Text that SQL, JSON and UTF-8 can hold: NUL and unpaired surrogates become spaces."""
    if text.isascii() and "\0" not in text:
        return text
    return "".join(" " if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)
