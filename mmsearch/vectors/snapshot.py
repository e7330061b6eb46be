"""Vector indexes as files: replaced atomically, refused when damaged or foreign.

The bytes of a file are described in `mmsearch.vectors.snapshot_format`.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from mmsearch.errors import SnapshotError, StorageError
from mmsearch.vectors.snapshot_format import (
    IndexContent,
    header_field,
    read_content,
    read_header_fields,
    write_content,
)


class Exportable(Protocol):
    """An index that can be written as a snapshot."""

    generation: int

    def export(self) -> IndexContent: ...


IndexT = TypeVar("IndexT", bound=Exportable)


@dataclass(frozen=True, slots=True)
class SnapshotKey:
    """What a snapshot belongs to. One with another key is foreign and refused."""

    library: str
    """The library's UUID."""
    space: str
    """The space's fingerprint."""
    channel: str
    """Collection and modality."""
    dimension: int


@dataclass(frozen=True, slots=True)
class SnapshotHeader:
    """A snapshot's description of itself."""

    key: SnapshotKey
    type: str
    count: int
    high_water_mark: int
    """Id of the last change-log row that the index contains."""
    generation: int
    """Counts up with every snapshot."""
    created_at: datetime
    parameters: Mapping[str, Any]
    recall: float | None


# ---------------------------------------------------------------------------- writing


def write_snapshot(
    path: Path, index: Exportable, key: SnapshotKey, *, high_water_mark: int, generation: int
) -> SnapshotHeader:
    """Write `index` to `path` in place of the snapshot that is there.

    `high_water_mark` must have been read before the index was last changed or during it,
    never after: rows may be replayed twice, but rows that are left out would be lost.
    A reader sees the old file or the new one, whole; a killed writer leaves the old one.
    Raises StorageError if it cannot be written; the old snapshot then stays.
    """
    content = index.export()
    if content.dimension != key.dimension:
        raise SnapshotError(
            f"an index of dimension {content.dimension} does not fit a space of {key.dimension}"
        )
    header = SnapshotHeader(
        key=key,
        type=content.type,
        count=content.count,
        high_water_mark=high_water_mark,
        generation=generation,
        created_at=datetime.now(UTC),
        parameters=content.parameters,
        recall=content.recall,
    )
    about = {
        "key": asdict(key),
        "high_water_mark": high_water_mark,
        "generation": generation,
        "created_at": header.created_at.isoformat(),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        with _temporary(path) as (file, temporary):
            write_content(file, content, about)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"the snapshot {path} could not be written: {error}") from error
    index.generation = generation
    return header


def remove_leftovers(path: Path) -> int:
    """Remove the temporary files of killed writers of `path`; returns how many.

    A writer holds a lock on its file. The system releases it when the process ends.
    """
    removed = 0
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        with suppress(FileNotFoundError), leftover.open("rb") as file:
            if _lock(file):
                leftover.unlink()
                removed += 1
    return removed


# ---------------------------------------------------------------------------- reading


def read_snapshot(
    path: Path, expected: SnapshotKey, restore: Callable[[IndexContent], IndexT]
) -> tuple[IndexT, SnapshotHeader]:
    """The index at `path`, restored from its content, for example by `FaissIndex.restore`.

    Raises SnapshotError if the file is missing, damaged, truncated, of a newer format, or of
    another library, space, channel or dimension.
    """
    with _opened(path) as file:
        fields, start = read_header_fields(file, path)
        # Before the payload is read: a foreign file may be very large.
        _refuse_foreign(header_field(fields, "key", dict, path), expected, path)
        content = read_content(file, path, fields, start)
    header = _header(fields, path)
    try:
        index = restore(content)
    except SnapshotError as error:
        raise SnapshotError(f"{path}: {error.message}") from error
    index.generation = header.generation
    return index, header


def read_header(path: Path) -> SnapshotHeader:
    """Only the header; the payload is not checked. Raises SnapshotError."""
    with _opened(path) as file:
        fields, _ = read_header_fields(file, path)
    return _header(fields, path)


def _header(fields: Mapping[str, Any], path: Path) -> SnapshotHeader:
    try:
        created_at = datetime.fromisoformat(header_field(fields, "created_at", str, path))
        key = SnapshotKey(**header_field(fields, "key", dict, path))
    except (TypeError, ValueError) as error:
        raise SnapshotError(f"{path}: the header is malformed: {error}") from None
    return SnapshotHeader(
        key=key,
        type=header_field(fields, "type", str, path),
        count=header_field(fields, "count", int, path),
        high_water_mark=header_field(fields, "high_water_mark", int, path),
        generation=header_field(fields, "generation", int, path),
        created_at=created_at,
        parameters=header_field(fields, "parameters", dict, path),
        recall=fields.get("recall"),
    )


def _refuse_foreign(key: Mapping[str, Any], expected: SnapshotKey, path: Path) -> None:
    for name, value in asdict(expected).items():
        if key.get(name) != value:
            raise SnapshotError(
                f"{path}: belongs to another {name}: {key.get(name)!r} instead of {value!r}"
            )


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if path.exists() and not path.is_file():
        # Opening a pipe would wait for a writer, and a device may have no end.
        raise SnapshotError(f"{path}: is not a regular file")
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise SnapshotError(f"{path}: there is no snapshot") from None
    except OSError as error:
        raise SnapshotError(f"{path}: cannot be read: {error}") from error


# ---------------------------------------------------------------------------- files


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A locked new file beside `path`, removed again if it is not renamed."""
    while True:
        temporary = path.parent / f".{path.name}.{secrets.token_hex(6)}.tmp"
        with temporary.open("xb") as file:
            _lock(file, wait=True)
            if not temporary.exists():
                continue  # another writer removed it before it was locked
            try:
                yield file, temporary
            finally:
                temporary.unlink(missing_ok=True)
        return


def _lock(file: BinaryIO, *, wait: bool = False) -> bool:
    """Whether the file could be locked, that is, whether no living writer holds it."""
    if sys.platform == "win32":
        return False  # open files cannot be removed there: leftovers stay
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or a file system without locks: leftovers stay there
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Make the rename durable on systems that can sync folders."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
