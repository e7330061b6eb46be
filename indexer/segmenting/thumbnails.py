"""Thumbnails are written as parts are segmented: in SQL they are only known by their source."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from mmsearch.errors import StorageError


def save_thumbnail(path: Path, content: bytes) -> None:
    """Write a JPEG aside and rename it, so that nobody ever reads half a picture.

    Does nothing if there is one. Raises StorageError.
    """
    if path.exists():
        return
    aside = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content)
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise StorageError(f"the library cannot be written: {error.strerror}") from error
