"""Whether a query has an answer, and which thresholds apply to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmsearch.query import Query, Term
from mmsearch.search.scoring.calibration import Calibration, QueryKind
from mmsearch.search.scoring.constants import CONSTANTS
from mmsearch.search.scoring.no_answer import (
    Thresholds,
    can_recognise_no_answer,
    has_answer,
    is_certain,
    max_coverage,
    needs_certainty,
    thresholds_for,
)
from mmsearch.search.scoring.rankings import ChannelRanking
from mmsearch.types import Modality
from tests.search.scoring.test_fusion import pictures, words

HALF = Thresholds(no_answer=0.5)
DEFAULTS = Thresholds(0.05, 0.5)


def test_an_answer_is_a_good_score_or_some_of_the_words_or_certain_pictures() -> None:
    unable = pictures(9.0, rate=CONSTANTS.min_true_positive_rate / 2)
    nothing, some = words(Modality.TEXT, [1], [0.1]), words(Modality.TEXT, [1], [0.3])
    assert has_answer([pictures(0.0), nothing], 0.5, HALF)
    assert not has_answer([pictures(0.0), nothing], 0.45, HALF)
    assert has_answer([pictures(0.0), some], 0.45, HALF)
    assert not has_answer([pictures(0.0), some], 0.3, HALF)
    assert not has_answer([pictures(0.0), replace(some, weight=0.0)], 0.45, HALF)
    assert has_answer([pictures(9.0), nothing], 0.1, HALF)
    off = replace(pictures(9.0), weight=0.0)
    assert not has_answer([off, replace(pictures(0.0), name="clip:video")], 0.1, HALF)
    assert has_answer([unable], 0.1, HALF), "what cannot tell must not say that there is no answer"


@pytest.mark.parametrize(
    ("min_score", "kind", "filtered", "vectors", "expected"),
    [
        (None, "words", False, 50, DEFAULTS),
        (None, "words", False, 49, Thresholds()),
        (None, "words", True, 50, Thresholds()),
        (None, "example", False, 50, Thresholds()),
        (0.3, "words", False, 50, Thresholds(0.3)),
        (0.0, "words", False, 50, Thresholds(0.0)),
    ],
)
def test_only_words_without_a_filter_may_have_no_answer(
    min_score: float | None,
    kind: QueryKind,
    filtered: bool,
    vectors: int,
    expected: Thresholds,
) -> None:
    """Examples, filters, tiny collections and a `min_score` of the query's own always answer."""
    query = Query((Term(text="a"),), min_score=min_score)
    assert (
        thresholds_for(query, kind, filtered=filtered, vectors=vectors, defaults=DEFAULTS)
        == expected
    )


def test_channels_without_weight_do_not_decide() -> None:
    """Neither by their words, nor by their certainty, nor by their rate."""
    off = replace(words(Modality.TEXT, [1], [1.0]), weight=0.0)
    assert max_coverage([off]) == 0.0
    assert max_coverage([off, words(Modality.SPEECH, [2, 3], [0.2, 0.4])]) == pytest.approx(0.4)
    assert is_certain([pictures(9.0)])
    assert not is_certain([replace(pictures(9.0), weight=0.0)])
    assert not is_certain([words(Modality.TEXT, [1], [1.0])])
    unable = replace(pictures(1.0, rate=0.1), weight=0.0)
    assert can_recognise_no_answer([pictures(1.0), unable])


def test_an_empty_channel_is_not_certain() -> None:
    """It has returned nothing that could be the answer."""
    empty = replace(pictures(9.0), ids=np.empty(0, np.int64), scores=np.empty(0, np.float32))
    assert not is_certain([empty])


def test_certainty_is_measured_where_words_are_compared_with_something_else() -> None:
    """And only if the background was measured and the channel's rate is known."""
    measured = Calibration(0, 1, 0, 1, (), background_mean=(0.1,), true_positive_rate=0.9)
    assert needs_certainty(measured, Modality.IMAGE)
    assert not needs_certainty(measured, Modality.TEXT)
    assert not needs_certainty(measured, Modality.SPEECH)
    assert not needs_certainty(replace(measured, background_mean=()), Modality.IMAGE)
    assert not needs_certainty(replace(measured, true_positive_rate=None), Modality.IMAGE)


def test_the_constants_are_parameters() -> None:
    """Stricter ones refuse what the usual ones accept."""
    nothing: list[ChannelRanking] = [pictures(2.5), words(Modality.TEXT, [1], [0.1])]
    assert has_answer(nothing, 0.1, HALF)
    strict = replace(CONSTANTS, answer_certainty=np.inf)
    assert not has_answer(nothing, 0.1, HALF, strict)
    assert has_answer(nothing, 0.1, HALF, replace(strict, min_true_positive_rate=1.1))
