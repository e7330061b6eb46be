"""The vector indexes that the contract tests run on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mmsearch.protocols import VectorIndex
from mmsearch.vectors.faiss.index import FaissIndex
from mmsearch.vectors.memory import MemoryIndex
from tests.support.remote_vectors import RemoteBackend, Server
from tests.support.vectors import CHANNEL, DIMENSION, crowd

EMPTY: dict[str, Callable[[], VectorIndex]] = {
    "memory": lambda: MemoryIndex(DIMENSION),
    "faiss": lambda: FaissIndex(DIMENSION, device="cpu"),
    "remote": lambda: RemoteBackend(Server(), "a library").build(CHANNEL, []),
    "gpu": lambda: FaissIndex(DIMENSION, device="gpu"),
}
GPU = pytest.param("gpu", marks=pytest.mark.gpu)


def make_compressed() -> FaissIndex:
    index = FaissIndex.build(*crowd(), exact_below=0, k_factor=15, device="cpu")
    assert index.stats().type.startswith("PQ")
    return index


@pytest.fixture(params=["memory", "faiss", "remote", GPU])
def empty(request: pytest.FixtureRequest) -> VectorIndex:
    """An index with nothing in it."""
    return EMPTY[request.param]()


@pytest.fixture(params=["memory", "faiss", "faiss-sealed", "faiss-compressed", "remote", GPU])
def crowded(request: pytest.FixtureRequest) -> VectorIndex:
    """An index that holds the crowd."""
    ids, vectors = crowd()
    if request.param == "faiss-compressed":
        return make_compressed()
    if request.param == "faiss-sealed":
        return FaissIndex.build(ids, vectors, device="cpu")
    if request.param == "gpu":
        return FaissIndex.build(ids, vectors, device="gpu")
    index = EMPTY[request.param]()
    index.add(ids, vectors)
    return index
