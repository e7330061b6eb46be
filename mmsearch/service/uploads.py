"""Uploaded files: streamed to disk, hashed on the way, stored by their content.

`<library>/media/<first two digits>/<sha256>/<name>`: the same content twice is one file.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import threading
import unicodedata
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ParamSpec, TypeVar

from fastapi import Request

from mmsearch.errors import StorageError
from mmsearch.service.bodies import Part, multipart_parts
from mmsearch.service.errors import RequestError
from mmsearch.service.targets import read_flag
from mmsearch.stores.places import container_of, local_path, uri_of
from mmsearch.stores.store import SqlStore
from mmsearch.types import Source

if TYPE_CHECKING:
    from mmsearch.library import LibrarySearcher

MEDIA_FOLDER = "media"
INCOMING_FOLDER = ".incoming"
MAX_NAME_BYTES = 150
FIELDS = ("collection", "create")
MAX_FIELD_BYTES = 800
UNFINISHED = ("queued", "running", "paused")
"""States of jobs that may still read their files."""
MAX_JOBS = 1_000_000

P = ParamSpec("P")
T = TypeVar("T")


def safe_name(name: str) -> str:
    """A file name that is only a name: no folders, no control characters, not hidden."""
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])
    name = "".join(
        c for c in name if c.isprintable() and unicodedata.category(c) not in {"Cf", "Cs"}
    )
    name = name.strip().lstrip(".").strip()
    suffix = Path(name).suffix
    stem = name.removesuffix(suffix)
    suffix = suffix if len(suffix.encode()) <= 20 else ""
    stem = stem.encode()[: MAX_NAME_BYTES - len(suffix.encode())].decode("utf-8", "ignore")
    return f"{stem}{suffix}" if stem.strip(" .") else f"upload{suffix}"


class _Incoming:
    """One file that is being received. Blocking: every method runs in a thread."""

    def __init__(self, media: Path, part: Part) -> None:
        folder = media / INCOMING_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        self.name = safe_name(part.filename or "")
        self._media = media
        self._path = folder / uuid.uuid4().hex
        self._file: BinaryIO = self._path.open("xb")
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)
        self.size += len(data)

    def store(self) -> Path:
        """Durable on disk under its content's name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return store_by_content(self._media, self._path, self.name, self._digest.hexdigest())

    def delete(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


class FilesInUse:
    """Stored files whose job is not in the queue yet. They are not deleted. Thread-safe."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        """Held while a file is stored or deleted."""
        self._counts: Counter[Path] = Counter()

    def add(self, path: Path) -> None:
        with self.lock:
            self._counts[path] += 1

    def release(self, paths: Iterable[Path]) -> None:
        """The files' job is in the queue, or will not be."""
        with self.lock:
            self._counts.subtract(paths)
            self._counts = +self._counts

    def __contains__(self, path: Path) -> bool:
        return path in self._counts


IN_USE = FilesInUse()
"""Of this process: it is the only one that stores and deletes uploads of its libraries."""


def store_by_content(media: Path, path: Path, name: str, digest: str) -> Path:
    """Move a complete, synced file to the path of its content, unless one is there already.

    The result is in `IN_USE` until the caller releases it.
    """
    folder = media / digest[:2] / digest
    with IN_USE.lock:
        folder.mkdir(parents=True, exist_ok=True)
        known = sorted(file for file in folder.iterdir() if file.is_file())
        if known:
            path.unlink()
            IN_USE.add(known[0])
            return known[0]
        target = folder / name
        path.replace(target)
        IN_USE.add(target)
    for changed in (folder, folder.parent, media):
        _sync_folder(changed)
    return target


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class ReceivedForm:
    """The stored files of a form, and its fields."""

    files: tuple[Path, ...]
    collection: str | None
    create: bool
    """Whether the collection is made if it does not exist."""


@asynccontextmanager
async def received_uploads(
    request: Request, library: Path, limit: int
) -> AsyncIterator[ReceivedForm]:
    """The files of a form, stored, and its fields. The files are in use until the block ends.

    Raises RequestError 400, 413, 422, QueryError and StorageError; then nothing of the request
    remains but complete files, which a later upload of the same content uses.
    """
    stored: list[Path] = []
    try:
        fields = await _receive(request, library.absolute() / MEDIA_FOLDER, limit, stored)
        if not stored:
            raise RequestError(422, "no_file", "The form has no file.", param="file")
        yield ReceivedForm(
            tuple(dict.fromkeys(stored)),
            fields["collection"].decode("utf-8", "replace").strip() or None,
            read_flag(fields["create"].decode("utf-8", "replace"), "create"),
        )
    finally:
        IN_USE.release(stored)


async def _receive(
    request: Request, media: Path, limit: int, stored: list[Path]
) -> dict[str, bytearray]:
    """The fields of a form. Its files are appended to `stored`, each as soon as it is complete."""
    fields = {name: bytearray() for name in FIELDS}
    incoming: _Incoming | None = None
    try:
        async for part, chunk in multipart_parts(request, limit):
            if part.filename is None:
                if part.name not in fields:
                    raise RequestError(
                        422, "invalid_parameter",
                        f"Unknown field {part.name!r}. Fields: {', '.join(FIELDS)}, and files.",
                        param=part.name,
                    )  # fmt: skip
                fields[part.name] += chunk or b""
                if len(fields[part.name]) > MAX_FIELD_BYTES:
                    raise RequestError(
                        422, "invalid_parameter", f"The field {part.name} is too long.",
                        param=part.name,
                    )  # fmt: skip
                continue
            if incoming is None:
                incoming = await on_disk(_Incoming, media, part)
            if chunk is not None:
                await on_disk(incoming.write, chunk)
                continue
            if incoming.size == 0:
                raise RequestError(
                    422, "empty_file", f"The file {incoming.name!r} is empty.", param=part.name
                )
            stored.append(await on_disk(incoming.store))
            incoming = None
    finally:
        if incoming is not None:
            await asyncio.shield(asyncio.to_thread(incoming.delete))
    return fields


async def on_disk(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Blocking work on a file, in a thread. Raises StorageError in place of OSError."""
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except OSError as error:
        raise StorageError(f"the upload could not be stored: {error.strerror or error}") from None


def delete_upload(engine: LibrarySearcher, source: Source) -> None:
    """Delete a removed source's file if it was uploaded here and nothing refers to it any more.

    That is a source, be it the file or a member of it, a job that waits for it or works on it, or
    an upload that is being answered.
    """
    media = (engine.library.path.absolute() / MEDIA_FOLDER).resolve()
    try:
        path = Path(local_path(container_of(source.uri)))
    except ValueError:  # it is elsewhere
        return
    if path.is_symlink() or not path.resolve().is_relative_to(media):
        return
    with IN_USE.lock:
        if path not in IN_USE and not _is_referenced(engine.library.store, path):
            path.unlink(missing_ok=True)
            # Not if another name of the same content is still in it.
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()


def _is_referenced(store: SqlStore, path: Path) -> bool:
    # The queue first: a job that ends in between has written its source.
    waiting = store.jobs.list(states=UNFINISHED, limit=MAX_JOBS)
    if any(os.fspath(path) in job.task.get("paths", ()) for job in waiting):
        return True
    uri = uri_of(path)
    return any(store.sources.ids_below(c.id, [uri]) for c in store.collections.list())
