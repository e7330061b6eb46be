"""Joining the rankings of several channels into one list.

Raw cosines of different channels do not compare: in one CLIP space a text scores text far
above any image (the modality gap). Ranks do. Each channel's list is turned into reciprocal
ranks (Cormack, Clarke and Büttcher, 2009) and a segment's contributions are summed over the
channels that could have returned it, so that the best photo, the best sentence and the best
passage meet on equal terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmsearch.types import Ids, Modality

RRF_K = 60
"""The constant of the original paper: how slowly a list's weight falls with rank."""


@dataclass(frozen=True, slots=True)
class ChannelRanking:
    """One channel's first-stage answer: ids and raw scores, best first, without padding."""

    name: str
    """Space and modality, for example clip:image."""
    modality: Modality
    ids: Ids
    scores: npt.NDArray[np.float32]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Fused:
    """A segment after fusion."""

    id: int
    score: float
    """0..1: 1 for a segment that leads every channel that could have returned it."""
    scores: Mapping[str, float]
    """Raw score and rank per channel that returned it."""


def reciprocal_rank_fusion(rankings: Sequence[ChannelRanking], limit: int) -> list[Fused]:
    """The best `limit` segments over all channels, best first.

    Equal fused scores (the leaders of two modalities) are ordered by how far each stands out
    from the rest of its own channel, then by id, so that the order is stable.
    """
    total: dict[Modality, float] = {}
    for ranking in rankings:
        total[ranking.modality] = total.get(ranking.modality, 0.0) + ranking.weight
    sums: dict[int, float] = {}
    standout: dict[int, float] = {}
    parts: dict[int, dict[str, float]] = {}
    for ranking in rankings:
        if not len(ranking.ids):
            continue
        spread = float(ranking.scores.std()) or 1.0
        centre = float(np.median(ranking.scores))
        share = ranking.weight / total[ranking.modality]
        for rank, (segment, raw) in enumerate(
            zip(ranking.ids.tolist(), ranking.scores.tolist(), strict=True), start=1
        ):
            sums[segment] = sums.get(segment, 0.0) + share * (RRF_K + 1) / (RRF_K + rank)
            standout[segment] = max(standout.get(segment, -np.inf), (raw - centre) / spread)
            parts.setdefault(segment, {}).update(
                {ranking.name: raw, f"{ranking.name}:rank": float(rank)}
            )
    order = sorted(sums, key=lambda i: (-round(sums[i], 9), -standout[i], i))
    return [Fused(i, min(sums[i], 1.0), parts[i]) for i in order[:limit]]
