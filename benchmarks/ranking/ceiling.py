"""What joining channels cannot exceed: the kinds' lists, merged by whoever knows the answers.

Each kind of item keeps the order that the engine gave it; only which kind comes next is chosen,
with the judgements at hand, so that nDCG is the greatest there is.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmsearch.evaluation.dataset import Dataset
from mmsearch.evaluation.metrics import Grades, measure
from mmsearch.evaluation.runs import Run

DEPTH = 10
NDCG = measure(f"nDCG@{DEPTH}")


def ceiling(run: Run, dataset: Dataset) -> float:
    """The mean over all queries of the greatest nDCG@10 of any merging of the run's kinds."""
    kinds = dataset.kinds()
    every: list[float] = []
    for query in dataset.queries:
        lists: dict[str, list[str]] = {}
        for item, _ in run.rankings[query.id]:
            lists.setdefault(kinds[item], []).append(item)
        every.append(_greatest(list(lists.values()), dataset.judgements[query.id]))
    return sum(every) / len(every)


def _greatest(lists: Sequence[Sequence[str]], grades: Grades) -> float:
    """By how many of each list were taken so far: the best that was made of them, and its value."""
    best: dict[tuple[int, ...], tuple[float, list[str]]] = {(0,) * len(lists): (0.0, [])}
    for _ in range(DEPTH):
        following: dict[tuple[int, ...], tuple[float, list[str]]] = {}
        for taken, (_, ranking) in best.items():
            for number, items in enumerate(lists):
                if taken[number] < len(items):
                    longer = [*ranking, items[taken[number]]]
                    after = (*taken[:number], taken[number] + 1, *taken[number + 1 :])
                    made = (NDCG.of(longer, grades), longer)
                    following[after] = max(made, following.get(after, made))
        best = following or best
    return max(value for value, _ in best.values())
