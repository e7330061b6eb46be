"""Input checks and helpers that all vector indexes share, so that they behave alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsearch.errors import DimensionError, LimitError, QueryError
from mmsearch.types import HalfVectors, Ids, SearchParams, Vectors

NO_ID = -1
"""Fills a result row that has fewer than k hits."""


def check_ids(ids: npt.ArrayLike) -> Ids:
    """A flat int64 array of ids. Raises QueryError for anything but non-negative integers."""
    array: npt.NDArray[Any] = np.asarray(ids)
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise QueryError(f"ids are a flat array of integers, not {array.dtype} {array.shape}")
    result = array.astype(np.int64, copy=False)
    if result.min() < 0:
        raise QueryError(f"ids are SQL keys and never negative: {int(result.min())}")
    return result


def check_vectors(
    ids: npt.ArrayLike, vectors: npt.ArrayLike, dimension: int
) -> tuple[Ids, HalfVectors]:
    """The ids and the vectors rounded to float16. Of a repeated id the last vector is kept.

    Raises DimensionError for a wrong shape and for vectors without direction, QueryError for ids.
    """
    flat = check_ids(ids)
    matrix = _matrix(vectors, dimension, "vectors")
    if len(flat) != len(matrix):
        raise DimensionError(f"{len(flat)} ids for {len(matrix)} vectors")
    with np.errstate(over="ignore"):  # too large for float16 becomes infinite: refused below
        half = matrix.astype(np.float16)
    _refuse_directionless(half, "vector", flat)
    unique, last = np.unique(flat[::-1], return_index=True)
    if len(unique) < len(flat):
        keep = np.sort(len(flat) - 1 - last)
        return flat[keep], half[keep]
    return flat, half


def check_queries(queries: npt.ArrayLike, dimension: int) -> Vectors:
    """Contiguous float32 queries of shape (q, dimension).

    Raises DimensionError for a wrong shape and for queries without direction.
    """
    matrix = np.ascontiguousarray(_matrix(queries, dimension, "queries"), dtype=np.float32)
    _refuse_directionless(matrix, "query", None)
    return matrix


def check_limits(k: int, params: SearchParams | None) -> SearchParams:
    """The search parameters in force. Raises LimitError for numbers below 1."""
    if k < 1:
        raise LimitError(f"k is at least 1, not {k}", param="k")
    params = params or SearchParams()
    if params.k_factor is not None and params.k_factor < 1:
        raise LimitError(f"k_factor is at least 1, not {params.k_factor}", param="k_factor")
    return params


def is_member(ids: Ids, members: Ids) -> npt.NDArray[np.bool_]:
    """Which of `ids` are among `members`, shape (len(ids),), whatever the order of either."""
    if ids.size == 0 or members.size == 0:
        return np.zeros(len(ids), dtype=np.bool_)
    low, high = int(ids.min()), int(ids.max())
    if high - low > 8 * ids.size + 1_000_000:
        return np.isin(ids, members)
    # SQL keys are dense: a table over their range is several times quicker than sorting.
    table = np.zeros(high - low + 1, dtype=np.bool_)
    inside = members[(members >= low) & (members <= high)]
    table[inside - low] = True
    return table[ids - low]


def joined(batches: Iterable[tuple[Ids, HalfVectors]], dimension: int) -> tuple[Ids, HalfVectors]:
    """All batches as one: ids (n,) and vectors (n, dimension)."""
    parts = list(batches)
    if not parts:
        return np.empty(0, dtype=np.int64), np.empty((0, dimension), dtype=np.float16)
    return np.concatenate([ids for ids, _ in parts]), np.concatenate([half for _, half in parts])


def sample_ids(ids: Ids, n: int, seed: int) -> Ids:
    """At most n of the ascending `ids`, each once, in random order: equal in every index."""
    return np.random.default_rng(seed).permutation(ids)[:n]


def empty_result(queries: int, k: int) -> tuple[npt.NDArray[np.float32], Ids]:
    """Scores and ids of `queries` rows without a single hit."""
    scores = np.full((queries, k), -np.inf, dtype=np.float32)
    return scores, np.full((queries, k), NO_ID, dtype=np.int64)


def best_first(
    scores: npt.NDArray[np.float32], ids: Ids, k: int
) -> tuple[npt.NDArray[np.float32], Ids]:
    """The best k of one query's candidates: highest score first, equal scores by id."""
    order = np.lexsort((ids, -scores))[:k]
    return scores[order], ids[order]


def _matrix(values: npt.ArrayLike, dimension: int, what: str) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.asarray(values)
    if array.ndim != 2 or array.shape[1] != dimension:
        raise DimensionError(
            f"{what} have the shape (n, {dimension}) in this space, not {array.shape}",
            param="vector",
        )
    return array


def _refuse_directionless(vectors: npt.NDArray[Any], what: str, ids: Ids | None) -> None:
    # The sum of magnitudes detects both: NaN or infinite spreads to it, zero stays zero.
    magnitude = np.abs(vectors).sum(axis=1, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(magnitude) | (magnitude == 0))
    if bad.size:
        first = int(bad[0])
        name = f"{what} {first}" if ids is None else f"{what} of id {int(ids[first])}"
        kind = "is all zeros" if magnitude[first] == 0 else "holds NaN or infinite values"
        raise DimensionError(f"the {name} {kind}: it has no direction to compare", param="vector")
