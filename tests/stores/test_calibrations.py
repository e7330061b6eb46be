"""Calibrations live and die with their space, on each database."""

from __future__ import annotations

from mmsearch.stores.sql import SqlStore
from mmsearch.types import Modality
from tests.stores.test_sql import CLIP


def test_what_is_kept_comes_back_and_is_replaced(store: SqlStore) -> None:
    """One for each space, modality and kind of query."""
    collection = store.ensure_collection("default", "fake")
    space = store.ensure_space(collection.id, CLIP).id
    assert store.calibration(space, Modality.IMAGE, "words") is None
    store.keep_calibration(space, Modality.IMAGE, "words", 10, {"best": [1.5, 2.0]})
    store.keep_calibration(space, Modality.IMAGE, "words", 30, {"best": [1.0]})
    store.keep_calibration(space, Modality.IMAGE, "example", 30, {"best": []})
    assert store.calibration(space, Modality.IMAGE, "words") == (30, {"best": [1.0]})
    assert store.calibration(space, Modality.TEXT, "words") is None
    store.keep_calibration(space + 1, Modality.IMAGE, "words", 1, {})
    assert store.calibration(space + 1, Modality.IMAGE, "words") is None
