"""Joining the rankings of several channels into one list.

Raw cosines of different channels do not compare: in one CLIP space a text scores text far
above any image (the modality gap). Two ways around it:

`score_fusion` (the default) turns each channel's similarities into a calibrated 0..1: how sure
it is that this is no chance match (see `calibration.py`; for words, how much of what was asked
for is there). What several channels say of one segment is joined as independent evidence,
``1 - (1 - a)(1 - b) / (1 - c)`` with c for a match as good as chance, which adds nothing; each
channel's weight is an exponent.

`reciprocal_rank_fusion` (Cormack, Clarke and Büttcher, 2009) looks at ranks alone: a segment's
contributions are summed over the channels that could have returned it.

Words and pictures match less decisively than words and words: the right photo's similarity is in
the upper part of what chance gives, where a right passage's is far above it. So, of the channels
that compare words with something else, all scores rise or fall with how certain it is that the
channel has an answer at all, which is known better than which one it is (`Calibration.certainty`).

`benchmarks/calibration.py` has the figures behind the default and the constants.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from mmsearch.search.scoring.calibration import ABLE, ANSWERED, HALF, joint
from mmsearch.types import Ids, Modality

Method = Literal["scores", "ranks"]

RRF_K = 60
"""The constant of the original paper: how slowly a list's weight falls with rank."""

SOFTNESS = 3.0
"""How slowly scores rise where they are 0.5."""

ENOUGH = 0.75
"""A share of the words asked for, weighted by rarity, that scores 0.5."""

SHARPNESS = 0.08
"""... and how quickly scores rise there: one word of two is little, all of them are much."""

SOME, EASED = 0.25, 0.75
"""Where such a share of the words asked for stands, an answer needs only this much of the score
that it needs elsewhere: a paraphrase of what is there shares some of its words."""

TRUST = 0.7
CERTAIN = (0.0, 3.0)
"""By how much (in log odds) scores of a channel rise with each scale of certainty, within these
bounds; nothing in their middle. Chosen on the dev part of `benchmarks/ranking`."""

CHANCE = 1 / (1 + math.exp(HALF / SOFTNESS))
"""What a match scores that is as good as an unrelated query's best one."""

BLIND = 0.6
"""What the best of a channel scores that cannot be calibrated."""


@dataclass(frozen=True, slots=True)
class ChannelRanking:
    """One channel's first-stage answer: ids and raw scores, best first, without padding."""

    name: str
    """Space and modality, for example clip:image, or lexical and modality."""
    modality: Modality
    ids: Ids
    scores: npt.NDArray[np.float32]
    weight: float = 1.0
    evidence: npt.NDArray[np.float64] | None = None
    """As `Calibration.evidence` tells it, shape (n,); None where it is not known."""
    unrelated: tuple[float, ...] = ()
    """The evidence that unrelated queries find at best in this channel."""
    power: float | None = None
    """As `Calibration.power`: whether the channel can tell that there is no answer."""
    certainty: float | None = None
    """As `Calibration.certainty`; None where it is not known or not needed."""
    unrelated_certainties: tuple[float, ...] = ()
    """... and that of unrelated queries."""
    shares: npt.NDArray[np.float32] | None = None
    """Full text: how much of what was asked for is there."""


@dataclass(frozen=True, slots=True)
class Fused:
    """A segment after fusion."""

    id: int
    score: float
    """0..1, comparable across queries as far as the channels are calibrated."""
    scores: Mapping[str, float]
    """Raw score, rank and calibrated score per channel that returned it."""


@dataclass(slots=True)
class _Sum:
    """What the channels say of one segment."""

    doubts: list[tuple[float, float]] = field(default_factory=list)
    """What each channel leaves in doubt, and what it would at chance."""
    ranks: float = 0.0
    standout: float = -np.inf
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def doubt(self) -> float:
        """What one channel leaves in doubt, times what the others take from that.

        A match as good as chance takes nothing: else what several channels know of (a photo in
        which words were read) would be preferred to what one knows of, whatever is asked.
        """
        if len(self.doubts) == 1:
            return self.doubts[0][0]
        taken = math.prod(min(1.0, doubt / chance) for doubt, chance in self.doubts)
        return taken * min(max(doubt, chance) for doubt, chance in self.doubts)


def fuse(rankings: Sequence[ChannelRanking], limit: int, method: Method = "scores") -> list[Fused]:
    """The best `limit` segments over all channels, best first, by the method named."""
    if method == "ranks":
        return reciprocal_rank_fusion(rankings, limit)
    return score_fusion(rankings, limit)


def score_fusion(rankings: Sequence[ChannelRanking], limit: int) -> list[Fused]:
    """By calibrated scores; equal ones by how far they stand out in their channel, then by id."""
    sums = _sums(rankings)
    doubts = {i: one.doubt for i, one in sums.items()}
    order = sorted(sums, key=lambda i: (doubts[i], -sums[i].standout, i))
    return [Fused(i, _score(doubts[i]), sums[i].parts) for i in order[:limit]]


def reciprocal_rank_fusion(rankings: Sequence[ChannelRanking], limit: int) -> list[Fused]:
    """By ranks. Leaders of two modalities tie; the one that stands out more comes first.

    Scores are calibrated ones all the same, but none is higher than the one before.
    """
    sums = _sums(rankings)
    order = sorted(sums, key=lambda i: (-round(sums[i].ranks, 9), -sums[i].standout, i))
    found: list[Fused] = []
    lowest = 1.0
    for i in order[:limit]:
        lowest = min(lowest, _score(sums[i].doubt))
        found.append(Fused(i, lowest, sums[i].parts))
    return found


def calibrated(rankings: Sequence[ChannelRanking]) -> list[npt.NDArray[np.float64]]:
    """0..1 for each id of each ranking, by what unrelated queries find in all of them."""
    known = [ranking.unrelated for ranking in rankings if ranking.unrelated]
    location, scale = joint(known) if known else (0.0, 1.0)
    found: list[npt.NDArray[np.float64]] = []
    for ranking in rankings:
        if ranking.shares is not None:
            value = _logistic((ranking.shares.astype(np.float64) - ENOUGH) / SHARPNESS)
        elif ranking.evidence is not None and ranking.unrelated:
            stands = (ranking.evidence - location) / scale
            value = _logistic((stands - HALF) / SOFTNESS + _trust(ranking))
        else:
            value = BLIND * (RRF_K + 1) / (RRF_K + 1 + np.arange(len(ranking.ids)))
        found.append(value)
    return found


def _trust(ranking: ChannelRanking) -> float:
    """What the channel's certainty is worth, in log odds. Nothing, if it could not tell."""
    if ranking.certainty is None or ranking.power is None or ranking.power < ABLE:
        return 0.0
    least, most = CERTAIN
    return TRUST * (min(max(ranking.certainty, least), most) - (least + most) / 2)


def _sums(rankings: Sequence[ChannelRanking]) -> dict[int, _Sum]:
    rankings = _heard(rankings)
    total: dict[Modality, float] = {}
    for ranking in rankings:
        total[ranking.modality] = total.get(ranking.modality, 0.0) + ranking.weight
    sums: dict[int, _Sum] = {}
    for ranking, values in zip(rankings, calibrated(rankings), strict=True):
        name, share = ranking.name, ranking.weight / total[ranking.modality]
        rank_key, calibrated_key = f"{name}:rank", f"{name}:calibrated"
        chance = (1.0 if ranking.shares is not None else 1 - CHANCE) ** ranking.weight
        doubts = (1 - np.minimum(values, 1 - 1e-9)) ** ranking.weight
        spread = float(ranking.scores.std()) or 1.0
        standouts = (ranking.scores - float(np.median(ranking.scores))) / spread
        columns = (ranking.ids, ranking.scores, values, doubts, standouts)
        told = zip(*(column.tolist() for column in columns), strict=True)
        for rank, (segment, raw, value, doubt, standout) in enumerate(told, start=1):
            one = sums.get(segment)
            if one is None:
                one = sums[segment] = _Sum()
            one.doubts.append((doubt, chance))
            one.ranks += share * (RRF_K + 1) / (RRF_K + rank)
            one.standout = max(one.standout, standout)
            one.parts[name] = raw
            one.parts[rank_key] = float(rank)
            one.parts[calibrated_key] = value
            if ranking.shares is not None:
                one.parts[f"{name}:share"] = float(ranking.shares[rank - 1])
            if ranking.certainty is not None:
                one.parts[f"{name}:certainty"] = ranking.certainty
    return sums


def can_tell(rankings: Sequence[ChannelRanking]) -> bool:
    """Whether these channels know a query without an answer from one that has one.

    A model that is weak at what is searched finds as much for nonsense as for sense: then the
    least bad must do. Channels of which nothing is known do not count, but all of them cannot
    be unknown.
    """
    known = [one.power for one in rankings if one.weight > 0 and one.power is not None]
    return bool(known) and min(known) >= ABLE


def answered(rankings: Sequence[ChannelRanking], best: float, least: float) -> bool:
    """Whether a query in words has an answer, if its best hit scores `best`.

    It has if that is `least` or more; less will do where some of its words stand. Below, the
    channels that compare words with something else may still be certain to have one (see
    `calibration`). If the channels cannot tell, there always is one.
    """
    found = [float(one.shares.max()) for one in _heard(rankings) if one.shares is not None]
    if best >= least * (EASED if max(found, default=0.0) >= SOME else 1.0):
        return True
    return not can_tell(rankings) or _certain(rankings)


def _heard(rankings: Sequence[ChannelRanking]) -> list[ChannelRanking]:
    return [one for one in rankings if one.weight > 0 and len(one.ids)]


def _certain(rankings: Sequence[ChannelRanking]) -> bool:
    """Words that are compared with words have no say in it: they would raise the bar."""
    asked = [one for one in _heard(rankings) if one.certainty is not None]
    if not asked:
        return False
    location, scale = joint([one.unrelated_certainties for one in asked])
    most = max(one.certainty for one in asked if one.certainty is not None)
    return (most - location) / scale >= ANSWERED


def weighted(
    rankings: Sequence[ChannelRanking], weights: Mapping[str, float]
) -> list[ChannelRanking]:
    """With the weights named: by channel ("clip:image"), or all of a space ("clip")."""
    return [replace(one, weight=weight_of(one.name, weights)) for one in rankings]


def weight_of(channel: str, weights: Mapping[str, float]) -> float:
    """Of a channel by its name, or by its space's; 1 if neither is named."""
    return weights.get(channel, weights.get(channel.partition(":")[0], 1.0))


def _score(doubt: float) -> float:
    return float(min(max(1 - doubt, 0.0), 1.0))


def _logistic(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -60, 60))), np.float64)
