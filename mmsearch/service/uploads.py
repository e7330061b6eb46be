"""Uploaded files: streamed to disk, hashed on the way, stored by their content.

`<library>/media/<first two digits>/<sha256>/<name>`: the same content twice is one file.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import unicodedata
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ParamSpec, TypeVar

from fastapi import Request

from mmsearch.errors import StorageError
from mmsearch.service.bodies import Part, multipart_parts
from mmsearch.service.errors import RequestError
from mmsearch.stores.places import container_of, local_path, uri_of
from mmsearch.stores.store import SqlStore
from mmsearch.types import Source

if TYPE_CHECKING:
    from mmsearch.library import LibrarySearcher

MEDIA_FOLDER = "media"
INCOMING_FOLDER = ".incoming"
MAX_NAME_BYTES = 150
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


def store_by_content(media: Path, path: Path, name: str, digest: str) -> Path:
    """Move a complete, synced file to the path of its content, unless one is there already."""
    folder = media / digest[:2] / digest
    folder.mkdir(parents=True, exist_ok=True)
    known = sorted(file for file in folder.iterdir() if file.is_file())
    if known:
        path.unlink()
        return known[0]
    target = folder / name
    path.replace(target)
    for changed in (folder, folder.parent, media):
        _sync_folder(changed)
    return target


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def receive_uploads(
    request: Request, library: Path, limit: int
) -> tuple[list[Path], str | None]:
    """The files of a form, stored, and the name of the collection that they are for, if given.

    Raises RequestError 400, 413, 422 and StorageError; then nothing of the request
    remains but complete files, which a later upload of the same content uses.
    """
    media = library.absolute() / MEDIA_FOLDER
    collection = bytearray()
    stored: list[Path] = []
    incoming: _Incoming | None = None
    try:
        async for part, chunk in multipart_parts(request, limit):
            if part.filename is None:
                if part.name != "collection":
                    raise RequestError(
                        422, "invalid_parameter",
                        f"Unknown field {part.name!r}. Fields: collection, and files.",
                        param=part.name,
                    )  # fmt: skip
                collection += chunk or b""
                if len(collection) > 800:
                    raise RequestError(
                        422, "invalid_parameter", "The collection's name is too long.",
                        param="collection",
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
    if not stored:
        raise RequestError(422, "no_file", "The form has no file.", param="file")
    name = collection.decode("utf-8", "replace").strip()
    return list(dict.fromkeys(stored)), name or None


async def on_disk(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Blocking work on a file, in a thread. Raises StorageError in place of OSError."""
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except OSError as error:
        raise StorageError(f"the upload could not be stored: {error.strerror or error}") from None


def delete_upload(engine: LibrarySearcher, source: Source) -> None:
    """Delete a removed source's file if it was uploaded here and nothing refers to it any more: no
    source, be it the file or a member of it, and no job that waits for it or works on it."""
    media = (engine.library.path.absolute() / MEDIA_FOLDER).resolve()
    try:
        path = Path(local_path(container_of(source.uri)))
    except ValueError:  # it is elsewhere
        return
    if path.is_symlink() or not path.resolve().is_relative_to(media):
        return
    if not _is_referenced(engine.library.store, path):
        path.unlink(missing_ok=True)
        # Not if another name of the same content is still in it.
        if not any(path.parent.iterdir()):
            path.parent.rmdir()


def _is_referenced(store: SqlStore, path: Path) -> bool:
    uri = uri_of(path)
    if any(store.sources.ids_below(c.id, [uri]) for c in store.collections.list()):
        return True
    waiting = store.jobs.list(states=UNFINISHED, limit=MAX_JOBS)
    return any(os.fspath(path) in job.task.get("paths", ()) for job in waiting)
