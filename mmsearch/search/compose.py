"""Composes what a query's terms search in one channel into one direction.

*Several kinds of terms.* Image-image similarities vary more than image-text similarities (the
modality gap). Without a correction an example image dominates the words next to it ("but at
night"). So each vector is weighted by the inverse of the standard deviation of its similarities
over a sample of the channel: a term of weight 1 then moves the ranking as much as any other.

*Negative terms* are subtracted with a strength that saturates: however strong they are, the
result still points towards the positive terms. Unbounded, a weight of -2 would rank by
unlikeness alone. `benchmarks/composed_queries.py` has the figures behind both choices.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmsearch.stores.store import SqlStore
from mmsearch.types import Modality, Vectors
from mmsearch.vectors.channels import ChannelIndexes

Vector = npt.NDArray[np.float32]

CANCELLED = 1e-4
"""A sum of weighted unit vectors that is shorter than this has no direction."""

SAMPLE = 256
"""Vectors of a channel over which the deviation of similarities is measured."""

SMALLEST_SAMPLE = 16
"""With fewer, the deviation is too uncertain to be used."""


@dataclass(frozen=True, slots=True, eq=False)
class WeightedVector:
    """What one term searches in a space: a unit vector, shape (dimension,)."""

    vector: Vector
    weight: float
    kind: str
    """What was embedded: "text", "image", "sound"..."""


def compose(vectors: Sequence[WeightedVector], deviations: Sequence[float]) -> Vector | None:
    """The direction of all vectors together, of unit length, shape (dimension,).

    All zeros where they cancel each other out; None where all weights are negative. `deviations`
    are the standard deviations of each vector's similarities.
    """
    positive = sum(v.weight for v in vectors if v.weight > 0)
    negative = -sum(v.weight for v in vectors if v.weight < 0)
    if positive == 0:
        return None
    plain = sum_of(vectors, [1.0] * len(vectors))
    if np.linalg.norm(plain) <= CANCELLED:
        return np.zeros_like(plain)
    # The negative terms together stay below the positive ones: N becomes PN / (P + N).
    damping = positive / (positive + negative)
    smallest = min(deviations)
    factors = [
        (smallest / deviation) * (damping if v.weight < 0 else 1.0)
        for v, deviation in zip(vectors, deviations, strict=True)
    ]
    total = sum_of(vectors, factors)
    length = float(np.linalg.norm(total))
    return total / np.float32(length) if length > CANCELLED else np.zeros_like(total)


def sum_of(vectors: Sequence[WeightedVector], factors: Sequence[float]) -> Vector:
    """The sum of the vectors, each times its weight and factor."""
    weights = [v.weight * factor for v, factor in zip(vectors, factors, strict=True)]
    return np.asarray(np.array(weights) @ np.stack([v.vector for v in vectors]), np.float32)


class Composer:
    """Composes vectors by samples of a library's channels. Thread-safe."""

    def __init__(self, store: SqlStore, indexes: ChannelIndexes) -> None:
        self._store = store
        self._indexes = indexes
        self._lock = threading.Lock()
        self._samples: dict[tuple[int, Modality], tuple[int, Vectors]] = {}

    def compose(
        self, space_id: int, modality: Modality, vectors: Sequence[WeightedVector]
    ) -> Vector | None:
        """See the function `compose`."""
        deviations = [1.0] * len(vectors)
        if len({v.kind for v in vectors}) > 1:
            sample = self.sample(space_id, modality)
            if len(sample) >= SMALLEST_SAMPLE:
                measured = (sample @ np.stack([v.vector for v in vectors]).T).std(axis=0)
                deviations = [max(float(deviation), 1e-3) for deviation in measured]
        return compose(vectors, deviations)

    def sample(self, space_id: int, modality: Modality) -> Vectors:
        """Some vectors of the channel, shape (n, dimension); drawn anew when it has doubled."""
        index = self._indexes.get(space_id, modality)
        size = len(index) if index is not None else 0
        with self._lock:
            drawn = self._samples.get((space_id, modality))
        if drawn is not None and drawn[0] <= size <= 2 * drawn[0]:
            return drawn[1]
        ids = index.sample(SAMPLE, seed=size).tolist() if index is not None else []
        grouped = self._store.vectors.of_segments(space_id, sorted(ids))
        rows = [vectors.astype(np.float32) for _, vectors in grouped.values()]
        sample = np.concatenate(rows) if rows else np.empty((0, 0), np.float32)
        with self._lock:
            self._samples[space_id, modality] = (size, sample)
        return sample
