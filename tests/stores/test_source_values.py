"""The indexed values of metadata that filters use follow the metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from mmsearch.search.parse.filters import compile_filter
from mmsearch.stores import migrate
from mmsearch.stores.rows import SEGMENTS, SourceWrite
from mmsearch.stores.source_values import HEAD
from mmsearch.stores.store import SqlStore
from mmsearch.types import Modality, SegmentDraft, SourceFile

VALUES = "SELECT source_id, key, place, kind, text, number FROM source_values ORDER BY 1, 2, 3"


class Library:
    """Sources with metadata only."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.collection = store.collections.get_or_create("default", "fake").id

    def add(self, name: str, **metadata: Any) -> int:
        file = SourceFile(f"file:///{name}", f"/{name}", 1, 1)
        write = SourceWrite(file, name, "image/png", "r", metadata, (SegmentDraft(Modality.IMAGE),))
        (source,) = self.store.sources.write(self.collection, [write])
        return source

    def matching(self, filter_: Mapping[str, Any]) -> set[int]:
        where = compile_filter(
            filter_, self.store.sources.metadata_keys(self.collection), self.store.dialect
        )
        ids = self.store.segments.matching(self.collection, where)[Modality.IMAGE]
        return {source.id for _, source in self.store.segments.with_sources(ids.tolist()).values()}

    def values(self) -> list[tuple[Any, ...]]:
        with self.store.database.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(VALUES))]


def picture(name: str, metadata: Mapping[str, Any]) -> SourceWrite:
    file = SourceFile(f"file:///{name}", f"/{name}", 1, 1)
    return SourceWrite(file, name, "image/png", "r", metadata, (SegmentDraft(Modality.IMAGE),))


@pytest.fixture
def library(store: SqlStore) -> Library:
    return Library(store)


def test_texts_longer_than_what_is_stored(library: Library) -> None:
    """All of their characters are compared, not only the indexed ones."""
    stem = "ä" * (HEAD + 50)
    first, second = library.add("1", note=stem + "a"), library.add("2", note=stem + "b")
    short = library.add("3", note="ä")
    assert library.matching({"note": stem + "b"}) == {second}
    assert library.matching({"note": {"lt": stem + "b"}}) == {first, short}
    assert library.matching({"note": {"gt": "ä"}}) == {first, second}
    assert library.matching({"note": {"ne": stem + "a"}}) == {second, short}
    assert library.matching({"note": {"like": f"{stem}_"}}) == {first, second}


def test_types_lists_and_what_is_no_value(library: Library) -> None:
    """A value matches its own type only, alone or in a list; objects and nulls never match."""
    yes, number = library.add("1", x=True), library.add("2", x=1)
    word, several = library.add("3", x="1"), library.add("4", x=["1", 1, 1.0, True, None])
    library.add("5", x={"deep": 1}, y=None)
    huge = library.add("6", x=1e300)
    assert library.matching({"x": True}) == {yes, several}
    assert library.matching({"x": 1}) == {number, several}
    assert library.matching({"x": "1"}) == {word, several}
    assert library.matching({"x": {"gt": 10**20}}) == {huge}
    assert [row[3] for row in library.values() if row[0] == several] == ["text", "number", "bool"]


def test_values_follow_the_metadata(library: Library) -> None:
    """Replacing a source replaces its values; deleting it deletes them."""
    source = library.add("1", camera="old", tags=["a", "b"])
    assert library.add("1", camera="new") == source
    assert library.matching({"camera": "old"}) == set()
    assert library.matching({"camera": "new"}) == {source}
    assert len(library.values()) == 1
    library.store.sources.delete([source])
    assert library.values() == []


def test_comparison_keys_and_times_are_stored(library: Library) -> None:
    """Of a text its key, and the times of a date; one row where local time and instant agree."""
    library.add("1", title="GRO\u1e9e u\u0308", taken_at="1970-01-02T00:00:00+09:00")
    library.add("2", taken_at="1970-01-02")
    assert [row[1:2] + row[3:] for row in library.values()] == [
        ("taken_at", "text", "1970-01-02t00:00:00+09:00", None),
        ("taken_at", "local", None, 86_400.0),
        ("taken_at", "instant", None, 54_000.0),
        ("title", "text", "gross \u00fc", None),
        ("taken_at", "text", "1970-01-02", None),
        ("taken_at", "time", None, 86_400.0),
    ]


def test_an_upgrade_makes_keys_of_the_texts(library: Library) -> None:
    """And a step back leaves the texts as an earlier version compares them."""
    library.add("1", title="Gro\u00df", tags=["A", "b"], taken_at="2024-01-02T00:00:00Z", width=6)
    before = library.values()
    migrate.downgrade(library.store.database.engine, "0004")
    kinds = {(row[1], row[3], row[4] or row[5]) for row in library.values()}
    assert kinds == {
        ("title", "text", "Gro\u00df"),
        ("tags", "text", "A"),
        ("tags", "text", "b"),
        ("taken_at", "text", "2024-01-02T00:00:00Z"),
        ("width", "number", 6.0),
    }
    migrate.upgrade(library.store.database.engine)
    assert library.values() == before


def test_an_upgrade_fills_the_table(library: Library) -> None:
    """A library of an older version is filtered in the same way after the upgrade."""
    library.add("1", camera="old", tags=["a", "b"], width=640)
    before = library.values()
    assert len(before) == 4
    migrate.downgrade(library.store.database.engine, "0003")
    migrate.upgrade(library.store.database.engine)
    assert library.values() == before


def test_a_selective_filter_does_not_read_the_whole_library(tmp_path: Path) -> None:
    """SQLite reads the matching values first, then their sources and segments.

    PostgreSQL has statistics and decides by them.
    """
    store = SqlStore(f"sqlite:///{tmp_path / 'library.sqlite'}")
    migrate.upgrade(store.database.engine)
    library = Library(store)
    writes = [picture(str(n), {"camera": f"c{n}"}) for n in range(400)]
    library.store.sources.write(library.collection, writes)
    where = compile_filter({"camera": "c7"}, ["camera"], library.store.dialect)
    query = library.store.segments._filtered(library.collection, where, (), SEGMENTS.c.id)
    with library.store.database.engine.connect() as connection:
        compiled = query.compile(connection, compile_kwargs={"literal_binds": True})
        plan = connection.execute(text(f"EXPLAIN QUERY PLAN {compiled}")).all()
    assert [row[3].split(" USING")[0] for row in plan if "SUBQUERY" not in row[3]] == [
        "SEARCH sources",
        "SEARCH source_values",
        "SEARCH segments",
    ]
    store.close()
