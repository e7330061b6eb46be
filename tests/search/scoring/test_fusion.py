"""Fusion: calibrated scores, or ranks, decide between channels, never raw cosines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmsearch.search.scoring.calibration import ABLE
from mmsearch.search.scoring.fusion import (
    ChannelRanking,
    answered,
    fuse,
    reciprocal_rank_fusion,
    score_fusion,
    weighted,
)
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
    return ChannelRanking(name, modality, np.array(ids, np.int64), 10 * some, shares=some)


def test_a_channel_with_higher_cosines_does_not_bury_another() -> None:
    """Text scores 0.9 and pictures 0.3 (the modality gap): both leaders come first."""
    text = ranking("text:text", Modality.TEXT, [1, 2, 3], [0.9, 0.88, 0.87], 1.0, [8, 1, 0.5])
    images = ranking("clip:image", Modality.IMAGE, [11, 12, 13], [0.31, 0.2, 0.19], 1.0, [9, 2, 1])
    assert [one.id for one in score_fusion([text, images], 3)] == [11, 1, 12]
    by_rank = [one.id for one in reciprocal_rank_fusion([text, images], 6)]
    assert set(by_rank[:2]) == {1, 11}
    assert set(by_rank[2:4]) == {2, 12}


def test_by_rank_the_one_of_two_leaders_that_stands_out_comes_first() -> None:
    """An only just best passage yields to a clearly best picture."""
    text = ranking("text:text", Modality.TEXT, [1, 2, 3, 4], [0.5, 0.49, 0.5, 0.49])
    images = ranking("clip:image", Modality.IMAGE, [11, 12, 13, 14], [0.4, 0.1, 0.1, 0.1])
    assert reciprocal_rank_fusion([text, images], 1)[0].id == 11


@pytest.mark.parametrize("method", ["scores", "ranks"])
def test_agreement_of_two_channels_beats_the_leader_of_one(method: str) -> None:
    """Within one modality, second in both channels wins over first in one only."""
    one = ranking("text:text", Modality.TEXT, [1, 2, 3], [0.9, 0.8, 0.7], 1.0, [5, 4.8, 1])
    two = ranking("clip:text", Modality.TEXT, [4, 2, 5], [0.9, 0.8, 0.7], 1.0, [5, 4.8, 1])
    best = fuse([one, two], 3, "ranks" if method == "ranks" else "scores")[0]
    assert best.id == 2
    assert best.scores["text:text:rank"] == 2
    alone = score_fusion([one], 3)
    assert best.score > alone[0].score


def test_matches_as_good_as_chance_do_not_add_up() -> None:
    """A photo in which words were read is not preferred, if neither looks nor words fit."""
    looks = ranking("clip:image", Modality.IMAGE, [1, 2], [0.3, 0.2], 1.0, [3.2, 2.2])
    words_there = ranking("text:image", Modality.IMAGE, [2], [0.3], 1.0, [2.0])
    first, second = score_fusion([looks, words_there], 2)
    assert (first.id, second.id) == (1, 2)
    assert second.score == pytest.approx(score_fusion([looks], 2)[1].score, abs=0.02)


def test_a_chance_match_scores_low_and_a_good_one_high() -> None:
    """Half is where one unrelated query in twenty comes; most stay far below."""
    evidence = [12.0, 6.0, 4.0, 2.5, 0.0]
    found = score_fusion([ranking("c:image", Modality.IMAGE, [1, 2, 3, 4, 5], evidence, 1.0,
                                  evidence)], 5)  # fmt: skip
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.7 > 0.5 > scores[3] > scores[4] > 0


def test_all_the_words_asked_for_are_an_answer_and_one_of_many_is_none() -> None:
    """Whatever the embedders think of it."""
    found = score_fusion([words(Modality.TEXT, [1, 2, 3], [1.0, 0.6, 0.3])], 3)
    assert found[0].score > 0.9
    assert found[1].score < 0.2
    assert found[2].score < 0.01
    assert found[0].scores["lexical:text:share"] == 1.0


def test_weights_go_by_channel_or_by_space_and_0_switches_off() -> None:
    """The more specific name counts."""
    text = ranking("text:text", Modality.TEXT, [1], [0.9], 1.0, [6.0])
    exact = words(Modality.TEXT, [2], [1.0])
    given = weighted([text, exact], {"lexical": 0.0, "text": 0.5, "text:text": 2.0})
    assert [one.weight for one in given] == [2.0, 0.0]
    found = score_fusion(given, 5)
    assert [one.id for one in found] == [1]
    assert found[0].score > score_fusion([text], 1)[0].score


@pytest.mark.parametrize("method", ["scores", "ranks"])
def test_scores_lie_in_0_to_1_and_never_rise(method: str) -> None:
    """Whatever the number of channels, and calibrated or not."""
    one = ranking("text:text", Modality.TEXT, [7, 8, 9], [0.9, 0.1, 0.05], 3, [40.0, 2.0, -9.0])
    two = ranking("clip:text", Modality.TEXT, [8, 7], [0.5, 0.4], 1)
    fused = fuse([one, two], 10, "ranks" if method == "ranks" else "scores")
    scores = [item.score for item in fused]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)


@pytest.mark.parametrize("method", ["scores", "ranks"])
def test_an_empty_channel_and_equal_scores_do_no_harm(method: str) -> None:
    """No division by a zero spread, and ties are broken by id."""
    empty = ranking("clip:image", Modality.IMAGE, [], [])
    flat = ranking("text:text", Modality.TEXT, [5, 6], [0.5, 0.5], 1.0, [2.0, 2.0])
    found = fuse([empty, flat], 5, "ranks" if method == "ranks" else "scores")
    assert [one.id for one in found] == [5, 6]


def pictures(certainty: float | None, power: float | None = 1.0) -> ChannelRanking:
    """A channel in which one picture matches a little worse than a text (5 of evidence) would."""
    plain = ranking("clip:image", Modality.IMAGE, [11, 12], [0.3, 0.2], 1.0, [4.6, 1])
    return replace(
        plain, certainty=certainty, power=power, unrelated_certainties=(0.0, 0.5, 1.0, 2.0)
    )


def test_pictures_come_before_texts_if_it_is_certain_that_they_answer() -> None:
    """The same similarities: what is known of the channel as a whole decides."""
    text = ranking("text:text", Modality.TEXT, [1, 2], [0.9, 0.8], 1.0, [5, 1])

    def first(channel: ChannelRanking) -> int:
        return score_fusion([text, channel], 1)[0].id

    assert first(pictures(3.0)) == 11
    assert first(pictures(0.5)) == 1
    assert first(pictures(None)) == 1
    assert first(pictures(3.0, power=ABLE / 2)) == 1, "a blind channel's certainty is worth nothing"
    assert first(pictures(3.0, power=None)) == 1
    scores = [score_fusion([pictures(c)], 1)[0].score for c in (-5, 0, 1, 2, 3, 50)]
    assert scores == sorted(scores)
    assert scores[0] == scores[1]
    assert scores[4] == scores[5]
    assert score_fusion([pictures(2.0)], 1)[0].scores["clip:image:certainty"] == 2.0


def test_certainty_leaves_the_order_within_a_channel_alone() -> None:
    for certainty in (0.0, 1.7, 4.0):
        assert [one.id for one in score_fusion([pictures(certainty)], 2)] == [11, 12]


def test_an_answer_is_a_good_score_or_some_of_the_words_or_certain_pictures() -> None:
    unable = pictures(9.0, power=ABLE / 2)
    nothing, some = words(Modality.TEXT, [1], [0.1]), words(Modality.TEXT, [1], [0.3])
    assert answered([pictures(0.0), nothing], 0.5, 0.5)
    assert not answered([pictures(0.0), nothing], 0.45, 0.5)
    assert answered([pictures(0.0), some], 0.45, 0.5)
    assert not answered([pictures(0.0), some], 0.3, 0.5)
    assert not answered([pictures(0.0), replace(some, weight=0.0)], 0.45, 0.5)
    assert answered([pictures(9.0), nothing], 0.1, 0.5)
    off = replace(pictures(9.0), weight=0.0)
    assert not answered([off, replace(pictures(0.0), name="clip:video")], 0.1, 0.5)
    assert answered([unable], 0.1, 0.5), "what cannot tell must not say that there is no answer"
