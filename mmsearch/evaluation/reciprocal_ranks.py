"""Reciprocal rank fusion: the baseline that calibrated scores are compared with.

Cormack, Clarke and Buettcher (2009): a segment's contributions are summed over the channels that
could have returned it. Scores are not looked at, so calibration has no part in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmsearch.search.scoring.fusion import z_scores
from mmsearch.search.scoring.rankings import ChannelRanking, ScoredSegment, active
from mmsearch.types import Modality

RANK_CONSTANT = 60
"""The constant of the original paper: how slowly a contribution falls with rank."""


def reciprocal_rank_fusion(
    rankings: Sequence[ChannelRanking], limit: int | None = None
) -> list[ScoredSegment]:
    """The best `limit` segments by ranks; scores are 1 for first in every channel of a modality.

    The leaders of two modalities tie; the one with the higher z-score in its channel comes first.
    """
    rankings = active(rankings)
    total: dict[Modality, float] = {}
    for ranking in rankings:
        total[ranking.modality] = total.get(ranking.modality, 0.0) + ranking.weight
    sums: dict[int, float] = {}
    best_z: dict[int, float] = {}
    scores: dict[int, dict[str, float]] = {}
    for ranking in rankings:
        share = ranking.weight / total[ranking.modality]
        columns = zip(
            ranking.ids.tolist(), ranking.scores.tolist(), z_scores(ranking).tolist(), strict=True
        )
        for rank, (segment, raw, z_score) in enumerate(columns, start=1):
            gain = share * (RANK_CONSTANT + 1) / (RANK_CONSTANT + rank)
            sums[segment] = sums.get(segment, 0.0) + gain
            best_z[segment] = max(best_z.get(segment, z_score), z_score)
            parts = {ranking.name: raw, f"{ranking.name}:rank": float(rank)}
            scores.setdefault(segment, {}).update(parts)
    order = sorted(sums, key=lambda i: (-round(sums[i], 9), -best_z[i], i))
    return [ScoredSegment(i, min(round(sums[i], 9), 1.0), scores[i]) for i in order[:limit]]
