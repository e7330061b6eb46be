"""Calibrations belong to a space and are deleted with it, on each database."""

from __future__ import annotations

from mmsearch.stores.store import SqlStore
from mmsearch.types import Modality
from tests.support.stored import CLIP


def test_a_saved_calibration_is_read_and_replaced(store: SqlStore) -> None:
    """One for each space, modality and kind of query."""
    collection = store.collections.get_or_create("default", "fake")
    space = store.spaces.get_or_create(collection.id, CLIP).id
    assert store.calibrations.get(space, Modality.IMAGE, "words") is None
    store.calibrations.save(space, Modality.IMAGE, "words", 10, {"best": [1.5, 2.0]})
    store.calibrations.save(space, Modality.IMAGE, "words", 30, {"best": [1.0]})
    store.calibrations.save(space, Modality.IMAGE, "example", 30, {"best": []})
    assert store.calibrations.get(space, Modality.IMAGE, "words") == (30, {"best": [1.0]})
    assert store.calibrations.get(space, Modality.TEXT, "words") is None
    store.calibrations.save(space + 1, Modality.IMAGE, "words", 1, {})
    assert store.calibrations.get(space + 1, Modality.IMAGE, "words") is None
