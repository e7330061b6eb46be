"""What many tests share: where the real data lies, and a library in a temporary folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmsearch.stores import migrate
from mmsearch.stores.sql import SqlStore


@pytest.fixture(scope="session")
def data() -> Path:
    """Real photos, speech, documents and hostile files; the test is skipped without them."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MMSEARCH_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip("the shared test data is not here (MMSEARCH_TEST_DATA)")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> SqlStore:
    """An empty SQLite store with the newest schema."""
    made = SqlStore(f"sqlite:///{tmp_path / 'library.sqlite'}")
    migrate.upgrade(made.engine)
    return made
