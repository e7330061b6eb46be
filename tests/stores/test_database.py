"""Connections: several reads of a thread may share one transaction."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from mmsearch.stores.change_log import read_head
from mmsearch.stores.database import read, release_read
from mmsearch.stores.sql import SqlStore
from tests.stores.test_sql import CLIP, a_write
from tests.support.statements import counted


def test_reads_of_a_block_share_a_transaction(store: SqlStore) -> None:
    """Nested blocks too; `release` ends it, and the next read begins another."""
    with counted(store.engine) as statements, store.reading() as shared:
        store.collections()
        with store.reading():
            store.last_change()
        assert statements.transactions == 1
        shared.release()
        store.spaces()
        assert statements.transactions == 2
    with counted(store.engine) as statements:
        store.collections()
        store.last_change()
        release_read(store.engine)  # without a block there is nothing to release
    assert statements.transactions == 2


def test_other_threads_have_their_own_transactions(store: SqlStore) -> None:
    """A connection is never used by two threads."""
    with counted(store.engine) as statements, store.reading():
        store.collections()
        thread = threading.Thread(target=store.collections)
        thread.start()
        thread.join()
        assert statements.transactions == 2


def test_a_failed_statement_spoils_no_later_one(store: SqlStore) -> None:
    """PostgreSQL refuses everything in a transaction in which a statement has failed."""
    with store.reading():
        with pytest.raises(DBAPIError), read(store.engine) as connection:
            connection.execute(text("SELECT nothing FROM nowhere"))
        assert store.collections() == []


def test_writes_are_seen_after_release(store: SqlStore) -> None:
    """A block may write: on a connection of its own, without waiting for its own reads."""
    with store.reading() as shared:
        assert store.collections() == []
        store.ensure_collection("default", "fake")
        shared.release()
        assert [c.name for c in store.collections()] == ["default"]


def test_the_head_is_the_newest_change_and_all_collections(store: SqlStore) -> None:
    """In one statement, of an empty library too."""
    assert read_head(store.engine) == (0, ())
    first = store.ensure_collection("first", "fake")
    second = store.ensure_collection("second", "fake")
    assert read_head(store.engine) == (0, (first, second))
    space = store.ensure_space(first.id, CLIP)
    store.write_sources(first.id, [a_write(space.id)])
    with counted(store.engine) as statements:
        newest, collections = read_head(store.engine)
    assert len(statements.selects) == 1
    assert newest == store.last_change() > 0
    assert collections == (first, second)


def test_segments_come_with_their_sources(store: SqlStore) -> None:
    """One statement; ids that are not there are left out."""
    collection = store.ensure_collection("default", "fake")
    space = store.ensure_space(collection.id, CLIP)
    (source,) = store.write_sources(collection.id, [a_write(space.id, segments=2)])
    first, second = store.segments_of(source)
    with counted(store.engine) as statements:
        rows = store.segments_with_sources([second.id, first.id, 10**6, 2**70])
    assert len(statements.selects) == 1
    assert rows == {s.id: (s, store.source(source)) for s in (first, second)}
