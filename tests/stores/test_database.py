"""Connections: where the database is, and reads that share one transaction."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from mmsearch import build
from mmsearch.settings_loading import load_settings
from mmsearch.stores.database import read, release_read
from mmsearch.stores.store import SqlStore
from tests.support.statements import counted
from tests.support.stored import CLIP, a_write


def test_reads_of_a_block_share_a_transaction(store: SqlStore) -> None:
    """Nested blocks too; `release` ends it, and the next read begins another."""
    with counted(store.database.engine) as statements, store.database.reading() as shared:
        store.collections.list()
        with store.database.reading():
            store.changes.last_id()
        assert statements.transactions == 1
        shared.release()
        store.spaces.active()
        assert statements.transactions == 2
    with counted(store.database.engine) as statements:
        store.collections.list()
        store.changes.last_id()
        release_read(store.database.engine)  # without a block there is nothing to release
    assert statements.transactions == 2


def test_other_threads_have_their_own_transactions(store: SqlStore) -> None:
    """A connection is never used by two threads."""
    with counted(store.database.engine) as statements, store.database.reading():
        store.collections.list()
        thread = threading.Thread(target=store.collections.list)
        thread.start()
        thread.join()
        assert statements.transactions == 2


def test_a_failed_statement_spoils_no_later_one(store: SqlStore) -> None:
    """PostgreSQL refuses everything in a transaction in which a statement has failed."""
    with store.database.reading():
        with pytest.raises(DBAPIError), read(store.database.engine) as connection:
            connection.execute(text("SELECT nothing FROM nowhere"))
        assert store.collections.list() == []


def test_writes_are_seen_after_release(store: SqlStore) -> None:
    """A block may write: on a connection of its own, without waiting for its own reads."""
    with store.database.reading() as shared:
        assert store.collections.list() == []
        store.collections.get_or_create("default", "fake")
        shared.release()
        assert [c.name for c in store.collections.list()] == ["default"]


def test_the_head_is_the_newest_change_and_all_collections(store: SqlStore) -> None:
    """In one statement, of an empty library too."""
    assert store.changes.head() == (0, ())
    first = store.collections.get_or_create("first", "fake")
    second = store.collections.get_or_create("second", "fake")
    assert store.changes.head() == (0, (first, second))
    space = store.spaces.get_or_create(first.id, CLIP)
    store.sources.write(first.id, [a_write(space.id)])
    with counted(store.database.engine) as statements:
        newest, collections = store.changes.head()
    assert len(statements.selects) == 1
    assert newest == store.changes.last_id() > 0
    assert collections == (first, second)


def test_segments_come_with_their_sources(store: SqlStore) -> None:
    """One statement; ids that are not there are left out."""
    collection = store.collections.get_or_create("default", "fake")
    space = store.spaces.get_or_create(collection.id, CLIP)
    (source,) = store.sources.write(collection.id, [a_write(space.id, segments=2)])
    first, second = store.segments.of_source(source)
    with counted(store.database.engine) as statements:
        rows = store.segments.with_sources([second.id, first.id, 10**6, 2**70])
    assert len(statements.selects) == 1
    assert rows == {s.id: (s, store.sources.get(source)) for s in (first, second)}


@pytest.mark.parametrize("name", ["what?", "100%41", "a#b", "two words", "über-字😀", "a&b=c;d"])
def test_the_folder_of_a_library_may_have_any_name(tmp_path: Path, name: str) -> None:
    """The database lies in the folder, whatever a URL would read its name as."""
    folder = tmp_path / name / "library"
    settings = load_settings(folder)
    store = build.open_store(settings, create=True)
    identity = store.library_uuid()
    store.close()
    assert {file.parent for file in tmp_path.rglob("library.sqlite*")} == {folder}
    again = build.open_store(settings)
    assert again.library_uuid() == identity
    again.close()
