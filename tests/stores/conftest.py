"""Fixtures of the store's tests."""

from __future__ import annotations

import pytest

from mmsearch.stores.store import SqlStore
from tests.support.stored import CLIP


@pytest.fixture
def filled(store: SqlStore) -> tuple[SqlStore, int, int]:
    collection = store.collections.get_or_create("default", "fake")
    space = store.spaces.get_or_create(collection.id, CLIP)
    return store, collection.id, space.id
