"""Database errors become ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmsearch.errors import StorageError
from mmsearch.stores.database import storage_errors


def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    """SQLite's own message about the disk becomes a StorageError."""
    from sqlalchemy.exc import OperationalError

    with pytest.raises(StorageError, match="disk is full"), storage_errors():
        raise OperationalError("INSERT", {}, Exception("database or disk is full"))
