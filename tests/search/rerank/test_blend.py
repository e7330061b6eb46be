"""Joining the scores of the first stage and of rerankers."""

from __future__ import annotations

import itertools
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmsearch.search.rerank.blend import blend
from mmsearch.search.scoring.rankings import ScoredSegment


def some_fused(*scores: float) -> list[ScoredSegment]:
    return [
        ScoredSegment(i, score, {"clip:image": score}) for i, score in enumerate(scores, start=1)
    ]


def test_scores_are_blended() -> None:
    order = blend(
        some_fused(1.0, 0.8, 0.6), [[1, 2, 3]], {1: 0.0, 2: 0.5, 3: 1.0}, offered=3, weight=0.5
    )
    assert [one.id for one in order] == [3, 2, 1]
    assert [one.score for one in order] == pytest.approx([0.8, 0.65, 0.5])


def test_what_was_not_judged_counts_as_average() -> None:
    """A no falls below it, a yes rises above."""
    order = blend(some_fused(0.9, 0.9, 0.9), [[1, 2, 3]], {1: 0.1, 3: 0.9}, offered=3, weight=0.5)
    assert [one.id for one in order] == [3, 2, 1]
    assert "rerank" not in order[1].scores


def test_the_less_of_the_best_hits_was_judged_the_less_it_weighs() -> None:
    """Two of ten: a tenth of the blend in place of a half."""
    first = some_fused(*(0.9 - 0.05 * i for i in range(10)))
    scored = {9: 0.0, 10: 1.0}
    order = blend(first, [[9, 10]], scored, offered=10, weight=0.5)
    assert order[0].id == 1
    by_id = {one.id: one.score for one in order}
    assert by_id[10] == pytest.approx(0.9 * 0.45 + 0.1 * 1.0)
    assert by_id[1] == pytest.approx(0.9 * 0.9 + 0.1 * 0.5)
    assert blend(first, [[9, 10]], scored, offered=2, weight=0.5)[0].id == 10


def test_by_rank_each_kind_keeps_its_places() -> None:
    """Pictures at 1, 2, 4 and texts at 3, 5: their judges' scores do not compare."""
    scored = {1: 0.01, 2: 0.02, 4: 0.03, 3: 0.8, 5: 0.9}
    order = blend(
        some_fused(1.0, 0.9, 0.8, 0.7, 0.6),
        [[1, 2, 4], [3, 5]],
        scored,
        offered=5,
        weight=1.0,
        by="rank",
    )
    assert [one.id for one in order] == [4, 2, 5, 1, 3]
    assert [one.score for one in order] == [1.0, 0.9, 0.8, 0.7, 0.6]
    assert order[0].scores["first_stage"] == 0.7


def test_without_weight_nothing_moves() -> None:
    before = some_fused(0.9, 0.5)
    after = blend(before, [[1, 2]], {1: 0.0, 2: 1.0}, offered=2, weight=0.0)
    assert [(one.id, one.score) for one in after] == [(1, 0.9), (2, 0.5)]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.floats(0, 1), max_size=30),
    st.lists(st.none() | st.floats(0, 1), max_size=30),
    st.floats(0, 1),
    st.sampled_from(["score", "rank"]),
)
def test_joining_loses_nothing(
    scores: list[float], opinions: list[float | None], weight: float, by: Literal["score", "rank"]
) -> None:
    """Whatever was scored how: the same segments, scores in 0..1, best first."""
    before = some_fused(*sorted(scores, reverse=True))
    scored = {i: o for i, o in enumerate(opinions, 1) if o is not None and i <= len(before)}
    ids = [one.id for one in before]
    after = blend(
        before, [ids[::2], ids[1::2]], scored, offered=max(1, len(ids)), weight=weight, by=by
    )
    assert sorted(one.id for one in after) == ids
    assert all(-1e-9 <= one.score <= 1 + 1e-9 for one in after)
    assert all(a.score >= b.score - 1e-8 for a, b in itertools.pairwise(after))
