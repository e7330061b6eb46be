"""The growing part of an index: rows added since the last compaction."""

from __future__ import annotations

import numpy as np

from mmsearch.types import HalfVectors, Ids
from mmsearch.vectors.faiss.rows import Positions, Rows

_SMALLEST_CAPACITY = 256


class TailBuffer:
    """Memory of the tail. New rows are written behind those that searches can see.

    Not thread-safe: the index calls it with its write lock held.
    """

    def __init__(self, ids: Ids, vectors: HalfVectors) -> None:
        self._ids = ids.copy()
        self._vectors = vectors.copy()
        self._positions = {int(i): at for at, i in enumerate(ids)}
        self.first_rows = Rows.of(self._ids, self._vectors)
        """The tail that the buffer begins with."""

    def reserve(self, tail: Rows, more: int) -> None:
        """Make room for more rows behind `tail`. Searches keep reading the memory of before."""
        size = len(tail)
        if size + more <= len(self._ids):
            return
        capacity = max(_SMALLEST_CAPACITY, 2 * (size + more))
        ids = np.empty(capacity, dtype=np.int64)
        vectors = np.empty((capacity, self._vectors.shape[1]), dtype=np.float16)
        ids[:size], vectors[:size] = tail.ids, tail.vectors
        self._ids, self._vectors = ids, vectors

    def append(self, tail: Rows, ids: Ids, vectors: HalfVectors) -> Rows:
        """The tail with more rows, for which `reserve` has made room."""
        size, total = len(tail), len(tail) + len(ids)
        self._ids[size:total] = ids
        self._vectors[size:total] = vectors
        self._positions.update(zip(ids.tolist(), range(size, total), strict=True))
        dead = np.concatenate([tail.dead, np.zeros(len(ids), dtype=np.bool_)])
        return Rows.of(self._ids[:total], self._vectors[:total], dead)

    def remove(self, ids: Ids) -> Positions:
        """Positions of the live rows with these ids, which the buffer counts as dead afterwards."""
        positions = self._positions
        removed = [at for i in ids.tolist() if (at := positions.pop(i, None)) is not None]
        return np.array(removed, dtype=np.int64)
