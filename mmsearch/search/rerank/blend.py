"""Blends the scores of rerankers with those of the first stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from mmsearch.search.scoring.rankings import ScoredSegment

RANK_CONSTANT = 10
"""Of reciprocal ranks in a list of some twenty: smaller than the first stage's usual 60."""


def blend(
    segments: Sequence[ScoredSegment],
    shares: Sequence[Sequence[int]],
    scored: Mapping[int, float],
    *,
    offered: int,
    weight: float,
    by: Literal["score", "rank"] = "score",
) -> tuple[ScoredSegment, ...]:
    """`segments` joined with the scores 0..1 of those that were scored; nothing is left out.

    By "score": (1 - weight) * first stage + weight * scored. What was not scored gets the mean of
    what was, so that a low score falls below it and a high one rises above. The fewer of the
    `offered` best hits were scored, the less they weigh: two drawings that score high mean little
    beside thirteen photos that the reranker could not score, or texts that it was never given.
    By "rank": within each reranker's share (segment ids), the weighted sum of reciprocal ranks
    decides who takes which of the share's places; places and scores stay what they were. Ties
    keep their order.
    """
    if not scored or weight == 0:
        return _with_parts(segments, scored)
    if by == "rank":
        return _by_rank(_with_parts(segments, scored), shares, scored, weight)
    weight *= min(1.0, len(scored) / offered)
    mean = sum(scored.values()) / len(scored)
    blended = [
        replace(segment, score=(1 - weight) * segment.score + weight * scored.get(segment.id, mean))
        for segment in _with_parts(segments, scored)
    ]
    blended.sort(key=lambda segment: -round(segment.score, 9))
    return tuple(blended)


def _by_rank(
    segments: Sequence[ScoredSegment],
    shares: Sequence[Sequence[int]],
    scored: Mapping[int, float],
    weight: float,
) -> tuple[ScoredSegment, ...]:
    order = list(segments)
    place = {segment.id: i for i, segment in enumerate(segments)}
    for share in shares:
        members = sorted((i for i in share if i in scored), key=place.__getitem__)
        first_rank = {i: rank for rank, i in enumerate(members)}
        by_score = sorted(members, key=lambda i: -scored[i])
        second_rank = {i: rank for rank, i in enumerate(by_score)}
        gain = {
            i: (1 - weight) / (RANK_CONSTANT + first_rank[i])
            + weight / (RANK_CONSTANT + second_rank[i])
            for i in members
        }
        joined = sorted(members, key=lambda i, g=gain: -g[i])  # type: ignore[misc]
        for slot, segment in zip([place[i] for i in members], joined, strict=True):
            order[slot] = replace(segments[place[segment]], score=segments[slot].score)
    return tuple(order)


def _with_parts(
    segments: Sequence[ScoredSegment], scored: Mapping[int, float]
) -> tuple[ScoredSegment, ...]:
    """With the two scores that the final one is made of."""
    return tuple(
        replace(
            segment,
            scores={
                **segment.scores,
                "first_stage": segment.score,
                "rerank": scored[segment.id],
            },
        )
        if segment.id in scored
        else segment
        for segment in segments
    )
