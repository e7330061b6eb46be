"""Runs record what happened to each file."""

from __future__ import annotations

import pytest

from mmsearch.errors import NotFoundError
from mmsearch.stores.runs import RunItem
from mmsearch.stores.store import SqlStore


def test_runs_remember_what_happened_to_each_file(filled: tuple[SqlStore, int, int]) -> None:
    """Counts, items and the end of a run; a run that never ended is marked interrupted."""
    store, collection, _ = filled
    run = store.runs.start(collection, "index")
    store.runs.update(run, counts={"seen": 1}, items=[RunItem("/a", "failed", "corrupt", "why")])
    assert store.runs.get(run).state == "running"
    assert store.runs.items(run) == [RunItem("/a", "failed", "corrupt", "why")]
    assert store.runs.interrupt_unfinished() == 1
    assert store.runs.get(run).state == "interrupted"
    assert store.runs.get(run).finished_at is not None
    with pytest.raises(NotFoundError, match="no job 99"):
        store.runs.get(99)
