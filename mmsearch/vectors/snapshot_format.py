"""The bytes of a snapshot file: a header and raw arrays, all of it checked while it is read.

A file is a magic word, the header's length and CRC-32, the header (JSON, UTF-8), zeros up
to a multiple of 64 bytes, then the payload: raw little-endian arrays, each beginning at a
multiple of 64 bytes, as the header lists them. Nothing in it is ever unpickled, and every
length is checked against the file before anything is read. The checksum finds damage; it
does not authenticate, so a library's folder is to be writable by its owner only.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from mmsearch.errors import SnapshotError

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


def block(
    content: IndexContent, name: str, dtype: type[_Scalar], ndim: int
) -> npt.NDArray[_Scalar]:
    """One array of an index. Raises SnapshotError if it is missing or of another kind."""
    array = content.blocks.get(name)
    if array is None or array.dtype != dtype or array.ndim != ndim:
        raise SnapshotError(f"the snapshot has no usable part '{name}'")
    return array


# ---------------------------------------------------------------------------- reading


def read_header_fields(file: BinaryIO, path: Path) -> tuple[dict[str, Any], int]:
    """The header's fields and the offset of the payload. Raises SnapshotError."""
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
    version = header_field(raw, "format", int, path)
    if version != FORMAT:
        raise SnapshotError(f"{path}: written in format {version}; this version reads {FORMAT}")
    return raw, start


def read_content(file: BinaryIO, path: Path, fields: Mapping[str, Any], start: int) -> IndexContent:
    """The index that follows a header. `path` is for messages only.

    Raises SnapshotError if the payload is damaged or does not fit the header.
    """
    length = header_field(fields, "payload_length", int, path)
    present = os.fstat(file.fileno()).st_size - start
    if present != length:
        fault = "cut short" if present < length else "longer than written"
        raise SnapshotError(f"{path}: the file is {fault}: {present} of {length} payload bytes")
    payload = np.empty(length, dtype=np.uint8)
    checksum = _read_into(file, payload, path)
    if checksum != header_field(fields, "checksum", int, path):
        raise SnapshotError(f"{path}: the checksum does not match: the file is damaged")
    recall = fields.get("recall")
    if recall is not None and not isinstance(recall, float):
        raise SnapshotError(f"{path}: the header's 'recall' is not a number")
    return IndexContent(
        type=header_field(fields, "type", str, path),
        dimension=header_field(fields, "dimension", int, path),
        count=header_field(fields, "count", int, path),
        parameters=header_field(fields, "parameters", dict, path),
        recall=recall,
        blocks=dict(_blocks(header_field(fields, "blocks", list, path), payload, path)),
    )


def header_field(raw: Mapping[str, Any], name: str, kind: type[Any], path: Path) -> Any:
    """One field of a header. Raises SnapshotError if it is missing or of another type."""
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


# ---------------------------------------------------------------------------- writing


def write_content(file: BinaryIO, content: IndexContent, about: Mapping[str, Any]) -> None:
    """Write a whole snapshot; `about` are further fields of the header. Raises OSError."""
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
