"""The fast form of a large index: 4-bit product quantization, refined exactly.

PQ fast scan (André et al., 2015, as in FAISS `IndexPQFastScan`) reads d/4 bytes a vector out
of the L1 cache; its best candidates are scored again with the float16 vectors. Graphs and
inverted lists lose far more on queries from the other modality, which lie outside the data
(docs/decisions/0002-vector-index.md).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mmsearch.errors import SnapshotError
from mmsearch.types import Vectors
from mmsearch.vectors.faiss.rows import SPARE, Positions, Rows, load_faiss

logger = logging.getLogger(__name__)

SMALLEST = 1000
"""With fewer vectors the codebooks cannot be trained, and exact search is as quick."""
TARGET_RECALL = 0.98

_TRAINING_ROWS = 8192
_BLOCK = 16384
_QUERIES = 100
_TOP = 10
_LARGEST_FACTOR = 8
"""How far a default k_factor that is too small is raised, as a multiple of it."""


@dataclass(frozen=True, slots=True)
class Compressed:
    """Fast approximate candidates of one `Rows`, whose dead rows it does not know."""

    base: Any
    """faiss.IndexPQFastScan."""
    refine: Any
    """faiss.IndexRefine of `base` and the rows' `flat`."""
    k_factor: int
    """The default in force, at which `recall` was measured."""
    recall: float

    @classmethod
    def build(cls, rows: Rows, k_factor: int, queries: Vectors | None) -> Self | None:
        """Train, encode and measure; None if TARGET_RECALL is out of reach.

        `rows` has no dead ones. `queries` are held-out queries of the kind that will come;
        without them some rows are shifted away from the data.
        """
        faiss = load_faiss()
        dimension = rows.vectors.shape[1]
        # One code for two dimensions; for one where there are few of them.
        parts = dimension // 2 if dimension % 2 == 0 and dimension > 128 else dimension
        base = faiss.IndexPQFastScan(dimension, parts, 4, faiss.METRIC_INNER_PRODUCT)
        random = np.random.default_rng(0)
        sample = random.permutation(len(rows))[:_TRAINING_ROWS]
        base.pq.cp.niter = 10  # 25, the default, takes thrice as long for the same recall
        base.train(rows.decode(np.sort(sample)))
        for start in range(0, len(rows), _BLOCK):
            base.add(rows.decode(slice(start, start + _BLOCK)))
        refine = faiss.IndexRefine(base, rows.flat)
        if queries is None or len(queries) == 0:
            queries = shifted_queries(rows, _QUERIES, random)
        truth, _ = rows.scan(queries, min(_TOP, len(rows)), None, len(rows))
        factor = k_factor
        recall = 0.0
        while factor <= _LARGEST_FACTOR * k_factor:
            candidate = cls(base, refine, factor, 0.0)
            recall = candidate.measure(queries, truth)
            if recall >= TARGET_RECALL:
                return cls(base, refine, factor, recall)
            factor *= 2
        logger.warning(
            "The compressed index of %d vectors reaches only recall %.3f: exact search is used.",
            len(rows),
            recall,
        )
        return None

    @classmethod
    def restore(cls, rows: Rows, data: npt.NDArray[np.uint8], k_factor: int, recall: float) -> Self:
        """From the bytes of `serialize`. Raises SnapshotError if they do not fit `rows`."""
        faiss = load_faiss()
        try:
            base = faiss.deserialize_index(data)
        except RuntimeError as error:
            raise SnapshotError(f"FAISS cannot read the compressed part: {error}") from None
        if (
            not isinstance(base, faiss.IndexPQFastScan)
            or base.d != rows.vectors.shape[1]
            or base.ntotal != len(rows)
            or base.metric_type != faiss.METRIC_INNER_PRODUCT
        ):
            raise SnapshotError("the snapshot's compressed part is not that of its vectors")
        restored = cls(base, faiss.IndexRefine(base, rows.flat), k_factor, recall)
        restored.check_agreement(rows)
        return restored

    def serialize(self) -> npt.NDArray[np.uint8]:
        """FAISS's own bytes of the compressed codes, without the float16 vectors."""
        data: npt.NDArray[np.uint8] = load_faiss().serialize_index(self.base)
        return data

    @property
    def type(self) -> str:
        """In the style of FAISS's factory strings."""
        return f"PQ{self.base.pq.M}x4fs,Refine(SQfp16)"

    @property
    def memory_bytes(self) -> int:
        return int(self.base.codes.size() + 4 * self.base.pq.centroids.size())

    def candidate_count(self, k: int, k_factor: int | None) -> int:
        """How many candidates are refined for k hits.

        Full `k_factor` for the first ten hits, a third of it for every one beyond: deep lists
        lose less by their last places, and refining is what costs.
        """
        factor = k_factor or self.k_factor
        return SPARE + factor * _TOP + max(1, factor // 3) * max(0, k - _TOP)

    def candidates(
        self, queries: Vectors, k: int, k_factor: int | None, rows: Rows
    ) -> list[Positions | None]:
        """For each query its best live positions, more than k; None: search it exactly.

        None comes where removals or equal vectors have used up the candidates.
        """
        count = self.candidate_count(k, k_factor)
        fetch = count + min(rows.n_dead, count)
        if 2 * fetch >= len(rows):
            return [None] * len(queries)
        products, positions = self._refined(queries, fetch)
        result: list[Positions | None] = []
        for scores, candidates in zip(products, positions, strict=True):
            alive = candidates >= 0
            if rows.n_dead:
                alive &= ~rows.dead[candidates]
            scores, candidates = scores[alive], candidates[alive]
            # Too few candidates, or so many equals that codes cannot separate the best k.
            if 2 * len(candidates) < count or len(candidates) <= k or scores[-1] >= scores[k - 1]:
                result.append(None)
                continue
            last = int(np.searchsorted(-scores, -(scores[k - 1] - 2e-6), side="right"))
            result.append(candidates[:last])
        return result

    def measure(self, queries: Vectors, truth: npt.NDArray[np.float32]) -> float:
        """recall@10 against `truth`, the exact best products (q, 10). Equals count as hits."""
        top = truth.shape[1]
        products, _ = self._refined(queries, self.candidate_count(top, None))
        floor = truth[:, -1:] - 2e-6
        return float((products[:, :top] >= floor).mean())

    def check_agreement(self, rows: Rows) -> None:
        """Raise SnapshotError unless some of the rows are found by their own vectors.

        It costs a few milliseconds and catches codes that FAISS reads but lays out otherwise.
        """
        probes = np.linspace(0, len(rows) - 1, num=min(8, len(rows))).astype(np.int64)
        queries = rows.decode(probes)
        products, _ = self._refined(queries, min(self.candidate_count(_TOP, None), len(rows)))
        norms = np.einsum("nd,nd->n", queries, queries)
        if (products[:, 0] < norms - 1e-3).any():
            raise SnapshotError("the snapshot's compressed part disagrees with its vectors")

    def _refined(self, queries: Vectors, fetch: int) -> tuple[npt.NDArray[np.float32], Positions]:
        """The best `fetch` by code, sorted by their float32 products."""
        faiss = load_faiss()
        products, positions = self.refine.search(
            queries, fetch, params=faiss.IndexRefineSearchParameters(k_factor=1.0)
        )
        return products, positions


def shifted_queries(rows: Rows, count: int, random: np.random.Generator) -> Vectors:
    """Unit queries (count, dimension) that stand to the rows as texts to images in CLIP.

    A part of a vector (cosine about 0.4), one direction common to all (the modality gap,
    Liang et al., 2022), and independent noise.
    """
    dimension = rows.vectors.shape[1]
    chosen = random.choice(len(rows), size=min(count, len(rows)), replace=False)
    sampled = rows.decode(np.sort(chosen))
    gap = _unit(random.standard_normal((1, dimension), dtype=np.float32))
    noise = _unit(random.standard_normal(sampled.shape, dtype=np.float32))
    return np.ascontiguousarray(_unit(0.4 * sampled + 0.6 * gap + 0.7 * noise))


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32)
