"""Decides whether a query has an answer, and which hits score too little to be shown.

Words may have no answer in a library; then the least bad match is none. A query has an answer if
its best hit scores `Thresholds.no_answer`, or less where some of its words occur, or if a channel
that compares words with something else is certain to have one. If the channels cannot recognise
a query without an answer, there always is one.

Certainty (`Calibration.certainty`) is a statistic of its own, because in a shared space some items
are near to whatever is asked (hubs), and the best match of nonsense mostly is one of those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mmsearch.query import Query
from mmsearch.search.scoring.calibration import Calibration, QueryKind, joint_gumbel
from mmsearch.search.scoring.constants import CONSTANTS, ScoringConstants
from mmsearch.search.scoring.rankings import ChannelRanking, active
from mmsearch.types import VERBAL, Modality


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Scores below which hits, or all hits, are left out."""

    min_score: float = 0.0
    """Hits below it are left out."""
    no_answer: float = 0.0
    """If the best hit scores less, and nothing else speaks for an answer, there are no hits."""
    answers_only: bool = False
    """Hits that do not answer the query are left out, too: those below `no_answer`."""


def thresholds_for(
    query: Query,
    kind: QueryKind,
    *,
    filtered: bool,
    vectors: int,
    defaults: Thresholds,
    constants: ScoringConstants = CONSTANTS,
) -> Thresholds:
    """The query's own `min_score`, or `defaults` where a query may have no answer.

    That is a query in words, without a filter, over a collection that is not tiny (`vectors`).
    Sorted by a field, hits that do not answer it would come first as easily: they are left out.
    An example is always similar to something, and with a filter all that passes is listed.
    """
    if query.min_score is not None:
        return Thresholds(query.min_score)
    may_have_none = kind == "words" and not filtered and vectors >= constants.always_answer_below
    if not may_have_none:
        return Thresholds()
    by_field = any(key.field != "score" for key in query.sort)
    return replace(defaults, answers_only=True) if by_field else defaults


def has_answer(
    rankings: Sequence[ChannelRanking],
    best: float,
    thresholds: Thresholds,
    constants: ScoringConstants = CONSTANTS,
) -> bool:
    """Whether a query has an answer, if its best hit scores `best`."""
    if best >= _answer_score(rankings, thresholds, constants):
        return True
    return not can_recognise_no_answer(rankings, constants) or is_certain(rankings, constants)


def lowest_score(
    rankings: Sequence[ChannelRanking],
    best: float,
    thresholds: Thresholds,
    constants: ScoringConstants = CONSTANTS,
) -> float:
    """The score below which hits are left out, of a query with an answer."""
    if not thresholds.answers_only:
        return thresholds.min_score
    answer = _answer_score(rankings, thresholds, constants)
    if best < answer:
        # Something else speaks for an answer: those near the best one may be it.
        answer = constants.partial_coverage_factor * best
    return max(thresholds.min_score, answer)


def _answer_score(
    rankings: Sequence[ChannelRanking], thresholds: Thresholds, constants: ScoringConstants
) -> float:
    if max_coverage(rankings) >= constants.partial_coverage:
        return thresholds.no_answer * constants.partial_coverage_factor
    return thresholds.no_answer


def max_coverage(rankings: Sequence[ChannelRanking]) -> float:
    """The highest query-term coverage of any segment, 0..1."""
    coverage = [float(r.coverage.max()) for r in active(rankings) if r.coverage is not None]
    return max(coverage, default=0.0)


def can_recognise_no_answer(
    rankings: Sequence[ChannelRanking], constants: ScoringConstants = CONSTANTS
) -> bool:
    """Whether these channels separate queries without an answer from those that have an answer.

    A model that is weak at what is searched finds as much for nonsense as for sense: then the
    best match must do. Channels of unknown rate do not count, but one must be known.
    """
    rates = [
        ranking.true_positive_rate
        for ranking in rankings
        if ranking.weight > 0 and ranking.true_positive_rate is not None
    ]
    return bool(rates) and min(rates) >= constants.min_true_positive_rate


def is_certain(rankings: Sequence[ChannelRanking], constants: ScoringConstants = CONSTANTS) -> bool:
    """Whether the best certainty of all channels is that of a query with an answer.

    Channels that compare words with words have none: they would raise the joint threshold.
    """
    known = [ranking for ranking in active(rankings) if ranking.certainty is not None]
    if not known:
        return False
    location, scale = joint_gumbel([ranking.background_certainties for ranking in known])
    best = max(ranking.certainty for ranking in known if ranking.certainty is not None)
    return (best - location) / scale >= constants.answer_certainty


def needs_certainty(calibration: Calibration, modality: Modality) -> bool:
    """Whether the certainty of a channel is to be measured: it is known, and means something."""
    measured = bool(calibration.background_mean) and calibration.true_positive_rate is not None
    return measured and modality not in VERBAL
