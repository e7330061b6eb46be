"""Fusion: calibrated scores decide between channels, never raw cosines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmsearch.search.scoring.constants import CONSTANTS
from mmsearch.search.scoring.fusion import fuse, score
from mmsearch.search.scoring.no_answer import Thresholds
from mmsearch.search.scoring.rankings import ChannelRanking, with_weights
from mmsearch.types import Modality

UNRELATED = tuple(np.linspace(1.0, 4.0, 100).tolist())
"""The evidence that unrelated queries find at best."""


def ranking(
    name: str,
    modality: Modality,
    ids: list[int],
    scores: list[float],
    weight: float = 1.0,
    evidence: list[float] | None = None,
) -> ChannelRanking:
    return ChannelRanking(
        name,
        modality,
        np.array(ids, np.int64),
        np.array(scores, np.float32),
        weight,
        None if evidence is None else np.array(evidence),
        () if evidence is None else UNRELATED,
    )


def words(modality: Modality, ids: list[int], shares: list[float]) -> ChannelRanking:
    some = np.array(shares, np.float32)
    name = f"lexical:{modality.value}"
    return ChannelRanking(name, modality, np.array(ids, np.int64), 10 * some, coverage=some)


def test_a_channel_with_higher_cosines_does_not_bury_another() -> None:
    """Text scores 0.9 and pictures 0.3 (the modality gap): both leaders come first."""
    text = ranking("text:text", Modality.TEXT, [1, 2, 3], [0.9, 0.88, 0.87], 1.0, [8, 1, 0.5])
    images = ranking("clip:image", Modality.IMAGE, [11, 12, 13], [0.31, 0.2, 0.19], 1.0, [9, 2, 1])
    assert [one.id for one in fuse([text, images], 3)] == [11, 1, 12]


def test_agreement_of_two_channels_beats_the_leader_of_one() -> None:
    """Within one modality, second in both channels wins over first in one only."""
    one = ranking("text:text", Modality.TEXT, [1, 2, 3], [0.9, 0.8, 0.7], 1.0, [5, 4.8, 1])
    two = ranking("clip:text", Modality.TEXT, [4, 2, 5], [0.9, 0.8, 0.7], 1.0, [5, 4.8, 1])
    best = fuse([one, two], 3)[0]
    assert best.id == 2
    assert best.scores["text:text:rank"] == 2
    alone = fuse([one], 3)
    assert best.score > alone[0].score


def test_matches_as_good_as_chance_do_not_add_up() -> None:
    """A photo in which words were read is not preferred, if neither looks nor words fit."""
    looks = ranking("clip:image", Modality.IMAGE, [1, 2], [0.3, 0.2], 1.0, [3.2, 2.2])
    words_there = ranking("text:image", Modality.IMAGE, [2], [0.3], 1.0, [2.0])
    first, second = fuse([looks, words_there], 2)
    assert (first.id, second.id) == (1, 2)
    assert second.score == pytest.approx(fuse([looks], 2)[1].score, abs=0.02)


def test_a_chance_match_scores_low_and_a_good_one_high() -> None:
    """Half is where one unrelated query in twenty comes; most stay far below."""
    evidence = [12.0, 6.0, 4.0, 2.5, 0.0]
    found = fuse([ranking("c:image", Modality.IMAGE, [1, 2, 3, 4, 5], evidence, 1.0,
                                  evidence)], 5)  # fmt: skip
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.7 > 0.5 > scores[3] > scores[4] > 0


def test_all_the_words_asked_for_are_an_answer_and_one_of_many_is_none() -> None:
    """Whatever the embedders think of it."""
    found = fuse([words(Modality.TEXT, [1, 2, 3], [1.0, 0.6, 0.3])], 3)
    assert found[0].score > 0.9
    assert found[1].score < 0.2
    assert found[2].score < 0.01
    assert found[0].scores["lexical:text:share"] == 1.0


def test_weights_go_by_channel_or_by_space_and_0_switches_off() -> None:
    """The more specific name counts."""
    text = ranking("text:text", Modality.TEXT, [1], [0.9], 1.0, [6.0])
    exact = words(Modality.TEXT, [2], [1.0])
    given = with_weights([text, exact], {"lexical": 0.0, "text": 0.5, "text:text": 2.0})
    assert [one.weight for one in given] == [2.0, 0.0]
    found = fuse(given, 5)
    assert [one.id for one in found] == [1]
    assert found[0].score > fuse([text], 1)[0].score


def test_scores_lie_in_0_to_1_and_never_rise() -> None:
    """Whatever the number of channels, and calibrated or not."""
    one = ranking("text:text", Modality.TEXT, [7, 8, 9], [0.9, 0.1, 0.05], 3, [40.0, 2.0, -9.0])
    two = ranking("clip:text", Modality.TEXT, [8, 7], [0.5, 0.4], 1)
    fused = fuse([one, two], 10)
    scores = [item.score for item in fused]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)


def test_an_empty_channel_and_equal_scores_do_no_harm() -> None:
    """No division by a zero spread, and ties are broken by id."""
    empty = ranking("clip:image", Modality.IMAGE, [], [])
    flat = ranking("text:text", Modality.TEXT, [5, 6], [0.5, 0.5], 1.0, [2.0, 2.0])
    found = fuse([empty, flat], 5)
    assert [one.id for one in found] == [5, 6]


def pictures(certainty: float | None, rate: float | None = 1.0) -> ChannelRanking:
    """A channel in which one picture matches a little worse than a text (5 of evidence) would."""
    plain = ranking("clip:image", Modality.IMAGE, [11, 12], [0.3, 0.2], 1.0, [4.6, 1])
    return replace(
        plain,
        certainty=certainty,
        true_positive_rate=rate,
        background_certainties=(0.0, 0.5, 1.0, 2.0),
    )


def test_pictures_come_before_texts_if_it_is_certain_that_they_answer() -> None:
    """The same similarities: what is known of the channel as a whole decides."""
    text = ranking("text:text", Modality.TEXT, [1, 2], [0.9, 0.8], 1.0, [5, 1])

    def first(channel: ChannelRanking) -> int:
        return fuse([text, channel], 1)[0].id

    assert first(pictures(3.0)) == 11
    assert first(pictures(0.5)) == 1
    assert first(pictures(None)) == 1
    assert first(pictures(3.0, rate=CONSTANTS.min_true_positive_rate / 2)) == 1, (
        "a blind channel's certainty is worth nothing"
    )
    assert first(pictures(3.0, rate=None)) == 1
    scores = [fuse([pictures(c)], 1)[0].score for c in (-5, 0, 1, 2, 3, 50)]
    assert scores == sorted(scores)
    assert scores[0] == scores[1]
    assert scores[4] == scores[5]
    assert fuse([pictures(2.0)], 1)[0].scores["clip:image:certainty"] == 2.0


def test_certainty_leaves_the_order_within_a_channel_alone() -> None:
    for certainty in (0.0, 1.7, 4.0):
        assert [one.id for one in fuse([pictures(certainty)], 2)] == [11, 12]


def test_what_scores_below_the_thresholds_is_left_out() -> None:
    """Single hits below `min_score`; all of them if there is no answer."""
    evidence = [12.0, 6.0, 0.0]
    channel = replace(
        ranking("c:image", Modality.IMAGE, [1, 2, 3], evidence, 1.0, evidence),
        true_positive_rate=1.0,
    )
    every = score([channel], Thresholds()).segments
    assert [segment.id for segment in every] == [1, 2, 3]
    best = score([channel], Thresholds(min_score=every[1].score)).segments
    assert [segment.id for segment in best] == [1, 2]
    assert score([channel], Thresholds(no_answer=0.999)).segments == ()
    assert score([], Thresholds()).segments == ()
