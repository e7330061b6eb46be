"""Exact nearest neighbours in plain NumPy: a backend without files, and the tests' referee."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmsearch.errors import SnapshotError
from mmsearch.protocols import OpenedIndex, VectorIndex
from mmsearch.types import Channel, HalfVectors, Ids, IndexStats, SearchParams, Vectors
from mmsearch.vectors.checks import (
    best_first,
    check_ids,
    check_limits,
    check_queries,
    check_vectors,
    empty_result,
    is_member,
    joined,
    sample_ids,
)

_BLOCK = 8192
"""Rows scored at a time, which bounds the memory of the float64 copies."""


@dataclass(frozen=True, slots=True)
class _State:
    """Immutable: a write replaces it, and a running search keeps the state it began with."""

    ids: Ids
    """Ascending."""
    vectors: HalfVectors


class MemoryIndex:
    """`VectorIndex` without FAISS: float16 vectors, scores summed in float64.

    Meant for tests and for libraries of a few thousand segments; every search reads all.
    """

    def __init__(self, dimension: int) -> None:
        if dimension < 1:
            raise ValueError(f"the dimension is at least 1, not {dimension}")
        self.generation = 0
        self._dimension = dimension
        self._write = threading.Lock()
        self._state = _State(
            np.empty(0, dtype=np.int64), np.empty((0, dimension), dtype=np.float16)
        )

    @property
    def dimension(self) -> int:
        return self._dimension

    def __len__(self) -> int:
        return len(self._state.ids)

    def ids(self) -> Ids:
        """The live ids, ascending."""
        return self._state.ids.copy()

    def contents(self) -> tuple[Ids, HalfVectors]:
        """The live ids, ascending, and their vectors. Not to be written to."""
        return self._state.ids, self._state.vectors

    def contains(self, ids: Ids) -> npt.NDArray[np.bool_]:
        return is_member(check_ids(ids), self._state.ids)

    def sample(self, n: int, seed: int) -> Ids:
        return sample_ids(self._state.ids, n, seed)

    def add(self, ids: Ids, vectors: Vectors | HalfVectors) -> None:
        new_ids, new_vectors = check_vectors(ids, vectors, self._dimension)
        with self._write:
            kept = ~is_member(self._state.ids, new_ids)
            all_ids = np.concatenate([self._state.ids[kept], new_ids])
            order = np.argsort(all_ids)
            all_vectors = np.concatenate([self._state.vectors[kept], new_vectors])
            self._state = _State(all_ids[order], all_vectors[order])

    def remove(self, ids: Ids) -> int:
        removed_ids = check_ids(ids)
        with self._write:
            kept = ~is_member(self._state.ids, removed_ids)
            removed = len(kept) - int(kept.sum())
            self._state = _State(self._state.ids[kept], self._state.vectors[kept])
        return removed

    def search(
        self,
        queries: Vectors,
        k: int,
        *,
        allowed: Ids | None = None,
        params: SearchParams | None = None,
    ) -> tuple[npt.NDArray[np.float32], Ids]:
        check_limits(k, params)
        exact = check_queries(queries, self._dimension).astype(np.float64)
        state = self._state
        ids, vectors = state.ids, state.vectors
        if allowed is not None:
            mask = is_member(ids, check_ids(allowed))
            ids, vectors = ids[mask], vectors[mask]
        scores, hits = empty_result(len(exact), k)
        if ids.size == 0:
            return scores, hits
        # Rounded to float32 before sorting: equal is what the caller can see to be equal.
        products = np.concatenate(
            [
                (exact @ vectors[start : start + _BLOCK].astype(np.float64).T).astype(np.float32)
                for start in range(0, len(ids), _BLOCK)
            ],
            axis=1,
        )
        for row, all_scores in enumerate(products):
            best_scores, best_ids = best_first(all_scores, ids, k)
            scores[row, : len(best_ids)] = best_scores
            hits[row, : len(best_ids)] = best_ids
        return scores, hits

    def stats(self) -> IndexStats:
        state = self._state
        return IndexStats(
            type="Exact",
            size=len(state.ids),
            generation=self.generation,
            memory_bytes=state.ids.nbytes + state.vectors.nbytes,
        )

    def close(self) -> None:
        """Nothing runs in the background."""


@dataclass(frozen=True, slots=True)
class _Saved:
    channel: Channel
    contents: tuple[Ids, HalfVectors]
    high_water_mark: int
    generation: int


class MemoryBackend:
    """`VectorBackend` without files. Each process builds its indexes from SQL when it starts."""

    persistent = False

    def __init__(self) -> None:
        self._saved: dict[tuple[int, int, str], _Saved] = {}

    def open(self, channel: Channel) -> OpenedIndex | None:
        saved = self._saved.get(_place(channel))
        if saved is None:
            return None
        if saved.channel != channel:
            raise SnapshotError(
                f"the saved index of {channel} has another fingerprint or dimension"
            )
        index = MemoryIndex(channel.dimension)
        index.add(*saved.contents)
        index.generation = saved.generation
        return OpenedIndex(index, saved.high_water_mark)

    def build(self, channel: Channel, batches: Iterable[tuple[Ids, HalfVectors]]) -> MemoryIndex:
        index = MemoryIndex(channel.dimension)
        index.add(*joined(batches, channel.dimension))
        return index

    def save(self, channel: Channel, index: VectorIndex, high_water_mark: int) -> None:
        assert isinstance(index, MemoryIndex)
        saved = self._saved.get(_place(channel))
        index.generation = max(index.generation, saved.generation if saved else 0) + 1
        self._saved[_place(channel)] = _Saved(
            channel, index.contents(), high_water_mark, index.generation
        )

    def delete(self, channel: Channel) -> None:
        self._saved.pop(_place(channel), None)

    def close(self) -> None:
        """There is nothing to close."""


def _place(channel: Channel) -> tuple[int, int, str]:
    return channel.collection_id, channel.space_id, channel.modality.value
