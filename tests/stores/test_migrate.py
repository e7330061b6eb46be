"""Migrations: the same schema as the tables, up and down over rows, and a copy put aside."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from mmsearch.errors import LibraryVersionError
from mmsearch.stores import migrate
from mmsearch.stores.sql import SqlStore
from mmsearch.stores.tables import Base
from tests.stores.test_sql import CLIP, a_write

FULL_TEXT = ("segment_fts", "ix_segment_words_words")


def test_migrations_build_the_schema_of_the_tables(store: SqlStore) -> None:
    """What the newest migration leaves behind is what `tables.py` declares."""
    with store.engine.connect() as connection:
        # Full-text search has tables and an index of its own kind on each database.
        ours = {"include_object": lambda _, name, *__: not str(name).startswith(FULL_TEXT)}
        context = MigrationContext.configure(connection, opts={"compare_type": True} | ours)
        assert compare_metadata(context, Base.metadata) == []


def test_head_names_the_newest_migration() -> None:
    """The constant that opening a library compares with is the newest revision."""
    heads = ScriptDirectory.from_config(migrate._config()).get_heads()
    assert heads == [migrate.HEAD]


def test_down_and_up_again_over_rows(store: SqlStore) -> None:
    """Every migration runs both ways on a library that holds something."""
    collection = store.ensure_collection("default", "fake")
    space = store.ensure_space(collection.id, CLIP)
    store.write_sources(collection.id, [a_write(space.id)])
    script = ScriptDirectory.from_config(migrate._config())
    for step in script.walk_revisions():
        down = step.down_revision or "base"
        migrate.downgrade(store.engine, str(down))
    migrate.upgrade(store.engine)
    assert migrate.current_revision(store.engine) == migrate.HEAD
    assert store.collections() == []


def test_an_upgrade_cuts_the_words_of_what_is_there(store: SqlStore) -> None:
    """A library written before full text is found by its words after the upgrade."""
    collection = store.ensure_collection("default", "fake")
    space = store.ensure_space(collection.id, CLIP)
    store.write_sources(collection.id, [a_write(space.id, "red-boat.jpg")])
    words = "SELECT segment_id, collection_id, modality, length, words FROM segment_words"
    with store.engine.connect() as connection:
        before = connection.execute(text(f"{words} ORDER BY segment_id")).all()
        connection.execute(text("DELETE FROM segment_words"))
        connection.commit()
    assert len(before) == 2
    migrate.downgrade(store.engine, "0001")
    assert store.counts()["segments"] == 2
    migrate.upgrade(store.engine)
    with store.engine.connect() as connection:
        after = connection.execute(text(f"{words} ORDER BY segment_id")).all()
    assert after == before


def test_an_upgrade_first_puts_a_copy_aside(store: SqlStore, tmp_path: Path) -> None:
    """The copy is a database of its own, with the rows as they were."""
    store.ensure_collection("photos", "nano")
    kept = migrate._put_aside(store.engine, "0000")
    if store.engine.dialect.name != "sqlite":
        assert kept is None  # PostgreSQL has its own backups
        return
    assert kept is not None
    copy = sqlite3.connect(kept)
    assert copy.execute("SELECT name FROM collections").fetchall() == [("photos",)]
    copy.close()


def test_a_library_of_a_newer_version_is_refused(store: SqlStore) -> None:
    """The message says to upgrade mmsearch, and nothing is touched."""
    with store.engine.connect() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.commit()
    with pytest.raises(LibraryVersionError, match="newer mmsearch"):
        migrate.upgrade(store.engine)
    assert migrate.current_revision(store.engine) == "9999"
