"""Nearest neighbours with FAISS: exact while small, compressed and refined when large.

An index is a sealed `main` part and an exact `tail` of what was added since::

    main   float16 rows, ascending ids       exact scan, filters
           + 4-bit codes, when large         fast candidates, refined with the rows
           or a copy on the GPUs             fast candidates, decided with the rows
    tail   float16 rows, appended            exact scan

Both are values that are never changed, only replaced; a search keeps the state
it began with and takes no lock. Removal marks rows as dead. `compact` seals everything live into a
new main part, beside the searches and writes that go on.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import Self, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from mmsearch.errors import SnapshotError
from mmsearch.types import HalfVectors, Ids, IndexStats, SearchParams, Vectors
from mmsearch.vectors.checks import (
    best_first,
    check_ids,
    check_limits,
    check_queries,
    check_vectors,
    empty_result,
    sample_ids,
)
from mmsearch.vectors.faiss.compressed import SMALLEST, Compressed
from mmsearch.vectors.faiss.gpu import Device, GpuFailedError, GpuRows, gpus
from mmsearch.vectors.faiss.rows import Mask, Positions, Rows, load_faiss
from mmsearch.vectors.faiss.state import IndexState, saved_codes, saved_dead, saved_rows
from mmsearch.vectors.faiss.tail import TailBuffer
from mmsearch.vectors.snapshot_format import IndexContent

logger = logging.getLogger(__name__)

_TAIL = 1000
"""Rows in the tail, or dead ones, that are never worth a compaction ..."""
_TAIL_FRACTION = 0.05
"""... nor are fewer than this part of the main rows. The tail is read by every search."""
_DEAD_FRACTION = 0.2


class IndexOptions(TypedDict, total=False):
    """The keyword arguments of `FaissIndex`, which has their defaults."""

    exact_below: int
    k_factor: int
    device: Device
    threads: int
    auto_compact: bool
    calibration_queries: Vectors | None


class FaissIndex:
    """`VectorIndex` over FAISS. Vectors are kept as float16, as they are in SQL.

    Up to `exact_below` vectors every search is exact. Above, unfiltered searches go through
    compressed codes (recall@10 measured at each build, 0.98 or else exact); filtered ones and
    those with `SearchParams.exact` are exact at every size. Hits with equal scores come in the
    order of their ids. `threads` is how many OpenMP threads a call may use.

    `device`: "auto" uses GPUs if FAISS has any, "gpu" demands them (ConfigurationError).
    Raises MissingDependencyError where FAISS is not installed.
    """

    def __init__(
        self,
        dimension: int,
        *,
        exact_below: int = 20_000,
        k_factor: int = 30,
        device: Device = "auto",
        threads: int = 1,
        auto_compact: bool = True,
        calibration_queries: Vectors | None = None,
    ) -> None:
        if dimension < 1:
            raise ValueError(f"the dimension is at least 1, not {dimension}")
        load_faiss()
        self.generation = 0
        self._dimension = dimension
        self._exact_below = max(exact_below, SMALLEST)
        self._k_factor = k_factor
        self._threads = threads
        self._auto_compact = auto_compact
        self._calibration = (
            None if calibration_queries is None else check_queries(calibration_queries, dimension)
        )
        self._gpus = gpus(device)
        self._write = threading.Lock()
        """Held for the moment in which the state is replaced."""
        self._compaction = threading.Lock()
        """Held while a new main part is built."""
        self._background: threading.Thread | None = None
        self._state = IndexState(Rows.of(*self._empty()), self._new_tail(*self._empty()))

    @classmethod
    def build(
        cls,
        ids: Ids,
        vectors: Vectors | HalfVectors,
        **options: Unpack[IndexOptions],
    ) -> Self:
        """A sealed index of many vectors at once; float16 input is not copied more than once.

        `calibration_queries`, shape (n, dimension), are typical queries (not rows) by which
        the recall is measured; about 100 do.
        """
        array = np.asarray(vectors)
        index = cls(
            array.shape[1] if array.ndim == 2 else 1,
            **options,
        )
        new_ids, half = check_vectors(ids, array, index.dimension)
        order = np.argsort(new_ids)
        index._state = index._seal(new_ids[order], half[order])
        return index

    @property
    def dimension(self) -> int:
        return self._dimension

    def __len__(self) -> int:
        return self._state.live

    def ids(self) -> Ids:
        """The live ids, ascending."""
        return self._state.ids()

    def contains(self, ids: Ids) -> Mask:
        return self._state.contains(check_ids(ids))

    def sample(self, n: int, seed: int) -> Ids:
        return sample_ids(self._state.ids(), n, seed)

    # ------------------------------------------------------------------------ writing

    def add(self, ids: Ids, vectors: Vectors | HalfVectors) -> None:
        new_ids, half = check_vectors(ids, vectors, self._dimension)
        if new_ids.size == 0:
            return
        with self._write:
            self._tail.reserve(self._state.tail, len(new_ids))
            state = self._without(new_ids)
            self._state = replace(state, tail=self._tail.append(state.tail, new_ids, half))
        self._tidy()

    def remove(self, ids: Ids) -> int:
        removed_ids = np.unique(check_ids(ids))
        with self._write:
            before = self._state.live
            self._state = self._without(removed_ids)
            removed = before - self._state.live
        self._tidy()
        return removed

    def compact(self) -> None:
        """Seal all live vectors into a new main part, without the dead ones.

        Searches and writes go on meanwhile: what they change is carried over at the end.
        Takes seconds for 100,000 vectors; returns when it is done.
        """
        with self._compaction:
            begun = self._state
            ids, half = begun.merged()
            sealed = self._seal(ids, half)
            with self._write:
                now = self._state
                # The rows are still those of `begun`, since only a compaction replaces them,
                # and the tail has at most grown.
                past = len(begun.tail)
                died = np.concatenate(
                    [
                        begun.main.ids[now.main.dead & ~begun.main.dead],
                        begun.tail.ids[now.tail.dead[:past] & ~begun.tail.dead],
                    ]
                )
                main = sealed.main.with_dead(np.searchsorted(sealed.main.ids, died))
                newer = ~now.tail.dead[past:]
                tail = self._new_tail(now.tail.ids[past:][newer], now.tail.vectors[past:][newer])
                self._state = replace(sealed, main=main, tail=tail)

    def close(self) -> None:
        """Wait for a compaction in the background."""
        background = self._background
        if background is not None:
            background.join()

    def _without(self, ids: Ids) -> IndexState:
        """The state with these ids (each once) dead. Called with the write lock held."""
        state = self._state
        positions, live = state.main_positions(ids)
        return replace(
            state,
            main=state.main.with_dead(positions[live]),
            tail=state.tail.with_dead(self._tail.remove(ids)),
        )

    def _new_tail(self, ids: Ids, half: HalfVectors) -> Rows:
        """A tail in memory of its own; running searches still read the tail of before."""
        self._tail = TailBuffer(ids, half)
        return self._tail.first_rows

    def _empty(self) -> tuple[Ids, HalfVectors]:
        return np.empty(0, dtype=np.int64), np.empty((0, self._dimension), dtype=np.float16)

    # ------------------------------------------------------------------------ compaction

    def _seal(self, ids: Ids, half: HalfVectors) -> IndexState:
        """A state without a tail from ascending ids and their vectors."""
        faiss = load_faiss()
        faiss.omp_set_num_threads(self._threads)  # acts on the calling thread only
        main = Rows.of(ids, np.ascontiguousarray(half))
        tail = Rows.of(*self._empty())
        if self._gpus and len(main):
            try:
                return IndexState(main, tail, gpu=GpuRows(main, self._gpus))
            except GpuFailedError:
                self._gpus = 0
        if len(main) <= self._exact_below:
            return IndexState(main, tail)
        fast = Compressed.build(main, self._k_factor, self._calibration)
        return IndexState(main, tail, fast=fast, incompressible=fast is None)

    def _due(self) -> bool:
        state = self._state
        rows = len(state.main)
        return (
            len(state.tail) > max(_TAIL, _TAIL_FRACTION * rows)
            or state.main.n_dead + state.tail.n_dead > max(_TAIL, _DEAD_FRACTION * rows)
            or (
                rows > self._exact_below
                and state.fast is None
                and state.gpu is None
                and not state.incompressible
            )
        )

    def _tidy(self) -> None:
        """Compact if it is due: at once where it takes milliseconds, else in the background."""
        if not self._auto_compact or not self._due():
            return
        if self._state.live <= self._exact_below and not self._gpus:
            self.compact()
            return
        with self._write:
            if self._background is not None and self._background.is_alive():
                return
            self._background = threading.Thread(
                target=self._compact_while_due, name="faiss-compaction", daemon=True
            )
            self._background.start()

    def _compact_while_due(self) -> None:
        try:
            while self._due():
                self.compact()
        except Exception:
            # The index goes on as it is, slower; the next write tries again.
            logger.exception("The vector index could not be compacted.")

    # ------------------------------------------------------------------------ searching

    def search(
        self,
        queries: Vectors,
        k: int,
        *,
        allowed: Ids | None = None,
        params: SearchParams | None = None,
    ) -> tuple[npt.NDArray[np.float32], Ids]:
        params = check_limits(k, params)
        queries = check_queries(queries, self._dimension)
        only = None if allowed is None else check_ids(allowed)
        load_faiss().omp_set_num_threads(self._threads)  # acts on the calling thread only
        state = self._state
        scores, hits = empty_result(len(queries), k)
        if len(queries) == 0:
            return scores, hits
        in_main = self._main_candidates(state, queries, k, only, params)
        in_tail = _exact(state.tail, queries, k, state.tail.select(only, ascending=False))
        for row, query in enumerate(queries):
            best_scores, best_ids = best_first(
                np.concatenate(
                    [
                        state.main.scores(query, in_main[row]),
                        state.tail.scores(query, in_tail[row]),
                    ]
                ),
                np.concatenate([state.main.ids[in_main[row]], state.tail.ids[in_tail[row]]]),
                k,
            )
            scores[row, : len(best_ids)] = best_scores
            hits[row, : len(best_ids)] = best_ids
        return scores, hits

    def _main_candidates(
        self, state: IndexState, queries: Vectors, k: int, allowed: Ids | None, params: SearchParams
    ) -> list[Positions]:
        main = state.main
        proposed: list[Positions | None] = [None] * len(queries)
        if allowed is None and not params.exact:
            if state.gpu is not None:
                try:
                    proposed = state.gpu.candidates(main, queries, k)
                except GpuFailedError:
                    self._leave_gpu()
            elif state.fast is not None:
                proposed = state.fast.candidates(queries, k, params.k_factor, main)
        open_rows = [row for row, positions in enumerate(proposed) if positions is None]
        if open_rows:
            exact = _exact(main, queries[open_rows], k, main.select(allowed, ascending=True))
            for row, positions in zip(open_rows, exact, strict=True):
                proposed[row] = positions
        return [positions for positions in proposed if positions is not None]

    def _leave_gpu(self) -> None:
        with self._write:
            self._gpus = 0
            self._state = replace(self._state, gpu=None)
        self._tidy()

    # ------------------------------------------------------------------------ saving

    def stats(self) -> IndexStats:
        state = self._state
        return IndexStats(
            type=state.type,
            size=state.live,
            generation=self.generation,
            memory_bytes=state.memory_bytes,
            device="cpu" if state.gpu is None else f"gpu:{state.gpu.count}",
            recall=None if state.fast is None else state.fast.recall,
        )

    def export(self) -> IndexContent:
        """All that `restore` needs, as it is at this moment."""
        return self._state.export()

    @classmethod
    def restore(
        cls,
        content: IndexContent,
        **options: Unpack[IndexOptions],
    ) -> Self:
        """The index that was exported. Raises SnapshotError if parts do not fit together."""
        index = cls(
            content.dimension,
            **options,
        )
        ids, half = saved_rows(content, "main")
        if (np.diff(ids) <= 0).any():
            raise SnapshotError("the snapshot's ids are not in order")
        if "compressed" not in content.blocks or index._gpus:
            index._state = index._restore_exact(content, ids, half)
        else:
            index._state = index._restore_compressed(content, ids, half)
        if index._state.live != content.count:
            raise SnapshotError(
                f"the snapshot holds {index._state.live} vectors, its header says {content.count}"
            )
        index._tidy()
        return index

    def _restore_exact(self, content: IndexContent, ids: Ids, half: HalfVectors) -> IndexState:
        dead = saved_dead(content, len(ids))
        if not dead.any() and "tail_ids" not in content.blocks:
            # Not compressed here: `_tidy` does it in the background, searches need not wait.
            gpu = self._gpus > 0
            return self._seal(ids, half) if gpu else replace(self._state, main=Rows.of(ids, half))
        tail = Rows.of(*saved_rows(content, "tail"))
        return self._seal(*IndexState(Rows.of(ids, half, dead), tail).merged())

    def _restore_compressed(self, content: IndexContent, ids: Ids, half: HalfVectors) -> IndexState:
        main = Rows.of(ids, half, saved_dead(content, len(ids)))
        fast = saved_codes(content, main, self._k_factor)
        return IndexState(main, self._new_tail(*saved_rows(content, "tail")), fast=fast)


def _exact(
    rows: Rows, queries: Vectors, k: int, selected: tuple[Mask | None, int]
) -> list[Positions]:
    return rows.candidates(queries, k, *selected)
