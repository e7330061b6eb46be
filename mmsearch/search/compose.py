"""Joins what a query's terms look for in one space into one direction.

*Several kinds of terms.* Two pictures of a kind have cosines that spread far wider than those of
a picture and a text (the modality gap), so in a plain sum of unit vectors the picture decides and
the words next to it ("but at night") hardly count. Each part is therefore weighed by the inverse
of how far its similarities spread over a sample of the channel's own vectors: a term of weight 1
then moves the ranking as much as any other.

*Negative terms* are subtracted, but with strength that saturates: away from something as strongly
as you like is still mostly towards what is asked for. Unbounded, a weight of -2 would rank by
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
"""A sum of weighted unit vectors that is shorter than this points nowhere."""

SAMPLE = 256
"""Vectors of a channel by which it is measured how similarities spread."""

SMALLEST_SAMPLE = 16
"""With fewer, the spread is not known well enough to be used."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What one term looks for in a space: a unit vector, shape (dimension,)."""

    vector: Vector
    weight: float
    kind: str
    """What was embedded: "text", "image", "sound"..."""


def joined(parts: Sequence[Part], spreads: Sequence[float]) -> Vector | None:
    """The direction of all parts together, of unit length.

    All zeros where they cancel each other out; None where nothing is asked for, only kept
    away from. `spreads` are the standard deviations of each part's similarities.
    """
    positive = sum(part.weight for part in parts if part.weight > 0)
    negative = -sum(part.weight for part in parts if part.weight < 0)
    if positive == 0:
        return None
    plain = sum_of(parts, [1.0] * len(parts))
    if np.linalg.norm(plain) <= CANCELLED:
        return np.zeros_like(plain)
    # All that is negative together stays below what is positive: N becomes PN / (P + N).
    softened = positive / (positive + negative)
    narrowest = min(spreads)
    factors = [
        (narrowest / spread) * (softened if part.weight < 0 else 1.0)
        for part, spread in zip(parts, spreads, strict=True)
    ]
    total = sum_of(parts, factors)
    length = float(np.linalg.norm(total))
    return total / np.float32(length) if length > CANCELLED else np.zeros_like(total)


def sum_of(parts: Sequence[Part], factors: Sequence[float]) -> Vector:
    """The sum of the parts' vectors, each times its weight and factor."""
    weights = [part.weight * factor for part, factor in zip(parts, factors, strict=True)]
    return np.asarray(np.array(weights) @ np.stack([p.vector for p in parts]), np.float32)


class Composer:
    """Joins parts by samples of a library's channels. Thread-safe."""

    def __init__(self, store: SqlStore, indexes: ChannelIndexes) -> None:
        self._store = store
        self._indexes = indexes
        self._lock = threading.Lock()
        self._samples: dict[tuple[int, Modality], tuple[int, Vectors]] = {}

    def join(self, space_id: int, modality: Modality, parts: Sequence[Part]) -> Vector | None:
        """See `joined`."""
        spreads = [1.0] * len(parts)
        if len({part.kind for part in parts}) > 1:
            sample = self.sample(space_id, modality)
            if len(sample) >= SMALLEST_SAMPLE:
                found = (sample @ np.stack([part.vector for part in parts]).T).std(axis=0)
                spreads = [max(float(spread), 1e-3) for spread in found]
        return joined(parts, spreads)

    def sample(self, space_id: int, modality: Modality) -> Vectors:
        """Some of the channel's vectors, shape (n, dimension); taken anew when it has doubled."""
        index = self._indexes.get(space_id, modality)
        size = len(index) if index is not None else 0
        with self._lock:
            have = self._samples.get((space_id, modality))
        if have is not None and have[0] <= size <= 2 * have[0]:
            return have[1]
        ids = index.ids() if index is not None else np.empty(0, np.int64)
        chosen = np.random.default_rng(size).permutation(ids)[:SAMPLE]
        grouped = self._store.vectors.of_segments(space_id, sorted(chosen.tolist()))
        rows = [vectors.astype(np.float32) for _, vectors in grouped.values()]
        sample = np.concatenate(rows) if rows else np.empty((0, 0), np.float32)
        with self._lock:
            self._samples[space_id, modality] = (size, sample)
        return sample
