"""Tables of records: JSON Lines, and Parquet as img2dataset and its kin write it.

Each record is a source. Its content is, in this order: bytes in a column of their own, a file
below the table's folder, what is at a web address (behind the address guard), or its text. Text
of a record is never opened as a path or an address. Every other column is metadata.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from indexer.inputs.content import (
    Broken,
    Content,
    InlineBytes,
    Item,
    LocalFile,
    WebFile,
    Words,
    as_captions,
    clean_text,
)
from indexer.inputs.sidecars import split_captions
from mmsearch.errors import MediaError, MissingDependencyError
from mmsearch.stores.places import display_path, is_url, member_uri, uri_of
from mmsearch.types import SourceFile

LINES = (".jsonl", ".ndjson")
PARQUET = (".parquet",)
MAX_LINE = 16 * 2**20
ROWS = 64
"""Rows of a Parquet file in memory at once."""
MAX_COLUMNS = 10_000
MAX_ROW_GROUP = 2**32
"""Bytes that a row group of a Parquet file may unpack to, by its own account."""
MAX_ROWS_BYTES = 2**30
"""Bytes of ROWS rows."""

# By preference. Names are compared without regard to case.
_BYTES = ("image", "jpg", "jpeg", "png", "webp", "audio", "wav", "mp3", "flac", "video", "bytes")
_PATH = ("path", "file", "file_name", "filename", "image_path", "audio_path", "filepath")
_URL = ("url", "image_url", "audio_url")
_TEXT = ("text", "content", "body")
_KEY = ("id", "key", "__key__", "uid", "uuid")


def is_table(name: str) -> bool:
    """Whether a file's name is that of a table of records."""
    return name.lower().endswith(LINES + PARQUET)


def records(path: str) -> Iterator[Item]:
    """The items of a table. Raises MediaError where it is damaged, after what came before."""
    rows = _lines(path) if path.lower().endswith(LINES) else _parquet(path)
    table = _Table(path)
    for number, row in rows:
        yield table.item(number, row)


class _Table:
    """What all records of one table share."""

    def __init__(self, path: str) -> None:
        self._uri = uri_of(path)
        self._shown = display_path(path)
        self._folder = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120

    def item(self, number: int, row: Mapping[str, Any] | None) -> Item:
        """The item of one record; None is a line that cannot be read."""
        if row is None:
            broken = Broken("corrupt", "This line is not a JSON object.")
            return self._member(str(number), broken)
        names = {name.lower(): name for name in row if isinstance(name, str)}
        used: set[str] = set()

        def take(wanted: tuple[str, ...], kind: type | tuple[type, ...]) -> Any:
            for name in wanted:
                value = row.get(names.get(name, ""))
                if isinstance(value, kind) and value:
                    used.add(names[name])
                    return value
            return None

        key = take(_KEY, (str, int))
        data = take(_BYTES, (bytes, dict))
        path = take(_PATH, str)
        url = take(_URL, str)
        text = take(_TEXT, str)
        name = str(number if key is None else key)[:200]
        content = self._content(data, path, url, text, name)
        rest = {column: value for column, value in row.items() if column not in used}
        metadata, captions = split_captions(rest)
        if isinstance(rest.get("metadata"), dict):
            metadata |= split_captions(metadata.pop("metadata"))[0]
        if text is not None and not isinstance(content, Words):
            captions = captions or as_captions(text)
        if url is not None:
            metadata["url"] = url[:2000]
        if key is not None:
            metadata["key"] = clean_text(str(key))[:200]
        if isinstance(content, LocalFile):
            return self._file(content, metadata, captions)
        return self._member(name, content, metadata, captions)

    def _content(
        self, data: Any, path: str | None, url: str | None, text: str | None, name: str
    ) -> Content:
        if isinstance(data, dict):  # as the `datasets` library writes pictures and sounds
            path = path or (data.get("path") if isinstance(data.get("path"), str) else None)
            data = data.get("bytes")
        if isinstance(data, bytes):
            return InlineBytes(data, path or name)
        if path is not None:
            return self._below(path)
        if url is not None:
            return WebFile(url)
        if text is not None:
            return Words(clean_text(text))
        return Broken("empty", "The record has no content: no text, path, url or bytes.")

    def _below(self, path: str) -> Content:
        """The file that a record names, if it lies below the table's folder."""
        if is_url(path) or "\0" in path:
            return Broken("refused", "The record's path is not the path of a file.")
        root = os.path.realpath(self._folder)
        target = os.path.realpath(os.path.join(root, path))  # noqa: PTH118
        if not target.startswith(root.rstrip(os.sep) + os.sep):
            return Broken("refused", "The record's path leads out of the table's folder.")
        return LocalFile(os.path.join(self._folder, os.path.relpath(target, root)))  # noqa: PTH118

    def _file(
        self, content: LocalFile, metadata: Mapping[str, Any], captions: tuple[str, ...]
    ) -> Item:
        """A file that a record names is the same source as when its folder is walked."""
        try:
            status = os.stat(content.path)  # noqa: PTH116
            size, mtime_ns = status.st_size, status.st_mtime_ns
        except (OSError, ValueError):
            size, mtime_ns = 0, 0  # opening it raises what is wrong
        file = SourceFile(uri_of(content.path), display_path(content.path), size, mtime_ns)
        return Item(file, content, metadata, captions)

    def _member(
        self,
        name: str,
        content: Content,
        metadata: Mapping[str, Any] | None = None,
        captions: tuple[str, ...] = (),
    ) -> Item:
        match content:
            case InlineBytes(data):
                content_bytes = data
            case Words(text):
                content_bytes = text.encode()
            case _:
                content_bytes = b""
        # No time: the table's own would make every record look changed when one is added.
        size = len(content_bytes) if content_bytes else -1
        shown = f"{self._shown}::{clean_text(name)}"
        return Item(
            SourceFile(member_uri(self._uri, name), shown, size, 0),
            content,
            metadata or {},
            captions,
            hashlib.sha256(content_bytes).hexdigest()[:16] if content_bytes else "",
        )


def _lines(path: str) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """(line number from 1, object) of every line that is not blank."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # the path may hold undecodable bytes
            number = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise MediaError("too_large", f"Line {number} is longer than 16 MiB.")
                if not line.strip():
                    continue
                try:
                    row = json.loads(line.decode("utf-8-sig"))
                except (ValueError, RecursionError):
                    row = None
                yield number, row if isinstance(row, dict) else None
    except FileNotFoundError:
        raise MediaError("missing", "There is no such file.") from None
    except OSError as error:
        raise MediaError("unreadable", f"The table cannot be read: {error.strerror}.") from None


def _parquet(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row number from 0, row)."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingDependencyError("pyarrow", "tables", "Reading Parquet tables") from None
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            _check_parquet(file.metadata)
            for batch in file.iter_batches(ROWS):
                if batch.nbytes > MAX_ROWS_BYTES:
                    raise MediaError("too_large", f"Rows after {number} are larger than 1 GiB.")
                for row in batch.to_pylist():
                    yield number, row
                    number += 1
    except FileNotFoundError:
        raise MediaError("missing", "There is no such file.") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        detail = str(error).split("\n", 1)[0][:200]
        raise MediaError("corrupt", f"The table cannot be read ({detail}).") from None


def _check_parquet(metadata: Any) -> None:
    """Refuse a file that would need too much memory, before any of it is unpacked."""
    if metadata.num_columns > MAX_COLUMNS:
        raise MediaError("too_large", f"The table has more than {MAX_COLUMNS} columns.")
    for number in range(metadata.num_row_groups):
        if metadata.row_group(number).total_byte_size > MAX_ROW_GROUP:
            raise MediaError("too_large", "A row group of the table is larger than 4 GiB.")
