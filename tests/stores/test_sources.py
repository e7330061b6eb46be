"""Sources: one transaction a call, an ordered change log, and nothing left behind."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from mmsearch.stores.rows import SourceWrite
from mmsearch.stores.store import SqlStore
from mmsearch.types import Failure, Modality, Place
from tests.support.stored import a_file, a_write


def test_a_written_source_is_read_back_whole(filled: tuple[SqlStore, int, int]) -> None:
    """Segments, places, metadata and vectors survive the round trip."""
    store, collection, space = filled
    (source_id,) = store.sources.write(collection, [a_write(space)])
    source = store.sources.get(source_id)
    assert (source.path, source.mime, source.status) == ("/a.jpg", "text/plain", "indexed")
    assert source.metadata == {"tags": ["x"]}
    segments = store.segments.of_source(source_id)
    assert [s.text for s in segments] == ["text 0", "text 1"]
    assert segments[1].place == Place(char_start=1, char_end=2)
    ((ids, vectors),) = list(store.vectors.iterate(space, Modality.TEXT))
    assert ids.tolist() == [s.id for s in segments]
    np.testing.assert_array_equal(vectors, np.arange(8, dtype=np.float16).reshape(2, 4))


def test_replacing_keeps_the_source_and_never_reuses_a_segment_id(
    filled: tuple[SqlStore, int, int],
) -> None:
    """A changed file keeps its source id; its new segments have ids never seen before."""
    store, collection, space = filled
    (first,) = store.sources.write(collection, [a_write(space, segments=3)])
    old = {s.id for s in store.segments.of_source(first)}
    (again,) = store.sources.write(collection, [a_write(space, segments=2)])
    new = {s.id for s in store.segments.of_source(again)}
    assert again == first
    assert not old & new
    ops = [(c.op, set(c.segment_ids)) for c in store.changes.after(collection, 0)]
    assert ops == [("add", old), ("remove", old), ("add", new)]
    assert store.status.counts()["vectors"] == {"clip": 2}


def test_the_newest_ids_are_not_reused_after_a_delete(filled: tuple[SqlStore, int, int]) -> None:
    """An index that has not yet seen the delete must not take a new segment for the old one."""
    store, collection, space = filled
    (first,) = store.sources.write(collection, [a_write(space)])
    old = {s.id for s in store.segments.of_source(first)}
    assert store.sources.delete([first]) == 1
    (second,) = store.sources.write(collection, [a_write(space)])
    assert second != first
    assert not old & {s.id for s in store.segments.of_source(second)}


def test_a_failing_write_leaves_nothing_behind(filled: tuple[SqlStore, int, int]) -> None:
    """The second source of a batch is refused: the first is not there either."""
    store, collection, space = filled
    bad = replace(a_write(space, "b.jpg"), metadata={"tags": object()})
    with pytest.raises(Exception, match=r"(?i)not JSON serializable"):
        store.sources.write(collection, [a_write(space), bad])
    assert store.status.counts() == {
        "sources": 0,
        "failed": 0,
        "segments": 0,
        "vectors": {"clip": 0},
    }
    assert store.changes.after(collection, 0) == []


def test_a_failure_is_recorded_and_then_replaced_by_success(
    filled: tuple[SqlStore, int, int],
) -> None:
    """A failed file is a row with its reason, until a later run indexes it."""
    store, collection, space = filled
    failure = Failure("/a.jpg", "corrupt", "the picture is cut short")
    store.sources.write(
        collection, [SourceWrite(a_file(), "s", "image/jpeg", "r", failure=failure)]
    )
    assert store.sources.failures() == [failure]
    assert store.status.counts()["failed"] == 1
    store.sources.write(collection, [a_write(space)])
    assert store.sources.failures() == []
    assert store.status.counts()["sources"] == 1


def test_a_copy_can_be_made_from_what_is_stored(filled: tuple[SqlStore, int, int]) -> None:
    """`contents` returns exactly what a write of the same content takes."""
    store, collection, space = filled
    write = a_write(space, segments=3)
    (source_id,) = store.sources.write(collection, [write])
    metadata, segments, vectors = store.sources.contents(source_id)
    assert metadata == write.metadata
    assert segments == write.segments
    np.testing.assert_array_equal(vectors[space][0], write.vectors[space][0])
    np.testing.assert_array_equal(vectors[space][1], write.vectors[space][1])


def test_concurrent_writers_are_all_logged(filled: tuple[SqlStore, int, int]) -> None:
    """Concurrent writers wait for each other; the log holds every change, in order."""
    store, collection, space = filled
    threads = [
        threading.Thread(
            target=store.sources.write, args=(collection, [a_write(space, f"{n}", sha256=str(n))])
        )
        for n in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    changes = store.changes.after(collection, 0)
    assert len(changes) == 16
    assert sorted(c.id for c in changes) == [c.id for c in changes]
