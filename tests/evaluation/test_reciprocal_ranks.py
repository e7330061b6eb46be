"""The baseline of reciprocal rank fusion."""

from __future__ import annotations

from mmsearch.evaluation.reciprocal_ranks import reciprocal_rank_fusion
from mmsearch.types import Modality
from tests.search.scoring.test_fusion import ranking


def test_the_leaders_of_two_modalities_come_first() -> None:
    """Whatever their cosines: 0.9 for texts and 0.3 for pictures (the modality gap)."""
    text = ranking("text:text", Modality.TEXT, [1, 2, 3], [0.9, 0.88, 0.87], 1.0, [8, 1, 0.5])
    images = ranking("clip:image", Modality.IMAGE, [11, 12, 13], [0.31, 0.2, 0.19], 1.0, [9, 2, 1])
    by_rank = [one.id for one in reciprocal_rank_fusion([text, images], 6)]
    assert set(by_rank[:2]) == {1, 11}
    assert set(by_rank[2:4]) == {2, 12}


def test_by_rank_the_one_of_two_leaders_that_stands_out_comes_first() -> None:
    """An only just best passage yields to a clearly best picture."""
    text = ranking("text:text", Modality.TEXT, [1, 2, 3, 4], [0.5, 0.49, 0.5, 0.49])
    images = ranking("clip:image", Modality.IMAGE, [11, 12, 13, 14], [0.4, 0.1, 0.1, 0.1])
    assert reciprocal_rank_fusion([text, images], 1)[0].id == 11


def test_agreement_of_two_channels_beats_the_leader_of_one() -> None:
    """Within one modality, second in both channels wins over first in one only."""
    one = ranking("text:text", Modality.TEXT, [1, 2, 3], [0.9, 0.8, 0.7], 1.0, [5, 4.8, 1])
    two = ranking("clip:text", Modality.TEXT, [4, 2, 5], [0.9, 0.8, 0.7], 1.0, [5, 4.8, 1])
    best = reciprocal_rank_fusion([one, two], 3)[0]
    assert best.id == 2
    assert best.scores["text:text:rank"] == 2


def test_scores_lie_in_0_to_1_and_never_rise() -> None:
    """Whatever the number of channels and their weights."""
    one = ranking("text:text", Modality.TEXT, [7, 8, 9], [0.9, 0.1, 0.05], 3, [40.0, 2.0, -9.0])
    two = ranking("clip:text", Modality.TEXT, [8, 7], [0.5, 0.4], 1)
    scores = [item.score for item in reciprocal_rank_fusion([one, two], 10)]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)


def test_an_empty_channel_and_equal_scores_do_no_harm() -> None:
    """No division by a zero spread, and ties are broken by id."""
    empty = ranking("clip:image", Modality.IMAGE, [], [])
    flat = ranking("text:text", Modality.TEXT, [5, 6], [0.5, 0.5], 1.0, [2.0, 2.0])
    assert [one.id for one in reciprocal_rank_fusion([empty, flat], 5)] == [5, 6]
