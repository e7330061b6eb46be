"""The numbers that scores are made with, in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScoringConstants:
    """Chosen on seed 101 of `benchmarks/calibration.py` and the dev part of `benchmarks/ranking`.

    Figures on other data are in docs/decisions/0010-calibrated-scores.md.
    """

    # ------------------------------------------------------------------ similarities

    sigmoid_midpoint: float = 3.0
    """Evidence that scores 0.5, in Gumbel scales above the location of the best matches of
    unrelated queries. One unrelated query in twenty reaches it."""
    sigmoid_width: float = 3.0
    """How slowly scores rise around the midpoint."""
    background_pseudo_count: int = 16
    """Weight of the background's mean and deviation beside those of the query's own
    similarities, in sampled vectors."""

    # ------------------------------------------------------------------ full text

    coverage_midpoint: float = 0.75
    """Query-term coverage (weighted by idf) that scores 0.5."""
    coverage_width: float = 0.08
    """How slowly scores rise around it: one word of two scores little, all words score high."""

    # ------------------------------------------------------------------ certainty of a channel

    certainty_log_odds: float = 0.7
    """Log odds by which the scores of a channel rise per Gumbel scale of its certainty."""
    certainty_bounds: tuple[float, float] = (0.0, 3.0)
    """Certainty outside of these counts as the bound; in their middle scores do not move."""
    min_true_positive_rate: float = 0.38
    """A channel may decide that there is no answer if its true-positive rate, at a fixed
    false-positive rate of one in eight, is at least this: three times that of chance."""

    # ------------------------------------------------------------------ is there an answer

    answer_certainty: float = 2.0
    """Certainty from which a query has an answer. One unrelated query in eight reaches it."""
    partial_coverage: float = 0.25
    """Query-term coverage from which `partial_coverage_factor` applies."""
    partial_coverage_factor: float = 0.75
    """Where some of the query's words occur, the threshold for an answer is multiplied by this:
    a paraphrase shares some words with the text it means."""
    always_answer_below: int = 50
    """A collection of fewer vectors always answers, with everything in order."""

    # ------------------------------------------------------------------ without calibration

    uncalibrated_best: float = 0.6
    """Score of the best match of a channel that cannot be calibrated."""
    uncalibrated_rank_constant: int = 60
    """How slowly scores of such a channel fall with rank, as in reciprocal rank fusion."""

    @property
    def chance_score(self) -> float:
        """Score of a match as good as the best one of an unrelated query."""
        return 1 / (1 + math.exp(self.sigmoid_midpoint / self.sigmoid_width))


CONSTANTS = ScoringConstants()
