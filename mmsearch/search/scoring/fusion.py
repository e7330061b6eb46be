"""Fuses the rankings of several channels into one list.

Raw cosines of different channels do not compare: in one CLIP space a text scores text far
above any image (the modality gap). So each channel's similarities become a calibrated 0..1: how
unlikely such a match is by chance (see `calibration.py`). For full text it is the coverage of the
query's words. Scores of several channels for one segment are joined as independent evidence,
``1 - (1 - a)(1 - b) / (1 - c)`` with c for a match as good as chance, which adds nothing. Each
channel's weight is an exponent.

Words and pictures match less decisively than words and words: the right photo's similarity is in
the upper part of what chance gives, where a right passage's is far above it. So, in channels
that compare words with something else, all scores rise or fall with the certainty that the
channel has an answer at all, which is known better than which item it is
(`Calibration.certainty`).

`benchmarks/calibration.py` has the figures behind the method and the constants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mmsearch.search.scoring.calibration import joint_gumbel
from mmsearch.search.scoring.constants import CONSTANTS, ScoringConstants
from mmsearch.search.scoring.no_answer import Thresholds, has_answer
from mmsearch.search.scoring.rankings import ChannelRanking, Ranked, ScoredSegment, active


@dataclass(slots=True)
class _Sum:
    """What all channels contribute to one segment."""

    complements: list[tuple[float, float]] = field(default_factory=list)
    """1 - p of each channel that returned it, and 1 - p of a match as good as chance."""
    z_score: float = -np.inf
    """The highest standardised raw score of any channel."""
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def complement(self) -> float:
        """1 - p of all channels together.

        A match as good as chance changes nothing: else a segment that several channels know (a
        photo in which words were read) would be preferred to one that only one knows.
        """
        if len(self.complements) == 1:
            return self.complements[0][0]
        product = math.prod(min(1.0, value / chance) for value, chance in self.complements)
        return product * min(max(value, chance) for value, chance in self.complements)


def score(
    rankings: Sequence[ChannelRanking],
    thresholds: Thresholds,
    constants: ScoringConstants = CONSTANTS,
) -> Ranked:
    """Fuse, then leave out what scores below the thresholds; nothing if there is no answer."""
    fused = fuse(rankings, constants=constants)
    if not fused or not has_answer(rankings, fused[0].score, thresholds, constants):
        return Ranked(())
    passing = tuple(segment for segment in fused if segment.score >= thresholds.min_score)
    return Ranked(passing)


def fuse(
    rankings: Sequence[ChannelRanking],
    limit: int | None = None,
    constants: ScoringConstants = CONSTANTS,
) -> list[ScoredSegment]:
    """The best `limit` segments by calibrated scores; ties by z-score in their channel, then id."""
    sums = _sums(rankings, constants)
    complements = {segment: total.complement for segment, total in sums.items()}
    order = sorted(sums, key=lambda i: (complements[i], -sums[i].z_score, i))
    return [
        ScoredSegment(i, float(min(max(1 - complements[i], 0.0), 1.0)), sums[i].scores)
        for i in order[:limit]
    ]


def calibrated(
    rankings: Sequence[ChannelRanking], constants: ScoringConstants = CONSTANTS
) -> list[npt.NDArray[np.float64]]:
    """0..1 for each id of each ranking, relative to unrelated queries in all of the channels."""
    background = [r.background_evidence for r in rankings if r.background_evidence]
    location, scale = joint_gumbel(background) if background else (0.0, 1.0)
    values: list[npt.NDArray[np.float64]] = []
    for ranking in rankings:
        if ranking.coverage is not None:
            above = ranking.coverage.astype(np.float64) - constants.coverage_midpoint
            value = _logistic(above / constants.coverage_width)
        elif ranking.evidence is not None and ranking.background_evidence:
            standard = (ranking.evidence - location) / scale
            log_odds = (standard - constants.sigmoid_midpoint) / constants.sigmoid_width
            value = _logistic(log_odds + _certainty_log_odds(ranking, constants))
        else:
            first = constants.uncalibrated_rank_constant + 1
            value = constants.uncalibrated_best * first / (first + np.arange(len(ranking.ids)))
        values.append(value)
    return values


def _certainty_log_odds(ranking: ChannelRanking, constants: ScoringConstants) -> float:
    """Log odds from the channel's certainty; 0 if the channel cannot recognise an answer."""
    rate = ranking.true_positive_rate
    if ranking.certainty is None or rate is None or rate < constants.min_true_positive_rate:
        return 0.0
    low, high = constants.certainty_bounds
    certainty = min(max(ranking.certainty, low), high)
    return constants.certainty_log_odds * (certainty - (low + high) / 2)


def _sums(rankings: Sequence[ChannelRanking], constants: ScoringConstants) -> dict[int, _Sum]:
    rankings = active(rankings)
    sums: dict[int, _Sum] = {}
    for ranking, values in zip(rankings, calibrated(rankings, constants), strict=True):
        name = ranking.name
        rank_key, calibrated_key = f"{name}:rank", f"{name}:calibrated"
        chance = 1.0 if ranking.coverage is not None else 1 - constants.chance_score
        chance **= ranking.weight
        complements = (1 - np.minimum(values, 1 - 1e-9)) ** ranking.weight
        columns = (ranking.ids, ranking.scores, values, complements, z_scores(ranking))
        rows = zip(*(column.tolist() for column in columns), strict=True)
        for rank, (segment, raw, value, complement, z_score) in enumerate(rows, start=1):
            total = sums.get(segment)
            if total is None:
                total = sums[segment] = _Sum()
            total.complements.append((complement, chance))
            total.z_score = max(total.z_score, z_score)
            total.scores[name] = raw
            total.scores[rank_key] = float(rank)
            total.scores[calibrated_key] = value
            if ranking.coverage is not None:
                total.scores[f"{name}:share"] = float(ranking.coverage[rank - 1])
            if ranking.certainty is not None:
                total.scores[f"{name}:certainty"] = ranking.certainty
    return sums


def z_scores(ranking: ChannelRanking) -> npt.NDArray[np.float32]:
    """Raw scores less their median, in standard deviations of the ranking."""
    deviation = float(ranking.scores.std()) or 1.0
    return (ranking.scores - float(np.median(ranking.scores))) / deviation


def _logistic(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -60, 60))), np.float64)
