"""Files that another process has opened.

A decoding worker may open no file of its own. It gets descriptors from the process that asks it to
decode, and readers open those as often as they need.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file by its descriptor, and its name; the path is not known here."""

    descriptor: int
    name: str

    def open(self, mode: str = "rb") -> io.BufferedReader:
        """A reader from the beginning of the file, independent of all others."""
        if mode != "rb":
            raise ValueError(f"an opened file is read as bytes, not in mode {mode!r}")
        return io.BufferedReader(_Reader(self.descriptor), 2**16)

    def close(self) -> None:
        """Close the descriptor; readers fail afterwards."""
        os.close(self.descriptor)


Content: TypeAlias = Path | OpenFile | bytes
"""What a reader of a format gets."""


def reader(content: Content) -> BinaryIO:
    """A seekable reader from the beginning of the content. Raises OSError."""
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


class _Reader(io.RawIOBase):
    """Reads a descriptor at a position of its own, so that readers do not disturb each other."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        count = os.preadv(self._descriptor, [buffer], self._position)
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            offset += os.fstat(self._descriptor).st_size
        if offset < 0:
            raise OSError(22, "negative seek position")
        self._position = offset
        return offset

    def tell(self) -> int:
        return self._position
