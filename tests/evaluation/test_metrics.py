"""Our measures against those of ir-measures, the referee, and against figures known by hand."""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest

from mmsearch.errors import QueryError
from mmsearch.evaluation.metrics import measure

NAMES = ("nDCG@10", "nDCG@3", "nDCG", "R@1", "R@5", "P@1", "P@10", "RR", "RR@3", "AP", "AP@5",
         "Success@1", "Success@5")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_measure_agrees_with_ir_measures(name: str) -> None:
    """Forty random queries, with grades 0 to 3, short rankings and relevant items not found."""
    rng = np.random.default_rng(len(name))
    qrels: dict[str, dict[str, int]] = {}
    runs: dict[str, list[str]] = {}
    for query in map(str, range(40)):
        items = [f"d{n}" for n in rng.permutation(60)]
        judged = items[: int(rng.integers(1, 20))]
        qrels[query] = {item: int(rng.integers(0, 4)) for item in judged}
        qrels[query][items[0]] = 1
        runs[query] = [f"d{n}" for n in rng.permutation(60)][: int(rng.integers(1, 40))]
    scored = {
        query: {item: float(100 - rank) for rank, item in enumerate(ranking)}
        for query, ranking in runs.items()
    }
    theirs = {
        row.query_id: row.value
        for row in ir_measures.iter_calc([ir_measures.parse_measure(name)], qrels, scored)
    }
    for query, ranking in runs.items():
        assert measure(name).of(ranking, qrels[query]) == pytest.approx(theirs[query], abs=1e-9)


def test_a_ranking_worked_out_by_hand() -> None:
    """Relevant at ranks 2 and 4 of 2 relevant ones."""
    ranking, grades = ["a", "b", "c", "d"], {"b": 1, "d": 1, "x": 0}
    assert measure("RR").of(ranking, grades) == 0.5
    assert measure("AP").of(ranking, grades) == 0.5
    assert measure("R@2").of(ranking, grades) == 0.5
    assert measure("P@4").of(ranking, grades) == 0.5
    assert measure("Success@1").of(ranking, grades) == 0.0
    ideal = 1 + 1 / np.log2(3)
    assert measure("nDCG@10").of(ranking, grades) == pytest.approx(
        (1 / np.log2(3) + 1 / np.log2(5)) / ideal
    )


def test_nothing_relevant_is_worth_nothing() -> None:
    """No division by zero."""
    assert measure("nDCG@10").of(["a"], {"a": 0}) == 0.0
    assert measure("AP").of([], {}) == 0.0


@pytest.mark.parametrize("name", ["nDGC@10", "R", "P", "Success", "R@0", "RR@", "nDCG@10 "])
def test_an_unknown_measure_is_told_with_the_known_ones(name: str) -> None:
    """A measure that is misspelled, or needs a cut and has none."""
    with pytest.raises(QueryError, match="Measures: nDCG"):
        measure(name)
