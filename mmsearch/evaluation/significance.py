"""What chance could have done: confidence intervals of means, and paired tests of two runs.

Queries are the sample. Everything is seeded, so that a report is the same every time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 2_000
PERMUTATIONS = 10_000
SEED = 20_240_607
_AT_ONCE = 4_000_000
"""Random numbers held in memory at a time."""

Values = npt.NDArray[np.float64]
"""Shape (queries,): one measure's value for each query."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    queries: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs on the same queries: `second` minus `first`."""

    measure: str
    first: float
    second: float
    difference: Estimate
    p_value: float
    """Two-sided, of the paired randomisation test."""
    p_adjusted: float
    """After Holm's correction over the comparisons made together."""

    @property
    def relative(self) -> float:
        """The difference as a share of the first run's mean; inf if that is 0."""
        return self.difference.mean / self.first if self.first else float("inf")

    @property
    def significant(self) -> bool:
        """At the 5 % level, corrected."""
        return self.p_adjusted < 0.05


def estimate(values: Sequence[float] | Values, *, seed: int = SEED) -> Estimate:
    """Mean and 95 % percentile-bootstrap interval (Efron, 1979) over queries."""
    sample = np.asarray(values, np.float64)
    if not len(sample):
        return Estimate(0.0, 0.0, 0.0, 0)
    rng = np.random.default_rng(seed)
    means = np.concatenate(
        [
            sample[rng.integers(len(sample), size=(rows, len(sample)))].mean(axis=1)
            for rows in _portions(RESAMPLES, len(sample))
        ]
    )
    low, high = np.percentile(means, (2.5, 97.5))
    return Estimate(float(sample.mean()), float(low), float(high), len(sample))


def randomisation_test(
    first: Sequence[float] | Values, second: Sequence[float] | Values, *, seed: int = SEED
) -> float:
    """Two-sided p-value that the paired differences' signs are chance (Fisher's test).

    The test that Smucker, Allan and Carterette (2007) recommend for retrieval. With few
    differing queries every sign is tried; otherwise 10,000 random ones.
    """
    differences = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    observed = abs(differences.sum()) - 1e-12
    if 2 ** len(differences) <= PERMUTATIONS:
        every = np.arange(2 ** len(differences))[:, None] >> np.arange(len(differences)) & 1
        return float((abs((1 - 2 * every) @ differences) >= observed).mean())
    rng = np.random.default_rng(seed)
    extreme = 0
    for rows in _portions(PERMUTATIONS, len(differences)):
        signs = rng.integers(2, size=(rows, len(differences)), dtype=np.int8) * 2 - 1
        extreme += int((abs(signs @ differences) >= observed).sum())
    return (extreme + 1) / (PERMUTATIONS + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for being looked at together (Holm, 1979), in their order."""
    adjusted = [1.0] * len(p_values)
    worst = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        worst = max(worst, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = worst
    return adjusted


def compare(
    first: Mapping[str, Sequence[float] | Values],
    second: Mapping[str, Sequence[float] | Values],
) -> list[Comparison]:
    """Compare two runs in every measure that both have, corrected together.

    Values are by measure, one for each query, the same queries in the same order.
    """
    names = [name for name in first if name in second]
    p_values = [randomisation_test(first[name], second[name]) for name in names]
    return [
        Comparison(
            name,
            float(np.mean(first[name])),
            float(np.mean(second[name])),
            estimate(np.asarray(second[name]) - np.asarray(first[name])),
            p_value,
            p_adjusted,
        )
        for name, p_value, p_adjusted in zip(names, p_values, holm(p_values), strict=True)
    ]


def _portions(total: int, width: int) -> list[int]:
    """`total` rows of `width` numbers, in portions that fit into memory."""
    rows = max(1, _AT_ONCE // width)
    return [min(rows, total - start) for start in range(0, total, rows)]
