"""Exact nearest neighbours in plain NumPy: the referee of the contract tests."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from mmsearch.errors import SnapshotError
from mmsearch.types import Ids, IndexStats, SearchParams, Vectors
from mmsearch.vectors.checks import (
    HalfVectors,
    best_first,
    check_ids,
    check_limits,
    check_queries,
    check_vectors,
    empty_result,
    is_member,
)
from mmsearch.vectors.snapshot import IndexContent, block, write_content

_BLOCK = 8192
"""Rows scored at a time, which bounds the memory of the float64 copies."""


@dataclass(frozen=True, slots=True)
class _State:
    """Never changed, only replaced: a search works on the one it found."""

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
        return self._state.ids.copy()

    def add(self, ids: Ids, vectors: Vectors) -> None:
        new_ids, new_vectors = check_vectors(ids, vectors, self._dimension)
        with self._write:
            kept = ~is_member(self._state.ids, new_ids)
            all_ids = np.concatenate([self._state.ids[kept], new_ids])
            order = np.argsort(all_ids)
            all_vectors = np.concatenate([self._state.vectors[kept], new_vectors])
            self._state = _State(all_ids[order], all_vectors[order])

    def remove(self, ids: Ids) -> int:
        gone = check_ids(ids)
        with self._write:
            kept = ~is_member(self._state.ids, gone)
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
        given = check_queries(queries, self._dimension).astype(np.float64)
        state = self._state
        ids, vectors = state.ids, state.vectors
        if allowed is not None:
            mask = is_member(ids, check_ids(allowed))
            ids, vectors = ids[mask], vectors[mask]
        scores, hits = empty_result(len(given), k)
        if ids.size == 0:
            return scores, hits
        # Rounded to float32 before sorting: equal is what the caller can see to be equal.
        products = np.concatenate(
            [
                (given @ vectors[start : start + _BLOCK].astype(np.float64).T).astype(np.float32)
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

    def export(self) -> IndexContent:
        """All that `restore` needs."""
        state = self._state
        return IndexContent(
            type="Exact",
            dimension=self._dimension,
            count=len(state.ids),
            parameters={},
            recall=None,
            blocks={"main_ids": state.ids, "main_vectors": state.vectors},
        )

    @classmethod
    def restore(cls, content: IndexContent) -> Self:
        """The index that was exported. Raises SnapshotError if parts do not fit together."""
        index = cls(content.dimension)
        ids = block(content, "main_ids", np.int64, 1)
        vectors = block(content, "main_vectors", np.float16, 2)
        if vectors.shape != (len(ids), content.dimension) or (np.diff(ids) <= 0).any():
            raise SnapshotError("the snapshot's ids and vectors do not belong together")
        index._state = _State(ids, vectors)
        return index

    def close(self) -> None:
        """Nothing runs in the background."""

    def save(self, path: Path) -> None:
        write_content(path, self.export())
