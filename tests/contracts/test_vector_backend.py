"""Every vector backend behaves alike: what it saves it opens again, what it doubts it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmsearch.errors import SnapshotError
from mmsearch.protocols import OpenedIndex, VectorBackend, VectorIndex
from mmsearch.types import Channel, HalfVectors, Ids, Modality
from mmsearch.vectors.faiss.backend import FaissBackend
from mmsearch.vectors.memory import MemoryBackend
from tests.support.remote_vectors import RemoteBackend, Server
from tests.support.vectors import (
    CHANNEL,
    CROWD,
    DIMENSION,
    EXACT,
    assert_same,
    clustered,
    crowd,
    ids_of,
    referee_of,
)

GPU = pytest.param("gpu", marks=pytest.mark.gpu)
OPTIONS: dict[str, dict[str, Any]] = {
    "faiss": {"device": "cpu"},
    "faiss-compressed": {"device": "cpu", "exact_below": 0, "k_factor": 15},
    "gpu": {"device": "gpu"},
}


@dataclass
class Place:
    """Where a backend of one kind keeps its indexes, for one process after the other."""

    kind: str
    folder: Path
    server: Server = field(default_factory=Server)
    memory: MemoryBackend = field(default_factory=MemoryBackend)

    def backend(self, library: str = "a library") -> VectorBackend:
        """The backend as the next process opens it. Memory has no next process."""
        if self.kind == "memory":
            return self.memory
        if self.kind == "remote":
            return RemoteBackend(self.server, library)
        return FaissBackend(self.folder / "indexes", library, **OPTIONS[self.kind])

    def damage(self, channel: Channel) -> None:
        if self.kind == "remote":
            self.server.aliases[str(channel)].mark = None
            return
        (path,) = (self.folder / "indexes").iterdir()
        whole = path.read_bytes()
        path.write_bytes(whole[:-100])


@pytest.fixture(params=["memory", "faiss", "faiss-compressed", "remote", GPU])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(request.param, tmp_path)


def batches() -> Iterator[tuple[Ids, HalfVectors]]:
    """The crowd as SQL gives it."""
    ids, vectors = crowd()
    half = vectors.astype(np.float16)
    for start in range(0, CROWD, 700):
        yield ids[start : start + 700], half[start : start + 700]


def opened(backend: VectorBackend, channel: Channel = CHANNEL) -> OpenedIndex:
    saved = backend.open(channel)
    assert saved is not None
    return saved


def test_it_is_a_vector_backend(place: Place) -> None:
    backend = place.backend()
    assert isinstance(backend, VectorBackend)
    assert isinstance(backend.build(CHANNEL, []), VectorIndex)
    backend.close()


def test_a_channel_that_was_never_saved_is_not_there(place: Place) -> None:
    """Building alone saves nothing, and deleting nothing is no error."""
    backend = place.backend()
    backend.build(CHANNEL, batches()).close()
    assert backend.open(CHANNEL) is None
    backend.delete(CHANNEL)


def test_an_index_is_built_from_batches(place: Place) -> None:
    index = place.backend().build(CHANNEL, batches())
    assert len(index) == CROWD
    assert index.dimension == DIMENSION
    queries = clustered(9, 4)
    expected = referee_of(*crowd()).search(queries, 10)
    assert_same(index.search(queries, 10, params=EXACT), expected)


def test_without_vectors_an_empty_index_is_built(place: Place) -> None:
    """It can be saved, and it can be added to."""
    backend = place.backend()
    index = backend.build(CHANNEL, [])
    assert (len(index), index.dimension) == (0, DIMENSION)
    backend.save(CHANNEL, index, 3)
    index = opened(place.backend()).index
    index.add(np.array([5]), clustered(1, 1))
    assert index.search(clustered(1, 1), 1)[1].tolist() == [[5]]


def test_an_opened_index_answers_as_the_saved_one(place: Place) -> None:
    """With its high-water mark, after additions and removals; and it can be changed on."""
    backend = place.backend()
    index = backend.build(CHANNEL, batches())
    index.remove(crowd()[0][:20])
    index.add(np.arange(30), clustered(30, 8))
    backend.save(CHANNEL, index, 812)
    index.close()
    backend.close()
    saved = opened(place.backend())
    assert saved.high_water_mark == 812
    assert ids_of(saved.index) == ids_of(index)
    queries = clustered(9, 4)
    for allowed in (None, np.arange(0, 2_000_000, 7)):
        assert_same(
            saved.index.search(queries, 10, allowed=allowed, params=EXACT),
            index.search(queries, 10, allowed=allowed, params=EXACT),
        )
    assert_same(saved.index.search(queries, 10), index.search(queries, 10))
    saved.index.add(np.array([77]), queries[:1])
    assert saved.index.search(queries[:1], 1)[1][0, 0] == 77
    assert saved.index.remove(np.array([77])) == 1


def test_saving_again_replaces_what_was_saved(place: Place) -> None:
    """The generation counts up, across indexes that are built anew as well."""
    backend = place.backend()
    first = backend.build(CHANNEL, batches())
    backend.save(CHANNEL, first, 5)
    first.remove(crowd()[0][:1])
    backend.save(CHANNEL, first, 6)
    assert first.stats().generation == 2
    saved = opened(place.backend())
    assert (saved.high_water_mark, len(saved.index)) == (6, CROWD - 1)
    second = backend.build(CHANNEL, [])
    assert len(opened(place.backend()).index) == CROWD - 1, "a build is not opened until saved"
    backend.save(CHANNEL, second, 7)
    saved = opened(place.backend())
    assert (saved.high_water_mark, len(saved.index)) == (7, 0)
    assert saved.index.stats().generation == 3


def test_deleting_removes_one_channel(place: Place) -> None:
    """Others stay, also those that differ in one part only."""
    backend = place.backend()
    others = [
        replace(CHANNEL, collection_id=7),
        replace(CHANNEL, space_id=7),
        replace(CHANNEL, modality=Modality.TEXT),
    ]
    for channel in (CHANNEL, *others):
        backend.save(channel, backend.build(channel, batches()), channel.space_id)
    backend.delete(CHANNEL)
    assert place.backend().open(CHANNEL) is None
    for channel in others:
        assert opened(place.backend(), channel).high_water_mark == channel.space_id


@pytest.mark.parametrize("change", [{"fingerprint": "another model"}, {"dimension": 16}])
def test_an_index_of_another_space_is_refused(place: Place, change: dict[str, Any]) -> None:
    backend = place.backend()
    backend.save(CHANNEL, backend.build(CHANNEL, batches()), 5)
    changed = replace(CHANNEL, **change)
    with pytest.raises(SnapshotError, match="another"):
        place.backend().open(changed)
    backend.save(changed, backend.build(changed, []), 6)
    assert opened(place.backend(), changed).high_water_mark == 6


def test_an_index_of_another_library_is_refused(place: Place) -> None:
    if not place.backend().persistent:
        pytest.skip("nothing outlives the process that could be another library's")
    backend = place.backend()
    backend.save(CHANNEL, backend.build(CHANNEL, batches()), 5)
    with pytest.raises(SnapshotError, match="another library"):
        place.backend("another library").open(CHANNEL)


def test_a_damaged_index_is_refused_and_can_be_replaced(place: Place) -> None:
    if not place.backend().persistent:
        pytest.skip("nothing outlives the process that could be damaged")
    backend = place.backend()
    backend.save(CHANNEL, backend.build(CHANNEL, batches()), 5)
    place.damage(CHANNEL)
    with pytest.raises(SnapshotError):
        place.backend().open(CHANNEL)
    again = place.backend()
    again.save(CHANNEL, again.build(CHANNEL, batches()), 8)
    saved = opened(place.backend())
    assert (saved.high_water_mark, len(saved.index)) == (8, CROWD)
