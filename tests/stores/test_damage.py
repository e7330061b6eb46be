"""A damaged database is refused with one sentence, and never filled anew."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from mmsearch.build import open_store
from mmsearch.errors import LibraryDamagedError, LibraryNotFoundError, StorageError
from mmsearch.settings_loading import load_settings
from mmsearch.stores.damage import BESIDE_DATABASE
from mmsearch.stores.store import SqlStore
from tests.support.stored import CLIP, a_write


@pytest.fixture
def folder(tmp_path: Path, migrated: Path) -> Path:
    """A library with some sources."""
    library = tmp_path / "library"
    library.mkdir()
    shutil.copy(migrated, library / "library.sqlite")
    store = open_store(load_settings(library))
    collection = store.collections.get_or_create("default", "fake").id
    space = store.spaces.get_or_create(collection, CLIP).id
    for number in range(50):
        store.sources.write(collection, [a_write(space, f"{number}.txt", segments=20)])
    store.close()
    return library


def zeroed(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 8000)


def shortened(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def without_revision(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE alembic_version")
    connection.commit()
    connection.close()


def without_tables(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "damage",
    [
        zeroed,
        shortened,
        a_folder,
        without_revision,
        without_tables,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no database at all" * 100),
        lambda path: path.write_bytes(b"SQLite format 3\0"),
    ],
)
def test_damage_is_named_with_a_remedy(folder: Path, damage: Callable[[Path], None]) -> None:
    """Opening changes nothing in the folder."""
    damage(folder / "library.sqlite")
    with pytest.raises(LibraryDamagedError, match="Restore it from a backup"):
        open_store(load_settings(folder)).sources.list()


@pytest.mark.parametrize("beside", BESIDE_DATABASE)
@pytest.mark.parametrize("lost", ["missing", "empty"])
def test_a_new_database_is_not_made_beside_old_contents(
    tmp_path: Path, beside: str, lost: str
) -> None:
    """Even by `mmsearch index`: indexes, thumbnails and uploads belong to a lost database."""
    (tmp_path / beside).mkdir()
    (tmp_path / beside / "content").write_bytes(b"x")
    if lost == "empty":
        (tmp_path / "library.sqlite").touch()
    with pytest.raises(LibraryDamagedError, match=beside):
        open_store(load_settings(tmp_path), create=True)
    assert not (tmp_path / "library.sqlite-wal").exists()


def test_a_missing_library_is_no_damage(tmp_path: Path) -> None:
    """Nothing is there: the message says how to make one. A new folder is private."""
    new = tmp_path / "new"
    with pytest.raises(LibraryNotFoundError):
        open_store(load_settings(new))
    open_store(load_settings(new), create=True).close()
    assert stat.S_IMODE(new.stat().st_mode) == 0o700
    tmp_path.chmod(0o755)
    open_store(load_settings(tmp_path), create=True).close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_damage_that_shows_later_is_named_too(folder: Path) -> None:
    """The file is damaged while it is open."""
    store = open_store(load_settings(folder))
    with sqlite3.connect(folder / "library.sqlite") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    store.database.engine.dispose()
    content = bytearray((folder / "library.sqlite").read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    (folder / "library.sqlite").write_bytes(content)
    with pytest.raises(LibraryDamagedError, match="damaged"):
        store.sources.list()
    with pytest.raises(LibraryDamagedError, match="damaged"):
        store.collections.get_or_create("another", "fake")
    store.close()


def test_parameters_are_hidden(store: SqlStore) -> None:
    """An error's text, which is logged, has no contents of the library."""
    with pytest.raises(Exception, match="nowhere") as caught, store.database.read() as connection:
        connection.execute(text("SELECT * FROM nowhere WHERE x = :x"), {"x": "a secret"})
    assert "a secret" not in str(caught.value)


def test_a_read_survives_that_the_server_closes_all_connections(
    postgresql: str, postgresql_template: object
) -> None:
    """Idle connections are replaced; one that dies inside a transaction is a StorageError."""
    assert postgresql_template is not None
    store = SqlStore(postgresql.replace("/postgres?", "/template1?"))
    admin = create_engine(postgresql, isolation_level="AUTOCOMMIT")
    kill = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'template1'"
    )
    try:
        store.collections.list()
        with admin.connect() as connection:
            connection.execute(kill)
        assert store.collections.list() == []
        with store.database.reading():
            store.collections.list()
            with admin.connect() as connection:
                connection.execute(kill)
            with pytest.raises(StorageError, match="cannot be reached"):
                store.collections.list()
            # The next read of the block has a connection of its own.
            assert store.collections.list() == []

        def write() -> None:
            with store.database.write() as writing, admin.connect() as connection:
                connection.execute(kill)
                writing.execute(text("SELECT 1"))

        with pytest.raises(StorageError, match="cannot be reached"):
            write()
    finally:
        admin.dispose()
        store.close()


def test_a_server_that_is_away_is_a_storage_error(tmp_path: Path) -> None:
    """After a second attempt."""
    store = SqlStore(f"postgresql+psycopg://tester@/postgres?host={tmp_path}")
    began = time.monotonic()
    with pytest.raises(StorageError, match="cannot be reached"):
        store.collections.list()
    assert time.monotonic() - began >= 1.0
    store.close()
