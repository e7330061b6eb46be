"""Collections are found by name, and have settings."""

from __future__ import annotations

import pytest

from mmsearch.errors import NotFoundError
from mmsearch.stores.store import SqlStore


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
