"""The indexes of a library follow SQL, whatever their backend kept, lost or could not save."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mmsearch.library import Library
from mmsearch.protocols import VectorBackend
from mmsearch.search.engine import SearchEngine
from mmsearch.types import Modality
from mmsearch.vectors.channels import REBUILD_WARNING_SECONDS, ChannelIndexes
from mmsearch.vectors.faiss.backend import FaissBackend
from mmsearch.vectors.memory import MemoryBackend
from tests.support.fakes import open_fake
from tests.support.remote_vectors import RemoteBackend, Server
from tests.support.small_library import CLIP, fill, note, photo

QUERIES = ("something red", "a blue thing", "an old boat", "water for tea")


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SearchEngine]:
    """A library of five sources, whose own indexes are in memory."""
    with open_fake(tmp_path / "library", vector_backend="memory") as engine:
        fill(
            engine,
            [
                *(photo(f"{colour}.jpg", f"a {colour} thing") for colour in ("red", "blue")),
                photo("boat.jpg", "an old boat on water"),
                note("boats.txt", "We rowed the old boat across the lake."),
                note("tea.txt", "Boil fresh water for tea.", "Wait for four minutes."),
            ],
        )
        yield engine


@pytest.fixture
def server() -> Server:
    return Server()


def indexes_of(
    engine: SearchEngine, backend: VectorBackend, clock: Clock | None = None
) -> ChannelIndexes:
    """The library's indexes as another process opens them."""
    indexes = ChannelIndexes(engine.library.store, backend, save_every=1000, clock=clock or Clock())
    indexes.refresh()
    return indexes


def saved(engine: SearchEngine, server: Server) -> None:
    """Save the library's indexes to the server."""
    indexes = ChannelIndexes(
        engine.library.store, RemoteBackend(server, "a library"), save_every=1000
    )
    indexes.refresh(save=True)


def sizes(indexes: ChannelIndexes) -> dict[str, int]:
    return {name: space["size"] for name, space in indexes.stats().items()}


# ---------------------------------------------------------------------------- backends


@pytest.mark.parametrize("kind", ["faiss", "remote"])
def test_a_whole_search_gives_the_same_hits_with_every_backend(
    engine: SearchEngine, server: Server, tmp_path: Path, kind: str
) -> None:
    """Built, saved, opened again and changed: hits and scores are those of exact NumPy search."""

    def backend() -> VectorBackend:
        if kind == "remote":
            return RemoteBackend(server, "a library")
        return FaissBackend(tmp_path / "indexes", "a library", device="cpu")

    library = engine.library
    ChannelIndexes(library.store, backend(), save_every=1000).refresh(save=True)
    indexes = ChannelIndexes(library.store, backend(), save_every=1000)
    other = SearchEngine(
        Library(library.settings, library.store, indexes, library.models, library.sandbox)
    )

    def compare() -> None:
        for query in QUERIES:
            result, expected = other.search(query), engine.search(query)
            assert expected.hits
            assert [hit.segment.id for hit in result.hits] == [
                hit.segment.id for hit in expected.hits
            ]
            assert [hit.score for hit in result.hits] == pytest.approx(
                [hit.score for hit in expected.hits], abs=1e-6
            )
            assert result.warnings == ()

    compare()
    fill(engine, [photo("barge.jpg", "an old barge on water"), note("milk.txt", "Milk for tea.")])
    library.store.sources.delete([engine.search("something red").hits[0].source.id])
    compare()
    assert library.verify() == {"ok": True, "problems": []}
    assert indexes.problems() == []
    indexes.close()


def test_the_memory_backend_writes_no_file(engine: SearchEngine) -> None:
    """The setting `vector_backend` chooses it. A new process builds from SQL without a warning."""
    folder = engine.library.path
    assert engine.library.status()["index"]["clip"]["channels"]["image"]["type"] == "Exact"
    assert not list(folder.rglob("*.index"))
    with open_fake(folder, vector_backend="memory") as again:
        assert again.search(QUERIES[0]).hits == engine.search(QUERIES[0]).hits
        assert again.library.status()["warnings"] == []


# ---------------------------------------------------------------------------- following


def test_only_later_changes_are_replayed(engine: SearchEngine, server: Server) -> None:
    """An opened index is taken as it was saved, and the change log brings it up to date."""
    saved(engine, server)
    tables = {alias.table for alias in server.aliases.values()}
    fill(engine, [photo("green.jpg", "a green thing")])
    engine.library.store.sources.delete([1])
    indexes = indexes_of(engine, RemoteBackend(server, "a library"))
    assert {alias.table for alias in server.aliases.values()} == tables, "nothing was rebuilt"
    assert sizes(indexes) == sizes(engine.library.indexes) | {"clip": 6}
    assert indexes.problems() == []
    assert indexes.warnings() == ()


def test_two_processes_may_replay_into_one_store(engine: SearchEngine, server: Server) -> None:
    """Each applies every change; the second time it changes nothing."""
    saved(engine, server)
    first = indexes_of(engine, RemoteBackend(server, "a library"))
    second = indexes_of(engine, RemoteBackend(server, "a library"))
    fill(engine, [photo("green.jpg", "a green thing")])
    assert first.refresh()
    engine.library.store.sources.delete([1])
    assert second.refresh()
    assert first.refresh()
    assert not first.refresh()
    assert first.problems() == second.problems() == []


def test_an_index_ahead_of_the_database_is_refused(engine: SearchEngine, server: Server) -> None:
    """The database was restored from a backup: the index may know vectors that are gone."""
    saved(engine, server)
    for alias in server.aliases.values():
        alias.mark = 10**6
    indexes = indexes_of(engine, RemoteBackend(server, "a library"))
    assert all("ahead of the database" in warning for warning in indexes.warnings())
    assert indexes.problems() == []


def test_verification_compares_id_by_id(engine: SearchEngine) -> None:
    """Missing and extra vectors are counted even where the numbers agree."""
    indexes = indexes_of(engine, MemoryBackend())
    (stored,) = (s for s in indexes.spaces if s.space.name == "clip")
    index = indexes.get(stored.id, Modality.IMAGE)
    assert index is not None
    assert indexes.problems() == []
    index.remove(index.sample(1, seed=0))
    index.add(np.array([900]), CLIP.encode_texts(["nothing"], "document"))
    missing, extra = indexes.problems()
    assert missing.endswith(f"space {stored.id}, image: 1 vectors are missing")
    assert extra.endswith(f"space {stored.id}, image: 1 vectors are extra")


# ---------------------------------------------------------------------------- warnings


def test_a_rebuilt_index_is_reported_to_every_client_for_a_while(
    engine: SearchEngine, server: Server
) -> None:
    """Reading a warning does not take it away from others; ten minutes later it is history."""
    saved(engine, server)
    fault = next(iter(server.aliases))
    server.aliases[fault].mark = None
    clock = Clock()
    indexes = indexes_of(engine, RemoteBackend(server, "a library"), clock)
    (warning,) = indexes.warnings()
    assert f"{fault} was refused and rebuilt from SQL" in warning
    assert "not written to its end" in warning
    clock.now += REBUILD_WARNING_SECONDS - 1
    assert indexes.warnings() == (warning,)
    clock.now += 1
    assert indexes.warnings() == ()
    assert indexes.problems() == []


def test_a_missing_index_is_reported_when_a_library_is_opened(
    engine: SearchEngine, server: Server
) -> None:
    """But not to the run that saves first, and not for collections that appear later."""
    indexes = indexes_of(engine, RemoteBackend(server, "a library"))
    assert len(indexes.warnings()) == 3
    assert all("there is no index snapshot of" in warning for warning in indexes.warnings())
    fill(engine, [photo("cat.jpg", "a cat")], collection="animals")
    assert indexes.refresh()
    assert len(indexes.warnings()) == 3
    first = ChannelIndexes(
        engine.library.store, RemoteBackend(Server(), "a library"), save_every=1000
    )
    first.refresh(save=True)
    assert first.warnings() == ()


def test_an_index_that_cannot_be_saved_is_reported_until_it_is(
    engine: SearchEngine, server: Server
) -> None:
    """Searching goes on meanwhile; repeated failures are one warning."""
    backend = RemoteBackend(server, "a library")
    clock = Clock()
    indexes = ChannelIndexes(engine.library.store, backend, save_every=1000, clock=clock)
    indexes.refresh()
    clock.now += REBUILD_WARNING_SECONDS
    server.down = True
    for _ in range(2):
        indexes.refresh(save=True)
        clock.now += 10 * REBUILD_WARNING_SECONDS
    assert len(indexes.warnings()) == 3
    assert all("cannot be reached" in warning for warning in indexes.warnings())
    server.down = False
    indexes.refresh(save=True)
    assert indexes.warnings() == ()
    assert len(server.aliases) == 3


def test_warnings_belong_to_a_collection(engine: SearchEngine, server: Server) -> None:
    """A search of one collection is not warned of another's indexes."""
    fill(engine, [photo("cat.jpg", "a cat")], collection="animals")
    store = engine.library.store
    indexes = indexes_of(engine, RemoteBackend(server, "a library"))
    animals = indexes.warnings(store.collections.get("animals").id)
    others = indexes.warnings(store.collections.get("default").id)
    assert len(animals) == 1
    assert len(others) == 3
    assert set(indexes.warnings()) == {*animals, *others}
