"""The values that filters look for: kept in step with the metadata, and found by index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import text

from mmsearch.search.parse.filters import compile_filter
from mmsearch.stores import migrate
from mmsearch.stores.rows import SEGMENTS, SourceWrite
from mmsearch.stores.source_values import HEAD
from mmsearch.stores.sql import SqlStore
from mmsearch.types import Modality, SegmentDraft, SourceFile

VALUES = "SELECT source_id, key, place, kind, text, number FROM source_values ORDER BY 1, 2, 3"


class Library:
    """Sources that have metadata and nothing else."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.collection = store.ensure_collection("default", "fake").id

    def add(self, name: str, **metadata: Any) -> int:
        file = SourceFile(f"file:///{name}", f"/{name}", 1, 1)
        write = SourceWrite(file, name, "image/png", "r", metadata, (SegmentDraft(Modality.IMAGE),))
        (source,) = self.store.write_sources(self.collection, [write])
        return source

    def found(self, given: Mapping[str, Any]) -> set[int]:
        where = compile_filter(
            given, self.store.metadata_keys(self.collection), self.store.engine.dialect.name
        )
        ids = self.store.passing(self.collection, where)[Modality.IMAGE]
        return {source.id for _, source in self.store.segments_with_sources(ids.tolist()).values()}

    def values(self) -> list[tuple[Any, ...]]:
        with self.store.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(VALUES))]


def picture(name: str, metadata: Mapping[str, Any]) -> SourceWrite:
    file = SourceFile(f"file:///{name}", f"/{name}", 1, 1)
    return SourceWrite(file, name, "image/png", "r", metadata, (SegmentDraft(Modality.IMAGE),))


@pytest.fixture
def library(store: SqlStore) -> Library:
    return Library(store)


def test_texts_longer_than_what_is_kept(library: Library) -> None:
    """They are told apart by all of their characters, and ordered by them."""
    stem = "ä" * (HEAD + 50)
    one, two = library.add("1", note=stem + "a"), library.add("2", note=stem + "b")
    short = library.add("3", note="ä")
    assert library.found({"note": stem + "b"}) == {two}
    assert library.found({"note": {"lt": stem + "b"}}) == {one, short}
    assert library.found({"note": {"gt": "ä"}}) == {one, two}
    assert library.found({"note": {"ne": stem + "a"}}) == {two, short}
    assert library.found({"note": {"like": f"{stem}_"}}) == {one, two}


def test_types_lists_and_what_is_no_value(library: Library) -> None:
    yes, one = library.add("1", x=True), library.add("2", x=1)
    word, several = library.add("3", x="1"), library.add("4", x=["1", 1, 1.0, True, None])
    library.add("5", x={"deep": 1}, y=None)
    huge = library.add("6", x=1e300)
    assert library.found({"x": True}) == {yes, several}
    assert library.found({"x": 1}) == {one, several}
    assert library.found({"x": "1"}) == {word, several}
    assert library.found({"x": {"gt": 10**20}}) == {huge}
    assert [row[3] for row in library.values() if row[0] == several] == ["text", "number", "bool"]


def test_they_follow_the_metadata(library: Library) -> None:
    source = library.add("1", camera="old", tags=["a", "b"])
    assert library.add("1", camera="new") == source
    assert library.found({"camera": "old"}) == set()
    assert library.found({"camera": "new"}) == {source}
    assert len(library.values()) == 1
    library.store.delete_sources([source])
    assert library.values() == []


def test_an_upgrade_fills_the_table(library: Library) -> None:
    """A library of before is filtered alike."""
    library.add("1", camera="old", tags=["a", "b"], width=640)
    before = library.values()
    assert len(before) == 4
    migrate.downgrade(library.store.engine, "0003")
    migrate.upgrade(library.store.engine)
    assert library.values() == before


def test_few_that_pass_are_not_looked_for_among_all(library: Library) -> None:
    """From the values to their sources, whatever the size of the library."""
    if library.store.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL has statistics and decides by them")
    some = [picture(str(n), {"camera": f"c{n}"}) for n in range(400)]
    library.store.write_sources(library.collection, some)
    where = compile_filter({"camera": "c7"}, ["camera"], "sqlite")
    query = library.store._filtered(library.collection, where, (), SEGMENTS.c.id)
    with library.store.engine.connect() as connection:
        compiled = query.compile(connection, compile_kwargs={"literal_binds": True})
        plan = connection.execute(text(f"EXPLAIN QUERY PLAN {compiled}")).all()
    assert [row[3].split(" USING")[0] for row in plan if "SUBQUERY" not in row[3]] == [
        "SEARCH sources",
        "SEARCH source_values",
        "SEARCH segments",
    ]
