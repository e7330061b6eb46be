"""Collections are found by name, and have settings."""

from __future__ import annotations

import pytest

from mmsearch.errors import ConflictError, NotFoundError, QueryError
from mmsearch.stores.store import SqlStore
from tests.support.stored import a_write


def test_collections_are_found_by_name_or_by_being_the_only_one(store: SqlStore) -> None:
    """Without a name the only collection is meant; a wrong name lists the right ones."""
    with pytest.raises(NotFoundError, match="index something first"):
        store.collections.get()
    photos = store.collections.get_or_create("photos", "nano")
    assert store.collections.get() == photos
    store.collections.get_or_create("calls", "nano")
    assert store.collections.get("photos") == photos
    with pytest.raises(NotFoundError, match="'calls', 'photos'"):
        store.collections.get("nope")


def test_a_collection_has_its_own_weights(store: SqlStore) -> None:
    """Weights are replaced as a whole; other settings of the collection stay."""
    collection = store.collections.get_or_create("default", "fake", {"clip_model": "x"})
    store.collections.set_weights(collection.id, {"lexical": 0.5})
    assert store.collections.get().weights == (("lexical", 0.5),)
    assert store.collections.get().models == collection.models
    store.collections.set_weights(collection.id, {})
    assert store.collections.get().weights == ()


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\nb", "a\0b", "a\x1bb", "/a", "a/", "a\\"])
def test_names_are_checked_when_a_collection_is_made(store: SqlStore, name: str) -> None:
    """A collection that exists already may have any name."""
    with pytest.raises(QueryError):
        store.collections.get_or_create(name, "nano")
    store.collections.get_or_create("photos/2024", "nano")
    with pytest.raises(QueryError):
        store.collections.rename("photos/2024", name)


def test_the_same_letters_are_the_same_name(store: SqlStore) -> None:
    """Names are in NFC, however they are typed."""
    made = store.collections.get_or_create("famíl".replace("í", "i\u0301"), "nano")
    assert made.name == "famíl"
    assert store.collections.get_or_create("fami\u0301l", "nano").id == made.id
    assert store.collections.get("fami\u0301l").id == made.id


def test_renaming(store: SqlStore) -> None:
    """A name that is taken is a conflict."""
    first = store.collections.get_or_create("first", "nano")
    store.collections.get_or_create("second", "nano")
    store.collections.rename("first", "third")
    assert store.collections.get("third").id == first.id
    with pytest.raises(ConflictError):
        store.collections.rename("third", "second")
    with pytest.raises(NotFoundError):
        store.collections.rename("first", "fourth")


def test_removing(filled: tuple[SqlStore, int, int]) -> None:
    """Everything of it is removed, and the change log tells it; not while it is indexed."""
    store, collection, space = filled
    store.sources.write(collection, [a_write(space)])
    other = store.collections.get_or_create("other", "nano").id
    run = store.runs.start(collection, "index")
    with pytest.raises(ConflictError, match="indexed"):
        store.collections.remove("default")
    store.runs.update(run, counts={}, items=[], state="done")
    newest = store.changes.last_id()
    store.collections.remove("default")
    assert [c.id for c in store.collections.list()] == [other]
    assert store.sources.list() == []
    assert store.status.problems() == []
    [change] = store.changes.after(collection, newest)
    assert (change.op, len(change.segment_ids)) == ("remove", 2)
    store.collections.remove("other")
    assert store.changes.last_id() > newest + 1
