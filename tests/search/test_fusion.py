"""Fusion: ranks, not raw scores, decide between channels."""

from __future__ import annotations

import numpy as np
import pytest

from mmsearch.search.fusion import RRF_K, ChannelRanking, reciprocal_rank_fusion
from mmsearch.types import Modality


def ranking(
    name: str, modality: Modality, ids: list[int], scores: list[float], weight: float = 1.0
) -> ChannelRanking:
    return ChannelRanking(
        name, modality, np.array(ids, np.int64), np.array(scores, np.float32), weight
    )


def test_a_channel_with_higher_cosines_does_not_bury_another() -> None:
    """Text scores 0.9 and pictures 0.3 (the modality gap): both leaders come first."""
    text = ranking("text:text", Modality.TEXT, [1, 2, 3], [0.9, 0.88, 0.87])
    images = ranking("clip:image", Modality.IMAGE, [11, 12, 13], [0.31, 0.2, 0.19])
    order = [one.id for one in reciprocal_rank_fusion([text, images], 6)]
    assert set(order[:2]) == {1, 11}
    assert set(order[2:4]) == {2, 12}


def test_between_two_leaders_the_one_that_stands_out_comes_first() -> None:
    """An only just best passage yields to a clearly best picture."""
    text = ranking("text:text", Modality.TEXT, [1, 2, 3, 4], [0.5, 0.49, 0.5, 0.49])
    images = ranking("clip:image", Modality.IMAGE, [11, 12, 13, 14], [0.4, 0.1, 0.1, 0.1])
    assert reciprocal_rank_fusion([text, images], 1)[0].id == 11


def test_agreement_of_two_channels_beats_the_leader_of_one() -> None:
    """Within one modality, second in both channels wins over first in one only."""
    one = ranking("text:text", Modality.TEXT, [1, 2, 3], [0.9, 0.8, 0.7])
    two = ranking("clip:text", Modality.TEXT, [4, 2, 5], [0.9, 0.8, 0.7])
    best = reciprocal_rank_fusion([one, two], 3)[0]
    assert best.id == 2
    assert best.score == pytest.approx((RRF_K + 1) / (RRF_K + 2))
    assert best.scores["text:text:rank"] == 2


def test_scores_lie_in_0_to_1_and_the_leader_of_all_its_channels_has_1() -> None:
    """`score` means the same whatever the number of channels."""
    one = ranking("text:text", Modality.TEXT, [7, 8], [0.9, 0.1], weight=3)
    two = ranking("clip:text", Modality.TEXT, [7, 8], [0.5, 0.4], weight=1)
    fused = reciprocal_rank_fusion([one, two], 10)
    assert fused[0].score == pytest.approx(1.0)
    assert all(0 < item.score <= 1 for item in fused)


def test_an_empty_channel_and_equal_scores_do_no_harm() -> None:
    """No division by a zero spread, and ties are broken by id."""
    empty = ranking("clip:image", Modality.IMAGE, [], [])
    flat = ranking("text:text", Modality.TEXT, [5, 6], [0.5, 0.5])
    assert [one.id for one in reciprocal_rank_fusion([empty, flat], 5)] == [5, 6]
