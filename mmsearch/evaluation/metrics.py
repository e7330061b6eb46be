"""How good a ranking is: the usual measures, one value per query.

Definitions are those of trec_eval (linear gains in nDCG, a grade above 0 is relevant), so that
figures compare with published ones; the tests compare every measure with ir-measures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmsearch.errors import QueryError

Grades = Mapping[str, int]
"""One query's judgements: item to grade; what is not listed, or 0, is not relevant."""

DEFAULT_MEASURES = ("R@1", "R@5", "R@10", "P@10", "RR", "AP", "nDCG@10")

_FORM = re.compile(r"(nDCG|R|P|RR|AP|Success)(?:@([1-9][0-9]*))?")


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure by its ir-measures name: `nDCG@10`, `R@1`, `P@5`, `RR`, `AP`, `Success@1`."""

    name: str
    cut: int | None
    value: Callable[[Sequence[int], Sequence[int], int | None], float]

    def of(self, ranking: Sequence[str], grades: Grades) -> float:
        """The measure of one ranking (item ids, best first), 0..1."""
        ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)
        if not ideal:
            return 0.0
        gains = [max(0, grades.get(item, 0)) for item in ranking]
        return self.value(gains[: self.cut], ideal, self.cut)


def measure(name: str) -> Measure:
    """The measure of that name. Raises QueryError, which lists the forms."""
    match = _FORM.fullmatch(name)
    if match is None or (match[2] is None and match[1] in _NEEDS_CUT):
        raise QueryError(
            f"unknown measure '{name}'. Measures: nDCG, nDCG@K, R@K, P@K, RR, RR@K, AP, AP@K, "
            "Success@K.",
            param="measure",
        )
    return Measure(name, int(match[2]) if match[2] else None, _VALUES[match[1]])


def _ndcg(gains: Sequence[int], ideal: Sequence[int], cut: int | None) -> float:
    return _dcg(gains) / _dcg(ideal[:cut])


def _dcg(gains: Sequence[int]) -> float:
    return float(sum(gain / np.log2(rank + 1) for rank, gain in enumerate(gains, 1)))


def _recall(gains: Sequence[int], ideal: Sequence[int], _cut: int | None) -> float:
    return sum(gain > 0 for gain in gains) / len(ideal)


def _precision(gains: Sequence[int], _ideal: Sequence[int], cut: int | None) -> float:
    assert cut is not None
    return sum(gain > 0 for gain in gains) / cut


def _reciprocal_rank(gains: Sequence[int], _ideal: Sequence[int], _cut: int | None) -> float:
    return next((1 / rank for rank, gain in enumerate(gains, 1) if gain > 0), 0.0)


def _average_precision(gains: Sequence[int], ideal: Sequence[int], _cut: int | None) -> float:
    relevant_seen, total = 0, 0.0
    for rank, gain in enumerate(gains, 1):
        if gain > 0:
            relevant_seen += 1
            total += relevant_seen / rank
    return total / len(ideal)


def _success(gains: Sequence[int], _ideal: Sequence[int], _cut: int | None) -> float:
    return float(any(gain > 0 for gain in gains))


_VALUES = {
    "nDCG": _ndcg,
    "R": _recall,
    "P": _precision,
    "RR": _reciprocal_rank,
    "AP": _average_precision,
    "Success": _success,
}
_NEEDS_CUT = frozenset(("R", "P", "Success"))
