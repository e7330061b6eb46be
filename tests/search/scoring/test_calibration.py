"""Calibration: what unrelated queries find says what a similarity is worth."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from indexer.runs import index_into
from mmsearch.search.scoring.calibration import (
    ABLE,
    ANSWERED,
    Calibration,
    gumbel,
    joint,
    measure,
    power,
)
from mmsearch.search.scoring.fusion import ChannelRanking, can_tell, score_fusion
from mmsearch.types import Modality, Vectors
from mmsearch.vectors.memory import MemoryIndex
from tests.support.fakes import open_fake, some_files


def unit(rows: npt.NDArray[np.floating[Any]]) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def an_index(vectors: Vectors) -> MemoryIndex:
    index = MemoryIndex(vectors.shape[1])
    index.add(np.arange(len(vectors), dtype=np.int64), vectors)
    return index


def test_a_gumbel_distribution_is_found_again_though_some_queries_are_answered() -> None:
    """A third of the queries that find something does not move what chance looks like much."""
    rng = np.random.default_rng(1)
    chance = rng.gumbel(0.3, 0.02, 4000)
    location, scale = gumbel(chance)
    assert location == pytest.approx(0.3, abs=0.003)
    assert scale == pytest.approx(0.02, rel=0.1)
    mixed = np.concatenate([chance, rng.normal(0.6, 0.05, 1000)])
    assert gumbel(mixed)[0] == pytest.approx(0.3, abs=0.02)


def test_two_channels_have_one_measure_of_chance() -> None:
    """The best of several channels by chance lies higher than that of any one."""
    rng = np.random.default_rng(2)
    one, two = rng.gumbel(3, 0.4, 500), rng.gumbel(3, 0.4, 500)
    alone, _ = joint([one.tolist()])
    together, _ = joint([one.tolist(), two.tolist()])
    assert together > alone + 0.1


@pytest.mark.parametrize("gap", [0.0, 0.6])
def test_a_channel_with_higher_cosines_gains_nothing(gap: float) -> None:
    """All similarities of a channel moved up (the modality gap): the same scores."""
    rng = np.random.default_rng(3)
    base = unit(rng.standard_normal((300, 32)))
    asked = unit(rng.standard_normal((120, 32)))
    # One more axis that all vectors share moves every cosine by the same amount.
    share = math.sqrt(gap)
    vectors = np.hstack([base * math.sqrt(1 - gap), np.full((300, 1), share)]).astype(np.float32)
    queries = np.hstack([asked * math.sqrt(1 - gap), np.full((120, 1), share)]).astype(np.float32)
    made = measure(an_index(vectors), vectors, queries, own=False)
    good = np.hstack([base[:1] * math.sqrt(1 - gap), [[share]]]).astype(np.float32)
    similarities = vectors @ good[0]
    evidence = made.evidence(similarities, similarities)
    ranking = ChannelRanking(
        "c:image",
        Modality.IMAGE,
        np.arange(300, dtype=np.int64),
        similarities,
        evidence=evidence,
        unrelated=made.best,
    )
    order = score_fusion([ranking], 300)
    assert order[0].id == 0
    assert order[0].score > 0.6
    assert sum(one.score >= 0.5 for one in order) <= 3


def test_unrelated_queries_rarely_reach_one_half() -> None:
    """About one in twenty, by construction; other ones than it was measured with."""
    rng = np.random.default_rng(4)
    vectors = unit(rng.standard_normal((500, 48)))
    made = measure(an_index(vectors), vectors, unit(rng.standard_normal((200, 48))), own=False)
    reached = 0
    for query in unit(rng.standard_normal((200, 48))):
        similarities = vectors @ query
        ranking = ChannelRanking(
            "c:image",
            Modality.IMAGE,
            np.arange(500, dtype=np.int64),
            similarities,
            evidence=made.evidence(similarities, similarities),
            unrelated=made.best,
        )
        reached += score_fusion([ranking], 1)[0].score >= 0.5
    assert reached <= 24


def test_examples_do_not_count_themselves() -> None:
    """A picture's similarity with itself says nothing about others."""
    rng = np.random.default_rng(5)
    vectors = unit(rng.standard_normal((100, 16)))
    made = measure(an_index(vectors), vectors, vectors[:50], own=True)
    assert made.location < 0.9


def test_a_model_that_knows_nothing_must_not_say_that_there_is_no_answer() -> None:
    """Queries that should be answered tell whether it does."""
    rng = np.random.default_rng(6)
    vectors = unit(rng.standard_normal((300, 32)))
    index = an_index(vectors)
    made = measure(index, vectors, unit(rng.standard_normal((200, 32))), own=False)
    near = unit(vectors[:40] + 0.1 * rng.standard_normal((40, 32)))
    blind = unit(rng.standard_normal((40, 32)))
    able, unable = (power(made, index, probes) for probes in (near, blind))
    assert able == 1
    assert unable is not None
    assert unable < ABLE
    assert power(made, index, near[:0]) is None

    def channel(value: float | None) -> ChannelRanking:
        ids, scores = np.array([1], np.int64), np.array([0.5], np.float32)
        return ChannelRanking("clip:image", Modality.IMAGE, ids, scores, power=value)

    assert can_tell([channel(able), channel(None)])
    assert not can_tell([channel(able), channel(unable)])
    assert not can_tell([channel(None)])


def test_hubs_answer_nothing() -> None:
    """Items that are near to whatever is asked must not make nonsense look answered."""
    rng = np.random.default_rng(8)

    def some(n: int, common: float) -> Vectors:
        """Unit vectors that share a direction, which tells nothing, to this degree."""
        own = unit(rng.standard_normal((n, 32)))
        own[:, 0] = common
        return unit(own)

    vectors = some(300, 0.1)
    vectors[:6] = some(6, 4.0)  # the hubs
    index = an_index(vectors)
    made = measure(index, vectors, some(200, 1.0), own=False)
    nonsense = some(300, 1.0)
    asked = unit(0.55 * vectors[50:130] + 0.7 * some(80, 1.0))
    assert (np.argmax(nonsense @ vectors.T, axis=1) < 6).mean() > 0.5
    assert (made.certainties_of(index, nonsense) >= ANSWERED).mean() <= 0.2
    kept = (made.certainties_of(index, asked) >= ANSWERED).mean()
    by_best = (asked @ vectors.T).max(axis=1) >= made.location + ANSWERED * made.scale
    assert kept >= by_best.mean() + 0.2


def test_few_vectors_borrow_the_background_s_spread() -> None:
    """Two vectors have no spread worth the name."""
    made = Calibration(0.1, 0.05, 0.2, 0.02, ())
    two = np.array([0.30, 0.30], np.float32)
    (evidence,) = made.evidence([0.3], two)
    assert 0 < evidence < 20


def test_a_calibration_is_kept_and_measured_again_after_growth(tmp_path: Path) -> None:
    """A second process reads it; twice as many vectors later it is measured anew."""
    library = tmp_path / "library"
    with open_fake(library) as engine:
        index_into(engine.library, [some_files(tmp_path / "files")])
        clip = next(s for s in engine.library.store.spaces.active() if s.space.name == "clip")
        kept = engine.library.store.calibrations.get(clip.id, Modality.IMAGE, "words")
        assert kept is not None
        engine.library.store.calibrations.save(
            clip.id, Modality.IMAGE, "words", 3, {**kept[1], "location": 0.123}
        )
    with open_fake(library) as engine:
        calibrations = engine.retriever.calibrations
        engine.library.refresh()
        collection = engine.library.store.collections.get()
        found = calibrations.of(collection, clip, Modality.IMAGE, "words")
        assert found is not None
        assert found.location == 0.123
        files = some_files(tmp_path / "more")
        for n in range(4):
            (files / f"{n}.png").write_bytes((files / "pictures/red.png").read_bytes() + b"%d" % n)
        index_into(engine.library, [files])
        found = calibrations.of(collection, clip, Modality.IMAGE, "words")
        assert found is not None
        assert found.location != 0.123


def test_a_calibration_of_a_space_that_is_gone_is_let_go(tmp_path: Path) -> None:
    """It may have been measured while a switch of models ended."""
    with open_fake(tmp_path / "library") as engine:
        engine.library.store.calibrations.save(99, Modality.IMAGE, "words", 1, {"version": 1})
        assert engine.library.store.calibrations.get(99, Modality.IMAGE, "words") is None
