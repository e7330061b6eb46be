"""The SQL store: one transaction a call, an ordered log, and nothing left behind."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmsearch.errors import LibraryBusyError, NotFoundError, SpaceMismatchError, StorageError
from mmsearch.stores.database import storage_errors
from mmsearch.stores.rows import SourceWrite
from mmsearch.stores.runs import RunItem
from mmsearch.stores.spaces import Completion, SwitchTarget
from mmsearch.stores.sql import SqlStore
from mmsearch.types import Collection, Failure, Modality, Place, SegmentDraft, SourceFile, Space

CLIP = Space("clip", "fake", "1", "f" * 16, 4)


def a_file(name: str = "a.jpg", size: int = 1) -> SourceFile:
    return SourceFile(uri=f"file:///{name}", path=f"/{name}", size=size, mtime_ns=7)


def a_write(
    space_id: int, name: str = "a.jpg", *, segments: int = 2, sha256: str = "s"
) -> SourceWrite:
    drafts = tuple(
        SegmentDraft(Modality.TEXT, Place(char_start=n, char_end=n + 1), f"text {n}")
        for n in range(segments)
    )
    vectors = np.arange(segments * 4, dtype=np.float16).reshape(segments, 4)
    return SourceWrite(
        file=a_file(name),
        sha256=sha256,
        mime="text/plain",
        recipe="r",
        metadata={"tags": ["x"]},
        segments=drafts,
        vectors={space_id: (np.arange(segments), vectors)},
    )


@pytest.fixture
def filled(store: SqlStore) -> tuple[SqlStore, int, int]:
    collection = store.ensure_collection("default", "fake")
    space = store.ensure_space(collection.id, CLIP)
    return store, collection.id, space.id


def test_what_is_written_comes_back_whole(filled: tuple[SqlStore, int, int]) -> None:
    """Segments, places, metadata and vectors survive the round trip."""
    store, collection, space = filled
    (source_id,) = store.write_sources(collection, [a_write(space)])
    source = store.source(source_id)
    assert (source.path, source.mime, source.status) == ("/a.jpg", "text/plain", "indexed")
    assert source.metadata == {"tags": ["x"]}
    segments = store.segments_of(source_id)
    assert [s.text for s in segments] == ["text 0", "text 1"]
    assert segments[1].place == Place(char_start=1, char_end=2)
    ((ids, vectors),) = list(store.vectors(space, Modality.TEXT))
    assert ids.tolist() == [s.id for s in segments]
    np.testing.assert_array_equal(vectors, np.arange(8, dtype=np.float16).reshape(2, 4))


def test_replacing_keeps_the_source_and_never_reuses_a_segment_id(
    filled: tuple[SqlStore, int, int],
) -> None:
    """A changed file keeps its source id; its new segments have ids never seen before."""
    store, collection, space = filled
    (first,) = store.write_sources(collection, [a_write(space, segments=3)])
    old = {s.id for s in store.segments_of(first)}
    (again,) = store.write_sources(collection, [a_write(space, segments=2)])
    new = {s.id for s in store.segments_of(again)}
    assert again == first
    assert not old & new
    ops = [(c.op, set(c.segment_ids)) for c in store.changes(collection, 0)]
    assert ops == [("add", old), ("remove", old), ("add", new)]
    assert store.counts()["vectors"] == {"clip": 2}


def test_the_newest_ids_are_not_reused_after_a_delete(filled: tuple[SqlStore, int, int]) -> None:
    """An index that has not yet seen the delete must not take a new segment for the old one."""
    store, collection, space = filled
    (first,) = store.write_sources(collection, [a_write(space)])
    old = {s.id for s in store.segments_of(first)}
    assert store.delete_sources([first]) == 1
    (second,) = store.write_sources(collection, [a_write(space)])
    assert second != first
    assert not old & {s.id for s in store.segments_of(second)}


def test_a_failing_write_leaves_nothing_behind(filled: tuple[SqlStore, int, int]) -> None:
    """The second source of a batch is refused: the first is not there either."""
    store, collection, space = filled
    bad = replace(a_write(space, "b.jpg"), metadata={"tags": object()})
    with pytest.raises(Exception, match=r"(?i)not JSON serializable"):
        store.write_sources(collection, [a_write(space), bad])
    assert store.counts() == {"sources": 0, "failed": 0, "segments": 0, "vectors": {"clip": 0}}
    assert store.changes(collection, 0) == []


def test_another_model_under_the_same_name_is_refused(filled: tuple[SqlStore, int, int]) -> None:
    """Vectors of two models never meet in one space."""
    store, collection, _ = filled
    other = Space("clip", "other", "1", "0" * 16, 4)
    with pytest.raises(SpaceMismatchError, match="made with fake"):
        store.ensure_space(collection, other)


def test_vectors_of_a_space_that_is_not_in_use_are_refused(
    filled: tuple[SqlStore, int, int],
) -> None:
    """A run that began before a switch to other models writes nothing of the old ones."""
    store, collection, space = filled
    with pytest.raises(LibraryBusyError, match="switched to other models"):
        store.write_sources(collection, [a_write(space + 99)])
    other = Space("clip", "other", "1", "0" * 16, 4)
    store.begin_switch(collection, SwitchTarget("other"), [other])
    assert store.complete_switch(collection, Completion({})) == 0
    with pytest.raises(LibraryBusyError, match="switched to other models"):
        store.write_sources(collection, [a_write(space)])
    assert store.counts() == {"sources": 0, "failed": 0, "segments": 0, "vectors": {"clip": 0}}


def test_a_space_is_built_beside_the_one_in_use(filled: tuple[SqlStore, int, int]) -> None:
    """What waits is what the old space has; the switch is refused until nothing does."""
    store, collection, space = filled
    (source,) = store.write_sources(collection, [a_write(space, segments=3)])
    ids = [segment.id for segment in store.segments_of(source)]
    other = Space("clip", "other", "1", "0" * 16, 2)
    target = SwitchTarget("other", (("clip_model", "x"),))
    (pair,) = store.begin_switch(collection, target, [other])
    assert (pair[0].id, pair[1].state) == (space, "building")
    assert store.begin_switch(collection, target, [other]) == store.building(collection) == [pair]
    with pytest.raises(SpaceMismatchError, match="on its way to profile other"):
        store.begin_switch(collection, SwitchTarget("third"), [other])
    assert [i for i, _ in store.waiting_texts(pair, [Modality.TEXT], 0, 10)] == ids
    assert store.waiting_sources(pair, [Modality.TEXT], 0, 10) == [source]
    vectors = np.ones((2, 2), np.float16)
    assert store.add_vectors(pair[1].id, ids[:2], vectors) == 2
    assert store.add_vectors(pair[1].id, ids[:2], vectors) == 2  # again: nothing happens
    assert store.add_vectors(pair[1].id, [ids[-1] + 1], vectors[:1]) == 0  # deleted meanwhile
    assert store.filled(pair) == (2, 3)
    assert store.spaces(collection) == [pair[0]]
    assert store.complete_switch(collection, Completion({})) == 1
    assert store.counts()["vectors"] == {"clip": 3}
    before = store.last_change()
    forgone = Completion({"r": "s"}, forgone=frozenset(ids[2:]))
    assert store.complete_switch(collection, forgone) == 0
    assert store.last_change() > before
    assert [s.space for s in store.spaces(collection)] == [other]
    assert store.collection() == Collection(collection, "default", "other", (("clip_model", "x"),))
    assert store.switch_target(collection) is None
    assert store.problems() == []
    assert "1 segments have no vector in space 'clip'" in store.notes()[0]
    assert [store.remove_retired(space, batch=2) for _ in range(3)] == [2, 1, 0]
    assert store.spaces(state="retired") == []
    assert store.remove_retired(pair[1].id) == 0  # in use: not touched
    assert store.counts()["vectors"] == {"clip": 2}


def test_a_switch_that_is_dropped_can_be_taken_up_again(
    filled: tuple[SqlStore, int, int],
) -> None:
    """What was made and not yet removed is used; nothing can be written in between."""
    store, collection, space = filled
    (source,) = store.write_sources(collection, [a_write(space)])
    ids = [segment.id for segment in store.segments_of(source)]
    other = Space("clip", "other", "1", "0" * 16, 2)
    (pair,) = store.begin_switch(collection, SwitchTarget("other"), [other])
    store.add_vectors(pair[1].id, ids[:1], np.ones((1, 2), np.float16))
    assert store.abort_switch(collection)
    assert not store.abort_switch(collection)
    with pytest.raises(SpaceMismatchError, match="dropped"):
        store.add_vectors(pair[1].id, ids, np.ones((2, 2), np.float16))
    with pytest.raises(SpaceMismatchError, match="dropped"):
        store.complete_switch(collection, Completion({}))
    (again,) = store.begin_switch(collection, SwitchTarget("other"), [other])
    assert again[1].id == pair[1].id
    assert store.filled(again) == (1, 2)


def test_a_failure_is_recorded_and_then_replaced_by_success(
    filled: tuple[SqlStore, int, int],
) -> None:
    """A failed file is a row with its reason, until a later run takes it in."""
    store, collection, space = filled
    failure = Failure("/a.jpg", "corrupt", "the picture is cut short")
    store.write_sources(
        collection, [SourceWrite(a_file(), "s", "image/jpeg", "r", failure=failure)]
    )
    assert store.failures() == [failure]
    assert store.counts()["failed"] == 1
    store.write_sources(collection, [a_write(space)])
    assert store.failures() == []
    assert store.counts()["sources"] == 1


def test_a_copy_can_be_made_from_what_is_stored(filled: tuple[SqlStore, int, int]) -> None:
    """`source_content` gives back exactly what a write of the same content needs."""
    store, collection, space = filled
    write = a_write(space, segments=3)
    (source_id,) = store.write_sources(collection, [write])
    metadata, segments, vectors = store.source_content(source_id)
    assert metadata == write.metadata
    assert segments == write.segments
    np.testing.assert_array_equal(vectors[space][0], write.vectors[space][0])
    np.testing.assert_array_equal(vectors[space][1], write.vectors[space][1])


def test_problems_name_segments_without_vectors(filled: tuple[SqlStore, int, int]) -> None:
    """A text segment that has no CLIP vector is found."""
    store, collection, space = filled
    store.write_sources(collection, [a_write(space)])
    assert store.problems() == []
    segments = (SegmentDraft(Modality.TEXT),)
    lacking = SourceWrite(a_file("b"), "t", "text/plain", "r", segments=segments)
    store.write_sources(collection, [lacking])
    assert store.problems() == ["1 segments have no vector in space 'clip'"]


def test_writers_on_many_threads_are_all_heard(filled: tuple[SqlStore, int, int]) -> None:
    """Concurrent writers wait for each other; the log holds every change, in order."""
    store, collection, space = filled
    threads = [
        threading.Thread(
            target=store.write_sources, args=(collection, [a_write(space, f"{n}", sha256=str(n))])
        )
        for n in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    changes = store.changes(collection, 0)
    assert len(changes) == 16
    assert sorted(c.id for c in changes) == [c.id for c in changes]


def test_runs_remember_what_happened_to_each_file(filled: tuple[SqlStore, int, int]) -> None:
    """Counts, items and the end of a run; a run that never ended is marked interrupted."""
    store, collection, _ = filled
    run = store.start_run(collection, "index")
    store.update_run(run, counts={"seen": 1}, items=[RunItem("/a", "failed", "corrupt", "why")])
    assert store.run(run).state == "running"
    assert store.run_items(run) == [RunItem("/a", "failed", "corrupt", "why")]
    assert store.interrupt_dead_runs() == 1
    assert store.run(run).state == "interrupted"
    assert store.run(run).finished_at is not None
    with pytest.raises(NotFoundError, match="no job 99"):
        store.run(99)


def test_collections_are_found_by_name_or_by_being_the_only_one(store: SqlStore) -> None:
    """Without a name the only collection is meant; a wrong name lists the right ones."""
    with pytest.raises(NotFoundError, match="index something first"):
        store.collection()
    photos = store.ensure_collection("photos", "nano")
    assert store.collection() == photos
    store.ensure_collection("calls", "nano")
    assert store.collection("photos") == photos
    with pytest.raises(NotFoundError, match="'calls', 'photos'"):
        store.collection("nope")


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    """SQLite's own message about the disk becomes a StorageError."""
    from sqlalchemy.exc import OperationalError

    with pytest.raises(StorageError, match="disk is full"), storage_errors():
        raise OperationalError("INSERT", {}, Exception("database or disk is full"))
