"""Spaces and their replacement when a collection is switched to other models."""

from __future__ import annotations

import numpy as np
import pytest

from mmsearch.errors import LibraryBusyError, SpaceMismatchError
from mmsearch.stores.store import SqlStore
from mmsearch.stores.switches import Completion, SwitchTarget
from mmsearch.types import Collection, Modality, Space
from tests.support.stored import a_write


def test_another_model_under_the_same_name_is_refused(filled: tuple[SqlStore, int, int]) -> None:
    """Vectors of two models are never in one space."""
    store, collection, _ = filled
    other = Space("clip", "other", "1", "0" * 16, 4)
    with pytest.raises(SpaceMismatchError, match="made with fake"):
        store.spaces.get_or_create(collection, other)


def test_vectors_of_a_space_that_is_not_in_use_are_refused(
    filled: tuple[SqlStore, int, int],
) -> None:
    """A run that began before a switch to other models writes nothing of the old ones."""
    store, collection, space = filled
    with pytest.raises(LibraryBusyError, match="switched to other models"):
        store.sources.write(collection, [a_write(space + 99)])
    other = Space("clip", "other", "1", "0" * 16, 4)
    store.switches.begin(collection, SwitchTarget("other"), [other])
    assert store.switches.complete(collection, Completion({})) == 0
    with pytest.raises(LibraryBusyError, match="switched to other models"):
        store.sources.write(collection, [a_write(space)])
    assert store.status.counts() == {
        "sources": 0,
        "failed": 0,
        "segments": 0,
        "vectors": {"clip": 0},
    }


def test_a_space_is_built_beside_the_one_in_use(filled: tuple[SqlStore, int, int]) -> None:
    """Vectors of the old space are missing in the new one; the switch waits for all of them."""
    store, collection, space = filled
    (source,) = store.sources.write(collection, [a_write(space, segments=3)])
    ids = [segment.id for segment in store.segments.of_source(source)]
    other = Space("clip", "other", "1", "0" * 16, 2)
    target = SwitchTarget("other", (("clip_model", "x"),))
    (pair,) = store.switches.begin(collection, target, [other])
    assert (pair[0].id, pair[1].state) == (space, "building")
    assert (
        store.switches.begin(collection, target, [other])
        == store.switches.pairs(collection)
        == [pair]
    )
    with pytest.raises(SpaceMismatchError, match="on its way to profile other"):
        store.switches.begin(collection, SwitchTarget("third"), [other])
    assert [i for i, _ in store.switches.missing_texts(pair, [Modality.TEXT], 0, 10)] == ids
    assert store.switches.missing_sources(pair, [Modality.TEXT], 0, 10) == [source]
    vectors = np.ones((2, 2), np.float16)
    assert store.vectors.add(pair[1].id, ids[:2], vectors) == 2
    assert store.vectors.add(pair[1].id, ids[:2], vectors) == 2  # again: nothing happens
    assert store.vectors.add(pair[1].id, [ids[-1] + 1], vectors[:1]) == 0  # deleted meanwhile
    assert store.switches.progress(pair) == (2, 3)
    assert store.spaces.active(collection) == [pair[0]]
    assert store.switches.complete(collection, Completion({})) == 1
    assert store.status.counts()["vectors"] == {"clip": 3}
    before = store.changes.last_id()
    completion = Completion({"r": "s"}, unreadable=frozenset(ids[2:]))
    assert store.switches.complete(collection, completion) == 0
    assert store.changes.last_id() > before
    assert [s.space for s in store.spaces.active(collection)] == [other]
    assert store.collections.get() == Collection(
        collection, "default", "other", (("clip_model", "x"),)
    )
    assert store.switches.target(collection) is None
    assert store.status.problems() == []
    assert "1 segments have no vector in space 'clip'" in store.status.notes()[0]
    assert [store.spaces.remove_retired(space, batch=2) for _ in range(3)] == [2, 1, 0]
    assert store.spaces.retired() == []
    assert store.spaces.remove_retired(pair[1].id) == 0  # in use: not touched
    assert store.status.counts()["vectors"] == {"clip": 2}


def test_an_aborted_switch_can_be_resumed(
    filled: tuple[SqlStore, int, int],
) -> None:
    """Existing vectors are used; nothing can be written before the switch begins again."""
    store, collection, space = filled
    (source,) = store.sources.write(collection, [a_write(space)])
    ids = [segment.id for segment in store.segments.of_source(source)]
    other = Space("clip", "other", "1", "0" * 16, 2)
    (pair,) = store.switches.begin(collection, SwitchTarget("other"), [other])
    store.vectors.add(pair[1].id, ids[:1], np.ones((1, 2), np.float16))
    assert store.switches.abort(collection)
    assert not store.switches.abort(collection)
    with pytest.raises(SpaceMismatchError, match="dropped"):
        store.vectors.add(pair[1].id, ids, np.ones((2, 2), np.float16))
    with pytest.raises(SpaceMismatchError, match="dropped"):
        store.switches.complete(collection, Completion({}))
    (again,) = store.switches.begin(collection, SwitchTarget("other"), [other])
    assert again[1].id == pair[1].id
    assert store.switches.progress(again) == (1, 2)
