"""Calibration: what unrelated queries find says what a similarity is worth."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pytest

from indexer.runs import index_into
from mmsearch.library import Library
from mmsearch.models.sets import ModelSet
from mmsearch.query import SearchResult
from mmsearch.search.engine import SearchEngine
from mmsearch.search.scoring.background import BACKGROUND
from mmsearch.search.scoring.calibration import (
    Calibration,
    calibration_from_json,
    calibration_to_json,
    gumbel,
    joint_gumbel,
    measure,
    true_positive_rate,
)
from mmsearch.search.scoring.constants import CONSTANTS
from mmsearch.search.scoring.fusion import fuse
from mmsearch.search.scoring.no_answer import can_recognise_no_answer
from mmsearch.search.scoring.rankings import ChannelRanking
from mmsearch.testing import FakeImageTextEmbedder, FakeTextEmbedder, FakeTranscriber
from mmsearch.types import Modality, Role, Vectors
from mmsearch.vectors.memory import MemoryIndex
from tests.support.fakes import open_fake, some_files
from tests.support.small_library import fill, note


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
    alone, _ = joint_gumbel([one.tolist()])
    together, _ = joint_gumbel([one.tolist(), two.tolist()])
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
    made = measure(an_index(vectors), vectors, queries, members=False)
    good = np.hstack([base[:1] * math.sqrt(1 - gap), [[share]]]).astype(np.float32)
    similarities = vectors @ good[0]
    evidence = made.evidence(similarities, similarities)
    ranking = ChannelRanking(
        "c:image",
        Modality.IMAGE,
        np.arange(300, dtype=np.int64),
        similarities,
        evidence=evidence,
        background_evidence=made.background_evidence,
    )
    order = fuse([ranking], 300)
    assert order[0].id == 0
    assert order[0].score > 0.6
    assert sum(one.score >= 0.5 for one in order) <= 3


def test_unrelated_queries_rarely_reach_one_half() -> None:
    """About one in twenty, by construction; other ones than it was measured with."""
    rng = np.random.default_rng(4)
    vectors = unit(rng.standard_normal((500, 48)))
    made = measure(an_index(vectors), vectors, unit(rng.standard_normal((200, 48))), members=False)
    reached = 0
    for query in unit(rng.standard_normal((200, 48))):
        similarities = vectors @ query
        ranking = ChannelRanking(
            "c:image",
            Modality.IMAGE,
            np.arange(500, dtype=np.int64),
            similarities,
            evidence=made.evidence(similarities, similarities),
            background_evidence=made.background_evidence,
        )
        reached += fuse([ranking], 1)[0].score >= 0.5
    assert reached <= 24


def test_examples_do_not_count_themselves() -> None:
    """A picture's similarity with itself says nothing about others."""
    rng = np.random.default_rng(5)
    vectors = unit(rng.standard_normal((100, 16)))
    made = measure(an_index(vectors), vectors, vectors[:50], members=True)
    assert made.location < 0.9


def test_a_model_that_knows_nothing_must_not_say_that_there_is_no_answer() -> None:
    """Queries that should be answered tell whether it does."""
    rng = np.random.default_rng(6)
    vectors = unit(rng.standard_normal((300, 32)))
    index = an_index(vectors)
    made = measure(index, vectors, unit(rng.standard_normal((200, 32))), members=False)
    near = unit(vectors[:40] + 0.1 * rng.standard_normal((40, 32)))
    blind = unit(rng.standard_normal((40, 32)))
    able, unable = (true_positive_rate(made, index, probes) for probes in (near, blind))
    assert able == 1
    assert unable is not None
    assert unable < CONSTANTS.min_true_positive_rate
    assert true_positive_rate(made, index, near[:0]) is None

    def channel(value: float | None) -> ChannelRanking:
        ids, scores = np.array([1], np.int64), np.array([0.5], np.float32)
        return ChannelRanking("clip:image", Modality.IMAGE, ids, scores, true_positive_rate=value)

    assert can_recognise_no_answer([channel(able), channel(None)])
    assert not can_recognise_no_answer([channel(able), channel(unable)])
    assert not can_recognise_no_answer([channel(None)])


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
    made = measure(index, vectors, some(200, 1.0), members=False)
    nonsense = some(300, 1.0)
    asked = unit(0.55 * vectors[50:130] + 0.7 * some(80, 1.0))
    assert (np.argmax(nonsense @ vectors.T, axis=1) < 6).mean() > 0.5
    assert (made.certainties_of(index, nonsense) >= CONSTANTS.answer_certainty).mean() <= 0.2
    kept = (made.certainties_of(index, asked) >= CONSTANTS.answer_certainty).mean()
    by_best = (asked @ vectors.T).max(
        axis=1
    ) >= made.location + CONSTANTS.answer_certainty * made.scale
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
        calibrations = engine.calibrations
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


def test_saved_calibrations_keep_their_names() -> None:
    """Libraries of earlier releases hold them under these names."""
    made = Calibration(
        0.1, 0.05, 0.2, 0.02, (1.0, 2.0), (0.5,), 0.3, 0.04, (0.0, 1.5), true_positive_rate=0.9
    )
    saved = orjson.loads(orjson.dumps(calibration_to_json(made)))
    assert set(saved) == {
        "mean", "deviation", "location", "scale", "best", "centre", "floor", "spread",
        "certainties", "power", "version",
    }  # fmt: skip
    assert calibration_from_json(saved) == made


class GatedEmbedder(FakeTextEmbedder):
    """Waits inside of `encode_texts` while the gate is closed, if many texts are encoded."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.inside = threading.Event()

    def encode_texts(self, texts: Sequence[str], role: Role) -> Vectors:
        if len(texts) > 10:
            self.inside.set()
            assert self.gate.wait(60)
        return super().encode_texts(texts, role)


def gated(embedder: GatedEmbedder) -> Any:
    models = ModelSet("nano", "fake", FakeImageTextEmbedder, lambda: embedder, FakeTranscriber)
    return lambda *_, **__: models


def test_queries_use_the_old_calibration_while_a_new_one_is_measured(tmp_path: Path) -> None:
    """After a channel has doubled, one query measures; the others do not wait for it."""
    embedder = GatedEmbedder()
    library = Library.open(
        tmp_path / "library", create=True, profile="nano", models=gated(embedder)
    )
    with SearchEngine(library) as engine:
        fill(engine, [note(f"/{n}.txt", f"an old boat {n}") for n in range(4)])
        engine.search("boat")
        fill(engine, [note(f"/new{n}.txt", f"a new boat {n}") for n in range(8)])
        # The background texts are known by now: only probes are encoded again. Close the gate.
        engine.calibrations._background.clear()
        embedder.inside.clear()
        embedder.gate.clear()
        measuring = threading.Thread(target=engine.search, args=("boat",))
        measuring.start()
        assert embedder.inside.wait(60)
        during = engine.search("boat")
        assert measuring.is_alive()
        embedder.gate.set()
        measuring.join(60)
        after = engine.search("boat")
        assert len(during.hits) == len(after.hits) > 0
        assert during.hits[0].scores != after.hits[0].scores, "the new one is used from then on"
        saved = library.store.calibrations.get(2, Modality.TEXT, "words")
        assert saved is not None
        assert saved[0] == 12


def test_a_first_calibration_is_measured_once_for_all_who_wait(tmp_path: Path) -> None:
    """There is no old one that they could use."""
    embedder = GatedEmbedder()
    library = Library.open(
        tmp_path / "library", create=True, profile="nano", models=gated(embedder)
    )
    with SearchEngine(library) as engine:
        fill(engine, [note(f"/{n}.txt", f"an old boat {n}") for n in range(4)])
        embedder.gate.clear()
        results: list[SearchResult] = []
        threads = [
            threading.Thread(target=lambda: results.append(engine.search("boat"))) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        assert embedder.inside.wait(60)
        before = embedder.encoded
        embedder.gate.set()
        for thread in threads:
            thread.join(60)
        assert embedder.encoded - before <= len(BACKGROUND) + 4 + 3
        assert all(result.hits == results[0].hits for result in results)
