"""Joining the scores of a second look with those of the first stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from mmsearch.search.scoring.fusion import Fused


def fuse(
    fused: Sequence[Fused],
    shares: Sequence[Sequence[int]],
    scored: Mapping[int, float],
    *,
    offered: int,
    weight: float,
    by: Literal["score", "rank"] = "score",
) -> tuple[Fused, ...]:
    """`fused` joined with the scores 0..1 of those that were scored; nothing is left out.

    By "score": (1 - weight) * first stage + weight * scored. What was not scored is given the
    mean of what was, so that a "no" falls below it and a "yes" rises above. The less of the
    `offered` best hits was scored, the less it weighs: a "yes" to two drawings says little of
    thirteen photos that the reranker could not score, or of texts that it was never asked about.
    By "rank": within each reranker's share, the weighted sum of reciprocal ranks decides who takes
    which of the share's places; places and scores stay what they were. Equal ones keep their order.
    """
    if not scored or weight == 0:
        return _told(fused, scored)
    if by == "rank":
        return _by_rank(_told(fused, scored), shares, scored, weight)
    weight *= min(1.0, len(scored) / offered)
    mean = sum(scored.values()) / len(scored)
    blended = [
        replace(one, score=(1 - weight) * one.score + weight * scored.get(one.id, mean))
        for one in _told(fused, scored)
    ]
    blended.sort(key=lambda one: -round(one.score, 9))
    return tuple(blended)


RANK_K = 10
"""Of reciprocal ranks in a list of some twenty: smaller than a first stage's usual 60."""


def _by_rank(
    fused: Sequence[Fused],
    shares: Sequence[Sequence[int]],
    scored: Mapping[int, float],
    weight: float,
) -> tuple[Fused, ...]:
    order = list(fused)
    place = {one.id: i for i, one in enumerate(fused)}
    for share in shares:
        members = sorted((s for s in share if s in scored), key=place.__getitem__)
        second = sorted(members, key=lambda s: -scored[s])
        first_rank = {s: r for r, s in enumerate(members)}
        second_rank = {s: r for r, s in enumerate(second)}
        joined = sorted(
            members,
            key=lambda s: (
                -((1 - weight) / (RANK_K + first_rank[s]) + weight / (RANK_K + second_rank[s]))
            ),
        )
        for slot, segment in zip([place[s] for s in members], joined, strict=True):
            order[slot] = replace(fused[place[segment]], score=fused[slot].score)
    return tuple(order)


def _told(fused: Sequence[Fused], scored: Mapping[int, float]) -> tuple[Fused, ...]:
    """With what made the score up."""
    return tuple(
        replace(one, scores={**one.scores, "first_stage": one.score, "rerank": scored[one.id]})
        if one.id in scored
        else one
        for one in fused
    )
