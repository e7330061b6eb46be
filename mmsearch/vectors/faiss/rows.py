"""Exact search over float16 rows with FAISS: the part of an index that never approximates."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mmsearch.errors import MissingDependencyError
from mmsearch.types import HalfVectors, Ids, Vectors
from mmsearch.vectors.checks import is_member

Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]
"""Row numbers, internal to one `Rows`; they never leave the index."""

SPARE = 8
"""Candidates fetched beyond k, so that rounding does not decide which hit is the last."""

_BATCH = 10
"""From this many queries on, decoding the rows once for all of them (BLAS) is quicker ..."""
_BATCH_WITHOUT_TORCH = 24
"""... or from this many on where only FAISS can decode them, at a fifth of the speed."""
_BLOCK = 2048
"""Rows decoded at a time: 4 MB at 512 dimensions, which stays in the cache."""
_SERIAL = 32_000
"""Numbers decoded at a time: from 32768 on torch starts threads, which wait for each other."""
_SPARSE = 200
"""If at most 1/200 of the rows are selected, only those are read."""
_ROUNDING = 2e-6
"""Bound on the difference between two ways to sum a float32 product of unit vectors."""


@cache
def load_faiss() -> Any:
    """The module `faiss`, set up. Raises MissingDependencyError, which names the extras."""
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(
            "faiss",
            "cpu",
            "The vector index (one of the extras cpu, gpu for CUDA 13, gpu-cu12 for CUDA 12)",
        ) from error
    # The wheel's 128000 means that batches never use BLAS.
    faiss.cvar.distance_compute_blas_threshold = _BATCH
    return faiss


@dataclass(frozen=True, slots=True)
class Rows:
    """Vectors under ids, some of them dead (removed or replaced). Never changed."""

    ids: Ids
    vectors: HalfVectors
    """Shape (n, dimension), contiguous; `flat` reads this very memory."""
    dead: Mask
    n_dead: int
    flat: Any
    """faiss.IndexScalarQuantizer of type fp16: half the memory and time of float32."""

    @classmethod
    def of(cls, ids: Ids, vectors: HalfVectors, dead: Mask | None = None) -> Self:
        dead = np.zeros(len(ids), dtype=np.bool_) if dead is None else dead
        return cls(ids, vectors, dead, int(dead.sum()), _flat_view(vectors))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def live(self) -> int:
        return len(self.ids) - self.n_dead

    def with_dead(self, positions: Positions) -> Self:
        """The same rows, those at `positions` (live ones, each once) dead from now on."""
        if positions.size == 0:
            return self
        dead = self.dead.copy()
        dead[positions] = True
        return replace(self, dead=dead, n_dead=self.n_dead + positions.size)

    def select(self, allowed: Ids | None, *, ascending: bool) -> tuple[Mask | None, int]:
        """The rows to search and their number; None stands for all of them.

        `ascending`: the ids are in order, which makes small sets quick to find.
        """
        if allowed is None:
            return (~self.dead, self.live) if self.n_dead else (None, len(self))
        if ascending and 100 * allowed.size < len(self):
            mask = np.zeros(len(self), dtype=np.bool_)
            positions = np.searchsorted(self.ids, allowed)
            positions[positions == len(self)] = 0
            mask[positions[self.ids[positions] == allowed]] = True
        else:
            mask = is_member(self.ids, allowed)
        if self.n_dead:
            mask &= ~self.dead
        count = int(np.count_nonzero(mask))
        return (None, count) if count == len(self) else (mask, count)

    def scores(self, query: Vectors, positions: Positions) -> npt.NDArray[np.float32]:
        """Final scores of one query (dimension,): summed in float64, rounded to float32.

        Every path of a search ends here, so equal vectors have equal scores and an answer
        does not depend on the path.
        """
        exact = query.astype(np.float64)
        result = np.empty(len(positions), dtype=np.float32)
        for start in range(0, len(positions), _BLOCK):
            rows = self.vectors[positions[start : start + _BLOCK]].astype(np.float64)
            result[start : start + _BLOCK] = np.einsum("nd,d->n", rows, exact)
        return result

    def decode(self, which: Positions | slice) -> Vectors:
        """Some of the rows as float32."""
        half = self.vectors[which]
        torch = sys.modules.get("torch")
        if torch is None or half.size < 4096:
            return half.astype(np.float32)
        # NumPy and FAISS convert number by number, torch with the processor's own
        # instruction. It is not imported for this: where models run it is there already.
        single: Vectors = np.empty(half.shape, dtype=np.float32)
        source, target = torch.from_numpy(half).view(-1), torch.from_numpy(single).view(-1)
        for start in range(0, half.size, _SERIAL):
            target[start : start + _SERIAL].copy_(source[start : start + _SERIAL])
        return single

    def candidates(
        self, queries: Vectors, k: int, mask: Mask | None, count: int
    ) -> list[Positions]:
        """For each query, positions that hold the best k by final score for certain."""
        if count == 0:
            return [np.empty(0, dtype=np.int64)] * len(queries)
        fetch = min(k + SPARE, count)
        products, positions = self.scan(queries, fetch, mask, count)
        result = list(positions)
        if fetch == count:
            return result
        # Where the last one fetched could equal the k-th, others beyond it could as well.
        floor = products[:, k - 1] - _ROUNDING * np.linalg.norm(queries, axis=1)
        for row in np.flatnonzero(products[:, -1] >= floor):
            _, _, result[row] = self.flat.range_search(
                queries[row : row + 1], float(floor[row]), params=_parameters(mask)
            )
        return result

    def scan(
        self, queries: Vectors, k: int, mask: Mask | None, count: int
    ) -> tuple[npt.NDArray[np.float32], Positions]:
        """Best k <= count by float32 product: products (q, k) descending, positions (q, k)."""
        sparse = mask is not None and count * _SPARSE < len(self)
        batch = _BATCH if "torch" in sys.modules else _BATCH_WITHOUT_TORCH
        if len(queries) < batch and not sparse:
            products, positions = self.flat.search(queries, k, params=_parameters(mask))
            return products, positions
        return self._scan_blocks(queries, k, None if mask is None else np.flatnonzero(mask))

    def _scan_blocks(
        self, queries: Vectors, k: int, selected: Positions | None
    ) -> tuple[npt.NDArray[np.float32], Positions]:
        faiss = load_faiss()
        heap = faiss.ResultHeap(len(queries), k, keep_max=True)
        count = len(self) if selected is None else len(selected)
        for start in range(0, count, _BLOCK):
            size = min(_BLOCK, count - start)
            block = self.decode(
                slice(start, start + size) if selected is None else selected[start : start + size]
            )
            products, positions = faiss.knn(
                queries, block, min(k, size), metric=faiss.METRIC_INNER_PRODUCT
            )
            positions += start
            heap.add_result(products, positions if selected is None else selected[positions])
        heap.finalize()
        return heap.D, heap.I


def _flat_view(vectors: HalfVectors) -> Any:
    """An exact FAISS index that reads `vectors` in place; the caller keeps them alive."""
    faiss = load_faiss()
    rows, dimension = vectors.shape
    flat = faiss.IndexScalarQuantizer(
        dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    if rows == 0:
        return flat
    if not vectors.flags.c_contiguous:
        raise ValueError("FAISS reads rows in place only where they are contiguous")
    codes = vectors.reshape(-1).view(np.uint8)
    pointer = faiss.swig_ptr(codes)
    owner = flat.codes
    # MaybeOwnedVector is FAISS's own means for indexes over foreign memory (1.11 and later);
    # its factory cannot be called from Python, its fields can be set.
    owner.is_owned = False
    owner.view_data = owner.c_ptr = pointer
    owner.view_size = owner.c_size = codes.size
    flat.ntotal = rows
    return flat


def _parameters(mask: Mask | None) -> Any:
    if mask is None:
        return None
    faiss = load_faiss()
    return faiss.SearchParameters(sel=faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little")))
