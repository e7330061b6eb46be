"""Vectors and channels for the tests of vector indexes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mmsearch.protocols import VectorIndex
from mmsearch.types import Channel, Ids, Modality, SearchParams, Vectors
from mmsearch.vectors.memory import MemoryIndex

DIMENSION = 32
MIXTURE, MIXTURE_DIMENSION = 3000, 64
"""Vectors and dimensions of the mixture that the tests of FAISS use."""
CROWD = 1600
"""Enough vectors that the compressed form is used."""
FIRST_CROWD_ID = 1_000_000
EXACT = SearchParams(exact=True)
CHANNEL = Channel(1, 2, Modality.IMAGE, "a model", DIMENSION)


def unit(vectors: Any) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def clustered(count: int, seed: int) -> Vectors:
    """Unit vectors around a few centres, so that neighbours are worth finding."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((40, DIMENSION))
    noise = 0.5 * random.standard_normal((count, DIMENSION))
    return unit((centres[random.integers(0, 40, count)] + noise).astype(np.float32))


def mixture(count: int, seed: int, dimension: int = MIXTURE_DIMENSION) -> Vectors:
    """Unit vectors around 200 centres."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((200, dimension))
    noise = random.standard_normal((count, dimension))
    return unit(centres[random.integers(0, 200, count)] + 0.7 * noise)


def from_another_modality(count: int, seed: int, dimension: int = MIXTURE_DIMENSION) -> Vectors:
    """Queries beside the data: half a vector, a common shift, and noise."""
    shift = np.random.default_rng(77).standard_normal((1, dimension))
    noise = np.random.default_rng(seed).standard_normal((count, dimension))
    return unit(0.5 * mixture(count, seed, dimension) + 0.7 * unit(shift) + 0.6 * unit(noise))


def crowd() -> tuple[Ids, Vectors]:
    ids = np.arange(FIRST_CROWD_ID, FIRST_CROWD_ID + CROWD, dtype=np.int64)
    return ids, clustered(CROWD, seed=99)


def referee_of(ids: Ids, vectors: Vectors) -> MemoryIndex:
    referee = MemoryIndex(vectors.shape[1])
    referee.add(ids, vectors)
    return referee


def ids_of(index: VectorIndex) -> list[int]:
    """The live ids, ascending."""
    return sorted(index.sample(len(index) + 1, seed=0).tolist())


def assert_same(
    result: tuple[npt.NDArray[np.float32], Ids], expected: tuple[npt.NDArray[np.float32], Ids]
) -> None:
    np.testing.assert_array_equal(result[1], expected[1])
    np.testing.assert_allclose(result[0], expected[0], rtol=0, atol=1e-6)
