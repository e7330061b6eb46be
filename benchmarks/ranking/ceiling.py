"""What joining channels cannot exceed: the kinds' lists, merged by whoever knows the answers.

Each kind of item keeps the order that the engine gave it; only which kind comes next is chosen,
with the judgements at hand, so that nDCG is the greatest there is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mmsearch.evaluation.dataset import Dataset
from mmsearch.evaluation.runs import Run

DEPTH = 10


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


def _greatest(lists: Sequence[Sequence[str]], grades: Mapping[str, int]) -> float:
    """By how many of each list were taken so far: the most that could be gained with them."""
    best: dict[tuple[int, ...], float] = {(0,) * len(lists): 0.0}
    for place in range(DEPTH):
        following: dict[tuple[int, ...], float] = {}
        for taken, gained in best.items():
            for number, items in enumerate(lists):
                if taken[number] < len(items):
                    gain = gained + _gain(grades.get(items[taken[number]], 0), place)
                    after = (*taken[:number], taken[number] + 1, *taken[number + 1 :])
                    following[after] = max(gain, following.get(after, 0.0))
        best = following or best
    ideal = sorted(grades.values(), reverse=True)[:DEPTH]
    return max(best.values()) / sum(_gain(grade, place) for place, grade in enumerate(ideal))


def _gain(grade: int, place: int) -> float:
    return grade / math.log2(place + 2)
