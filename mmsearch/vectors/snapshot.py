"""Vector indexes as files: published atomically, refused when damaged or foreign.

A file is a magic word, the header's length and CRC-32, the header (JSON, UTF-8), zeros up
to a multiple of 64 bytes, then the payload: raw little-endian arrays, each beginning at a
multiple of 64 bytes, as the header lists them. Nothing in it is ever unpickled, and every
length is checked against the file before anything is read. The checksum finds damage; it
does not authenticate, so a library's folder is to be writable by its owner only.
"""

from __future__ import annotations

import json
import os
import secrets
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from mmsearch.errors import SnapshotError, StorageError

FORMAT = 1
"""Raised when a reader of before could not understand a file of now."""

_MAGIC = b"MMSINDEX"
_PREFIX = struct.Struct("<8sII")
_ALIGNMENT = 64
_LARGEST_HEADER = 1 << 20
_CHUNK = 1 << 24
_DTYPES = ("<i8", "<f2", "<f4", "|u1")
_Scalar = TypeVar("_Scalar", bound=np.generic)
Blocks = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class IndexContent:
    """An index as plain arrays, between the index and its file."""

    type: str
    dimension: int
    count: int
    """Live vectors."""
    parameters: Mapping[str, Any]
    """JSON values only."""
    recall: float | None
    blocks: Blocks


class Exportable(Protocol):
    """What a vector index offers to be written as a snapshot."""

    generation: int

    def export(self) -> IndexContent: ...


IndexT = TypeVar("IndexT", bound=Exportable)


def block(
    content: IndexContent, name: str, dtype: type[_Scalar], ndim: int
) -> npt.NDArray[_Scalar]:
    """One array of an index. Raises SnapshotError if it is missing or of another kind."""
    array = content.blocks.get(name)
    if array is None or array.dtype != dtype or array.ndim != ndim:
        raise SnapshotError(f"the snapshot has no usable part '{name}'")
    return array


@dataclass(frozen=True, slots=True)
class SnapshotKey:
    """What a snapshot belongs to. One of another key is foreign and refused."""

    library: str
    """The library's UUID."""
    space: str
    """The space's fingerprint."""
    channel: str
    """What part of the space it holds, such as a modality."""
    dimension: int


@dataclass(frozen=True, slots=True)
class SnapshotHeader:
    """What a snapshot says about itself."""

    key: SnapshotKey
    type: str
    count: int
    high_water_mark: int
    """Id of the last change-log row that the index contains."""
    generation: int
    """Counts up with every published snapshot."""
    created_at: datetime
    parameters: Mapping[str, Any]
    recall: float | None


# ---------------------------------------------------------------------------- publication


def write_snapshot(
    path: Path, index: Exportable, key: SnapshotKey, *, high_water_mark: int, generation: int
) -> SnapshotHeader:
    """Publish `index` at `path` in place of the snapshot that is there.

    `high_water_mark` must have been read before the index was last changed or during it,
    never after: rows replayed twice do no harm, rows left out would be lost.
    A reader sees the old file or the new one, whole; a killed writer leaves the old one.
    Raises StorageError if it cannot be written; the old snapshot then stays.
    """
    content = index.export()
    if content.dimension != key.dimension:
        raise SnapshotError(
            f"an index of dimension {content.dimension} is none of a space of {key.dimension}"
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
            _write(file, content, about)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"the snapshot {path} could not be written: {error}") from error
    index.generation = generation
    return header


def write_content(path: Path, content: IndexContent) -> None:
    """Write an index without key or atomicity. Raises StorageError."""
    try:
        with path.open("wb") as file:
            _write(file, content, {})
    except OSError as error:
        raise StorageError(f"the index {path} could not be written: {error}") from error


def remove_leftovers(path: Path) -> int:
    """Remove what killed writers of `path` left beside it; returns how many files.

    A writer holds a lock on its file, which the system drops when it dies in any way.
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
    """The index at `path` by way of `restore(content)`, for example `FaissIndex.restore`.

    Raises SnapshotError, which says what is wrong, if the file is missing, damaged, cut
    short, of a newer format, or of another library, space, channel or dimension.
    """
    content, raw = _read(path, expected)
    header = _header(raw, content, path)
    try:
        index = restore(content)
    except SnapshotError as error:
        raise SnapshotError(f"{path}: {error.message}") from error
    index.generation = header.generation
    return index, header


def read_content(path: Path) -> IndexContent:
    """What `write_content` wrote. Raises SnapshotError."""
    return _read(path, None)[0]


def read_header(path: Path) -> SnapshotHeader:
    """Only the header, without a look at the payload. Raises SnapshotError."""
    with _opened(path) as file:
        raw, _ = _read_header(file, path)
    content = IndexContent(
        type=_field(raw, "type", str, path),
        dimension=_field(raw, "dimension", int, path),
        count=_field(raw, "count", int, path),
        parameters=_field(raw, "parameters", dict, path),
        recall=raw.get("recall"),
        blocks={},
    )
    return _header(raw, content, path)


def _header(raw: Mapping[str, Any], content: IndexContent, path: Path) -> SnapshotHeader:
    try:
        created_at = datetime.fromisoformat(_field(raw, "created_at", str, path))
        key = SnapshotKey(**_field(raw, "key", dict, path))
    except (TypeError, ValueError) as error:
        raise SnapshotError(f"{path}: the header is malformed: {error}") from None
    return SnapshotHeader(
        key=key,
        type=content.type,
        count=content.count,
        high_water_mark=_field(raw, "high_water_mark", int, path),
        generation=_field(raw, "generation", int, path),
        created_at=created_at,
        parameters=content.parameters,
        recall=content.recall,
    )


def _read(path: Path, expected: SnapshotKey | None) -> tuple[IndexContent, dict[str, Any]]:
    with _opened(path) as file:
        raw, start = _read_header(file, path)
        if expected is not None:
            # Before the payload is read: a foreign file may be very large.
            _refuse_foreign(_field(raw, "key", dict, path), expected, path)
        length = _field(raw, "payload_length", int, path)
        present = os.fstat(file.fileno()).st_size - start
        if present != length:
            fault = "cut short" if present < length else "longer than written"
            raise SnapshotError(f"{path}: the file is {fault}: {present} of {length} payload bytes")
        payload = np.empty(length, dtype=np.uint8)
        checksum = _read_into(file, payload, path)
    if checksum != _field(raw, "checksum", int, path):
        raise SnapshotError(f"{path}: the checksum does not match: the file is damaged")
    recall = raw.get("recall")
    if recall is not None and not isinstance(recall, float):
        raise SnapshotError(f"{path}: the header's 'recall' is not a number")
    content = IndexContent(
        type=_field(raw, "type", str, path),
        dimension=_field(raw, "dimension", int, path),
        count=_field(raw, "count", int, path),
        parameters=_field(raw, "parameters", dict, path),
        recall=recall,
        blocks=dict(_blocks(_field(raw, "blocks", list, path), payload, path)),
    )
    return content, raw


def _read_header(file: BinaryIO, path: Path) -> tuple[dict[str, Any], int]:
    """The header as JSON and the offset of the payload."""
    prefix = file.read(_PREFIX.size)
    if len(prefix) < _PREFIX.size:
        raise SnapshotError(f"{path}: the file is cut short: it ends within its first bytes")
    magic, length, checksum = _PREFIX.unpack(prefix)
    if magic != _MAGIC:
        raise SnapshotError(f"{path}: this is not a vector index of mmsearch")
    if length > _LARGEST_HEADER:
        raise SnapshotError(f"{path}: the header is damaged: it claims {length} bytes")
    start = _aligned(_PREFIX.size + length)
    rest = file.read(start - _PREFIX.size)
    if len(rest) < start - _PREFIX.size:
        raise SnapshotError(f"{path}: the file is cut short within its header")
    header, padding = rest[:length], rest[length:]
    if zlib.crc32(header) != checksum or any(padding):
        raise SnapshotError(f"{path}: the checksum does not match: the header is damaged")
    try:
        raw = json.loads(header)
    except ValueError as error:
        raise SnapshotError(f"{path}: the header is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise SnapshotError(f"{path}: the header is not a JSON object")
    version = _field(raw, "format", int, path)
    if version != FORMAT:
        raise SnapshotError(f"{path}: written in format {version}; this version reads {FORMAT}")
    return raw, start


def _refuse_foreign(found: Mapping[str, Any], expected: SnapshotKey, path: Path) -> None:
    for name, wanted in asdict(expected).items():
        if found.get(name) != wanted:
            raise SnapshotError(
                f"{path}: belongs to another {name}: {found.get(name)!r} instead of {wanted!r}"
            )


def _field(raw: Mapping[str, Any], name: str, kind: type[Any], path: Path) -> Any:
    value = raw.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise SnapshotError(f"{path}: the header's '{name}' is missing or malformed")
    return value


def _blocks(
    table: list[Any], payload: npt.NDArray[np.uint8], path: Path
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Views into the payload, each checked to lie inside it."""
    offset = 0
    for row in table:
        try:
            name, dtype, shape = row["name"], row["dtype"], tuple(row["shape"])
        except (TypeError, KeyError):
            raise SnapshotError(f"{path}: the header's 'blocks' are malformed") from None
        if dtype not in _DTYPES or not all(type(n) is int and n >= 0 for n in shape):
            raise SnapshotError(f"{path}: part {name!r} is of an unknown kind: {dtype} {shape}")
        size = np.dtype(dtype).itemsize
        for n in shape:
            size *= n
        if offset + size > payload.size:
            raise SnapshotError(f"{path}: part {name!r} reaches beyond the end of the file")
        yield str(name), payload[offset : offset + size].view(dtype).reshape(shape)
        offset = _aligned(offset + size)


def _read_into(file: BinaryIO, payload: npt.NDArray[np.uint8], path: Path) -> int:
    """Fill `payload`; the checksum is taken while the bytes are in the cache."""
    view = memoryview(payload.data)
    checksum = 0
    for start in range(0, len(view), _CHUNK):
        chunk = view[start : start + _CHUNK]
        done = 0
        while done < len(chunk):
            count = file.readinto(chunk[done:])  # type: ignore[attr-defined]  # raw and buffered
            if not count:
                raise SnapshotError(f"{path}: the file became shorter while it was read")
            done += count
        checksum = zlib.crc32(chunk, checksum)
    return checksum


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise SnapshotError(f"{path}: there is no snapshot") from None
    except OSError as error:
        raise SnapshotError(f"{path}: cannot be read: {error}") from error


# ---------------------------------------------------------------------------- writing


def _write(file: BinaryIO, content: IndexContent, about: Mapping[str, Any]) -> None:
    arrays = {name: _plain(array) for name, array in content.blocks.items()}
    checksum, length = 0, 0
    for piece in _pieces(arrays):
        checksum = zlib.crc32(piece, checksum)
        length += len(piece)
    header = {
        "format": FORMAT,
        **about,
        "type": content.type,
        "dimension": content.dimension,
        "count": content.count,
        "parameters": dict(content.parameters),
        "recall": content.recall,
        "blocks": [
            {"name": name, "dtype": array.dtype.str, "shape": list(array.shape)}
            for name, array in arrays.items()
        ],
        "payload_length": length,
        "checksum": checksum,
    }
    encoded = json.dumps(header).encode()
    file.write(_PREFIX.pack(_MAGIC, len(encoded), zlib.crc32(encoded)))
    file.write(encoded)
    file.write(bytes(_aligned(_PREFIX.size + len(encoded)) - _PREFIX.size - len(encoded)))
    for piece in _pieces(arrays):
        file.write(piece)


def _plain(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Contiguous and little-endian."""
    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    if plain.dtype.str not in _DTYPES:
        raise ValueError(f"snapshots hold no arrays of {array.dtype}")
    return plain


def _pieces(arrays: Blocks) -> Iterator[memoryview]:
    """The payload's bytes in order, the filling between arrays included."""
    for array in arrays.values():
        if array.size:
            yield memoryview(array.reshape(-1).view(np.uint8).data)
        filling = _aligned(array.nbytes) - array.nbytes
        yield memoryview(bytes(filling))


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A locked new file beside `path`, removed again if it is not renamed."""
    while True:
        temporary = path.parent / f".{path.name}.{secrets.token_hex(6)}.tmp"
        with temporary.open("xb") as file:
            _lock(file, wait=True)
            if not temporary.exists():
                continue  # another writer tidied up between our creating and locking it
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
    """Make the rename durable, where folders can be opened for that."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
