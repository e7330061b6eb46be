"""How similar the segments of an answer are to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mmsearch.stores.rows import StoredSpace
from mmsearch.stores.segments import Candidate
from mmsearch.stores.store import SqlStore
from mmsearch.types import Modality, Vectors

SPACE_OF: Mapping[Modality, str] = {
    Modality.TEXT: "text",
    Modality.SPEECH: "text",
    Modality.SOUND: "sound",
}
"""The space in which two segments of a modality are compared; clip for those not named."""

VectorsByModality = Mapping[Modality, tuple[Sequence[int], Vectors]]
"""Segment ids (n,) and their unit vectors, shape (n, dimension)."""


def read_vectors(
    store: SqlStore, spaces: Mapping[str, StoredSpace], places: Mapping[int, Candidate]
) -> VectorsByModality:
    """The vectors of some segments, in the space of their modality (see `SPACE_OF`)."""
    by_space: dict[int, list[int]] = {}
    for place in places.values():
        stored = spaces.get(SPACE_OF.get(place.modality, "clip"))
        if stored is not None:
            by_space.setdefault(stored.id, []).append(place.id)
    vectors: dict[Modality, tuple[Sequence[int], Vectors]] = {}
    for space_id, ids in by_space.items():
        for modality, (rows, matrix) in store.vectors.of_segments(space_id, ids).items():
            vectors[modality] = (rows.tolist(), matrix.astype(np.float32))
    return vectors


class NearDuplicates:
    """Finds the representative that a segment is too similar to, within one modality."""

    def __init__(self, threshold: float, vectors: VectorsByModality) -> None:
        """`threshold` is the cosine from which two segments are near-duplicates."""
        self._threshold = threshold
        self._rows = {
            modality: ({segment: row for row, segment in enumerate(ids)}, matrix)
            for modality, (ids, matrix) in vectors.items()
        }
        self._representatives: dict[Modality, list[tuple[int, int]]] = {}
        """By modality: (row, segment id)."""

    def find(self, place: Candidate) -> int | None:
        """The id of the most similar representative, if it is similar enough."""
        rows, matrix = self._rows.get(place.modality, ({}, None))
        representatives = self._representatives.get(place.modality, [])
        if matrix is None or place.id not in rows or not representatives:
            return None
        cosines = matrix[[row for row, _ in representatives]] @ matrix[rows[place.id]]
        best = int(np.argmax(cosines))
        return representatives[best][1] if cosines[best] >= self._threshold else None

    def add(self, place: Candidate) -> None:
        """Let `find` return this segment from now on."""
        rows, _ = self._rows.get(place.modality, ({}, None))
        if place.id in rows:
            known = self._representatives.setdefault(place.modality, [])
            known.append((rows[place.id], place.id))


class Likeness:
    """How alike two segments are, 0..1, relative to the mean of their modality."""

    def __init__(self, vectors: VectorsByModality) -> None:
        self._rows: dict[int, tuple[Modality, int]] = {}
        self._matrix: dict[Modality, Vectors] = {}
        self._mean_cosine: dict[Modality, float] = {}
        for modality, (ids, matrix) in vectors.items():
            self._rows |= {segment: (modality, row) for row, segment in enumerate(ids)}
            self._matrix[modality] = matrix
            self._mean_cosine[modality] = _mean_cosine(matrix)

    def of(self, segment: int, others: Sequence[int]) -> npt.NDArray[np.float64]:
        """Shape (len(others),); 0 for those of another modality or without a vector."""
        likeness = np.zeros(len(others))
        if segment not in self._rows:
            return likeness
        modality, row = self._rows[segment]
        matrix, mean = self._matrix[modality], min(self._mean_cosine[modality], 0.99)
        cosines = matrix @ matrix[row]
        for i, other in enumerate(others):
            place = self._rows.get(other)
            if place is not None and place[0] is modality:
                likeness[i] = max(0.0, (float(cosines[place[1]]) - mean) / (1 - mean))
        return likeness


def _mean_cosine(matrix: Vectors) -> float:
    """The mean cosine of all pairs of unit rows, from the length of their sum."""
    count = len(matrix)
    squared_length = float(np.square(matrix.sum(axis=0)).sum())
    return (squared_length - count) / (count * (count - 1)) if count > 1 else 0.0
