"""Zipped documents (Office, OpenDocument, EPUB), opened within limits and never unpacked to disk.

What a member says of its size is what is counted and, at most, read: Python's zipfile refuses a
member that turns out longer. A member that is read again counts again.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lxml import etree

from mmsearch.errors import MediaError
from mmsearch.media.opened import Content, reader

# Office files shrink to a tenth, repetitive sheets to a hundredth.
_BOMB_RATIO, _BOMB_BYTES = 200, 32 * 2**20
_MAX_MEMBERS = 20_000
_ENCRYPTED = 0x1
UNREADABLE = (KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)
"""What reading a missing or damaged member raises."""


class Archive:
    """The members of an open archive, as long as what was read is within a budget."""

    def __init__(self, archive: zipfile.ZipFile, max_bytes: int) -> None:
        self._archive = archive
        self._left = self._max_bytes = max_bytes
        self.names = frozenset(archive.namelist())

    def read(self, name: str) -> bytes:
        """The content of a member. Raises KeyError, MediaError too_large, and UNREADABLE."""
        self._left -= self._archive.getinfo(name).file_size
        if self._left < 0:
            raise MediaError(
                "too_large",
                f"The document names its parts so often that more than {self._max_bytes} bytes "
                "would be read.",
            )
        return self._archive.read(name)


@contextmanager
def open_archive(source: Content, max_bytes: int) -> Iterator[Archive]:
    """The archive, if what it unpacks to is within `max_bytes`.

    Raises MediaError: too_large, encrypted, corrupt, unreadable; also for what goes wrong
    with a member inside the `with` block.
    """
    try:
        file = reader(source)
    except OSError as error:
        raise MediaError("unreadable", f"The file cannot be read: {error.strerror}.") from None
    with file:
        try:
            with zipfile.ZipFile(file) as archive:
                _check(archive, max_bytes)
                yield Archive(archive, max_bytes)
        except (zipfile.BadZipFile, zlib.error, EOFError):
            raise MediaError(
                "corrupt", "The document is damaged or cut off: its archive cannot be read."
            ) from None
        except KeyError as error:
            raise MediaError(
                "corrupt", f"The document is damaged: a part is missing ({error.args[0]})."
            ) from None
        except (NotImplementedError, RuntimeError) as error:
            if isinstance(error, RecursionError):
                raise
            raise MediaError(
                "encrypted", "The document is encrypted or packed in an unknown way."
            ) from None


def _check(archive: zipfile.ZipFile, max_bytes: int) -> None:
    members = archive.infolist()
    total = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if total > max_bytes:
        raise MediaError(
            "too_large", f"The document unpacks to {total} bytes; {max_bytes} in all are allowed."
        )
    if len(members) > _MAX_MEMBERS:
        raise MediaError("too_large", f"The document has {len(members)} parts: too many.")
    if total > _BOMB_BYTES and total > _BOMB_RATIO * max(packed, 1):
        raise MediaError(
            "too_large",
            f"The document unpacks from {packed} to {total} bytes: that is how bombs are made.",
        )
    if any(member.flag_bits & _ENCRYPTED for member in members):
        raise MediaError("encrypted", "The document is protected by a password.")


def xml_tree(content: bytes) -> Any:
    """The root element; no entity is expanded and nothing is fetched. Raises MediaError corrupt."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, recover=True, huge_tree=False
    )
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError):
        root = None
    if root is None:
        raise MediaError("corrupt", "The document is damaged: a part of it is no XML.")
    return root
