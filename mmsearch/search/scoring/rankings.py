"""The values that scoring takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mmsearch.types import Ids, Modality


@dataclass(frozen=True, slots=True)
class ChannelRanking:
    """The ranking of one first-stage channel, best first, without padding."""

    name: str
    """Space and modality, for example clip:image, or lexical and modality."""
    modality: Modality
    ids: Ids
    """Segment ids, shape (n,)."""
    scores: npt.NDArray[np.float32]
    """Raw scores (cosine or BM25), shape (n,)."""
    weight: float = 1.0
    evidence: npt.NDArray[np.float64] | None = None
    """`Calibration.evidence` of each score, shape (n,); None if there is no calibration."""
    background_evidence: tuple[float, ...] = ()
    """The evidence of the best match of each unrelated query in this channel."""
    true_positive_rate: float | None = None
    """`Calibration.true_positive_rate`: whether the channel can recognise a missing answer."""
    certainty: float | None = None
    """`Calibration.certainty`; None if it is not known or not needed."""
    background_certainties: tuple[float, ...] = ()
    """The certainty of each unrelated query."""
    coverage: npt.NDArray[np.float32] | None = None
    """Full text: the share of the query's words, weighted by idf, in each segment, shape (n,)."""


@dataclass(frozen=True, slots=True)
class Rankings:
    """The rankings of all channels for one query."""

    channels: tuple[ChannelRanking, ...]
    depth: int
    """How many candidates each channel was asked for."""
    exhausted: bool = True
    """False if some channel has more candidates than it was asked for."""


@dataclass(frozen=True, slots=True)
class ScoredSegment:
    """A segment with the scores of all channels fused into one."""

    id: int
    score: float
    """0..1, comparable across queries as far as the channels are calibrated."""
    scores: Mapping[str, float]
    """Raw score, rank and calibrated score per channel that returned it."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """The fused segments of one query, best first. Empty if there is no answer."""

    segments: tuple[ScoredSegment, ...]


def with_weights(
    rankings: Sequence[ChannelRanking], weights: Mapping[str, float]
) -> list[ChannelRanking]:
    """Rankings with the weights named: by channel ("clip:image"), or all of a space ("clip")."""
    return [replace(ranking, weight=weight_of(ranking.name, weights)) for ranking in rankings]


def weight_of(channel: str, weights: Mapping[str, float]) -> float:
    """The weight of a channel by its name, or by its space's; 1 if neither is named."""
    return weights.get(channel, weights.get(channel.partition(":")[0], 1.0))


def active(rankings: Sequence[ChannelRanking]) -> list[ChannelRanking]:
    """Those that have a weight and returned something."""
    return [ranking for ranking in rankings if ranking.weight > 0 and len(ranking.ids)]
