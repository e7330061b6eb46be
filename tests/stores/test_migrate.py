"""Migrations: the same schema as the tables, up and down over rows, and a backup."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select, text, update

from mmsearch.errors import LibraryVersionError
from mmsearch.stores import migrate
from mmsearch.stores.rows import SourceWrite
from mmsearch.stores.store import SqlStore
from mmsearch.stores.tables import Base, SegmentWordsRow
from mmsearch.types import Modality, SegmentDraft, SourceFile
from tests.support.stored import CLIP, a_write

FULL_TEXT = ("segment_fts", "ix_segment_words_words")


def test_migrations_build_the_schema_of_the_tables(store: SqlStore) -> None:
    """The newest migration leaves behind the schema that `tables.py` declares."""
    with store.database.engine.connect() as connection:
        # Full-text search has tables and an index of its own kind on each database.
        ours = {"include_object": lambda _, name, *__: not str(name).startswith(FULL_TEXT)}
        context = MigrationContext.configure(connection, opts={"compare_type": True} | ours)
        assert compare_metadata(context, Base.metadata) == []


def test_head_names_the_newest_migration() -> None:
    """The constant that opening a library compares with is the newest revision."""
    heads = ScriptDirectory.from_config(migrate._config()).get_heads()
    assert heads == [migrate.HEAD]


def test_down_and_up_again_over_rows(store: SqlStore) -> None:
    """Every migration runs both ways on a library with contents."""
    collection = store.collections.get_or_create("default", "fake")
    space = store.spaces.get_or_create(collection.id, CLIP)
    store.sources.write(collection.id, [a_write(space.id)])
    script = ScriptDirectory.from_config(migrate._config())
    for step in script.walk_revisions():
        down = step.down_revision or "base"
        migrate.downgrade(store.database.engine, str(down))
    migrate.upgrade(store.database.engine)
    assert migrate.current_revision(store.database.engine) == migrate.HEAD
    assert store.collections.list() == []


def test_an_upgrade_tokenizes_existing_segments(store: SqlStore) -> None:
    """A library written before full text can be searched by its words after the upgrade."""
    collection = store.collections.get_or_create("default", "fake")
    space = store.spaces.get_or_create(collection.id, CLIP)
    store.sources.write(collection.id, [a_write(space.id, "red-boat.jpg")])
    words = "SELECT segment_id, collection_id, modality, length, words FROM segment_words"
    with store.database.engine.connect() as connection:
        before = connection.execute(text(f"{words} ORDER BY segment_id")).all()
        connection.execute(text("DELETE FROM segment_words"))
        connection.commit()
    assert len(before) == 2
    migrate.downgrade(store.database.engine, "0001")
    assert store.status.counts()["segments"] == 2
    migrate.upgrade(store.database.engine)
    with store.database.engine.connect() as connection:
        after = connection.execute(text(f"{words} ORDER BY segment_id")).all()
    assert after == before


def test_an_upgrade_tokenizes_what_unicode_changed(store: SqlStore) -> None:
    """Texts with invisible signs, Arabic forms or emoji; all others keep their rows."""
    collection = store.collections.get_or_create("default", "fake")
    texts = ["Donau\u00addampfer", "plain müller", "أحمد", "a party 🎉"]
    writes = [
        SourceWrite(
            SourceFile(f"file:///{n}.txt", f"/{n}.txt", 1, 1), str(n), "text/plain", "r",
            segments=(SegmentDraft(Modality.TEXT, text=body),),
        )
        for n, body in enumerate(texts)
    ]  # fmt: skip
    store.sources.write(collection.id, writes)
    words = select(SegmentWordsRow.segment_id, SegmentWordsRow.words)
    with store.database.engine.connect() as connection:
        before = {row[0]: row[1] for row in connection.execute(words)}
        old = update(SegmentWordsRow).values(words=["old"])
        connection.execute(old.execution_options(synchronize_session=False))
        connection.commit()
    migrate.downgrade(store.database.engine, "0005")
    migrate.upgrade(store.database.engine)
    with store.database.engine.connect() as connection:
        after = {row[0]: row[1] for row in connection.execute(words)}
    kept = [segment for segment, tokens in after.items() if tokens == ["old"]]
    assert [before[segment][:2] for segment in kept] == [["plain", "muller"]]
    assert all(after[segment] == before[segment] for segment in after if segment not in kept)


def test_an_upgrade_first_makes_a_backup(store: SqlStore, tmp_path: Path) -> None:
    """The copy is a database of its own, with the rows as they were."""
    store.collections.get_or_create("photos", "nano")
    backup = store.dialect.back_up(store.database.engine, "0000")
    if store.dialect.name != "sqlite":
        assert backup is None  # PostgreSQL has its own backups
        return
    assert backup is not None
    copy = sqlite3.connect(backup)
    assert copy.execute("SELECT name FROM collections").fetchall() == [("photos",)]
    copy.close()


def test_a_library_of_a_newer_version_is_refused(store: SqlStore) -> None:
    """The message says to upgrade mmsearch, and nothing is touched."""
    with store.database.engine.connect() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.commit()
    with pytest.raises(LibraryVersionError, match="newer mmsearch"):
        migrate.upgrade(store.database.engine)
    assert migrate.current_revision(store.database.engine) == "9999"
