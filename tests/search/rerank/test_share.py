"""One reranker's share of the candidates: who gets what, and what happens when time is up."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmsearch.errors import RerankError
from mmsearch.query import Query
from mmsearch.search.rerank.share import RerankShare, shared_out, usable_scores
from mmsearch.search.rerank.stage import RerankStage
from mmsearch.search.scoring.rankings import ScoredSegment
from mmsearch.stores.store import SqlStore
from mmsearch.testing import FakeReranker
from mmsearch.types import Modality, RerankCandidate, RerankScore, RerankScores
from tests.support.fakes import open_fake
from tests.support.small_library import fill, note


def candidate(segment: int, modality: Modality = Modality.TEXT) -> RerankCandidate:
    return RerankCandidate(segment, modality, f"content {segment}", text=f"text {segment}")


def a_share(reranker: FakeReranker, count: int, **options: Any) -> RerankShare:
    given: dict[str, Any] = {"reasons": False, "closed": threading.Event()} | options
    return RerankShare(reranker, "words", [candidate(i) for i in range(count)], **given)


def test_each_candidate_goes_to_the_first_that_accepts_it() -> None:
    """What nobody accepts goes nowhere; who gets nothing has no share."""
    pictures = FakeReranker(lambda *_: 1.0, modalities=[Modality.IMAGE])
    both = FakeReranker(lambda *_: 1.0, modalities=[Modality.IMAGE, Modality.TEXT])
    sounds = FakeReranker(lambda *_: 1.0, modalities=[Modality.SOUND])
    kinds = (Modality.IMAGE, Modality.TEXT, Modality.VIDEO)
    candidates = [candidate(i, modality) for i, modality in enumerate(kinds)]
    shares = shared_out([pictures, both, sounds], candidates)
    assert [(r, [c.segment for c in share]) for r, share in shares] == [
        (pictures, [0]),
        (both, [1]),
    ]


def test_scores_outside_0_to_1_are_problems() -> None:
    scores = RerankScores((RerankScore(0.5), None, RerankScore(1.5)), ("unsure",))
    usable, problems = usable_scores(scores, [candidate(i) for i in range(3)])
    assert usable == {0: RerankScore(0.5)}
    assert problems == ["unsure", "a score that is no number from 0 to 1"]


class GuardedCounter(Counter[str]):
    """Refuses to be changed or listed without the lock that guards it."""

    def __init__(self, lock: threading.Lock) -> None:
        super().__init__()
        self.lock = lock

    def __setitem__(self, key: str, value: int) -> None:
        assert self.lock.locked(), "written without the lock"
        super().__setitem__(key, value)

    def most_common(self, n: int | None = None) -> list[tuple[str, int]]:
        assert self.lock.locked(), "read without the lock"
        return super().most_common(n)


def test_problems_are_written_under_the_lock_when_time_runs_out(store: SqlStore) -> None:
    """The query reads them at the same moment; unguarded, it failed with all of its batch."""
    share = a_share(FakeReranker(lambda *_: 1.0), 3)
    share._problems = GuardedCounter(share._lock)
    share.start(store, time.monotonic() - 1, None)
    scores, warning = share.wait(time.monotonic() + 60)
    assert scores == {}
    assert warning is not None
    assert warning.endswith("3 of 3 hits were not scored: time ran out")
    assert share.unavailable is None, "late is not unavailable"


def test_one_that_fails_is_unavailable_and_a_paused_one_is_not_asked(store: SqlStore) -> None:
    def failing(_query: str, _candidate: RerankCandidate) -> float:
        raise ZeroDivisionError

    share = a_share(FakeReranker(failing), 1)
    share._problems = GuardedCounter(share._lock)
    share.start(store, time.monotonic() + 60, None)
    assert "failed (ZeroDivisionError)" in (share.wait(time.monotonic() + 60)[1] or "")
    assert share.unavailable == "it failed (ZeroDivisionError)"
    reranker = FakeReranker(lambda *_: 1.0)
    paused = a_share(reranker, 1)
    paused.start(store, time.monotonic() + 60, "it is down")
    assert "it is down; it is left alone" in (paused.wait(time.monotonic() + 60)[1] or "")
    assert reranker.asked == []
    assert paused.unavailable is None


def test_scores_of_a_share_are_saved(store: SqlStore) -> None:
    """A second share asks nothing."""
    reranker = FakeReranker(lambda _q, c: c.segment / 10)
    for _ in range(2):
        share = a_share(reranker, 3)
        share.start(store, time.monotonic() + 60, None)
        scores, warning = share.wait(time.monotonic() + 60)
        assert warning is None
        assert {segment: score.score for segment, score in scores.items()} == {0: 0, 1: 0.1, 2: 0.2}
    assert len(reranker.asked) == 3


def test_a_broken_reranker_costs_the_reranking_not_the_batch(tmp_path: Path) -> None:
    """Even where it breaks before anything was asked of it."""

    class Broken(FakeReranker):
        def accepts(self, modality: Modality) -> bool:
            raise RuntimeError(modality)

    broken = Broken(lambda *_: 1.0)
    with open_fake(tmp_path / "library", rerankers=lambda *_: (broken,)) as engine:
        fill(engine, [note("/a.txt", "a red boat")])
        plain = engine.search("red boat")
        reranked = engine.search("red boat", rerank="vlm")
        assert reranked.hits == plain.hits
        assert reranked.warnings == ("not reranked: it failed (RuntimeError)",)


def test_no_transaction_is_open_while_rerankers_work(tmp_path: Path) -> None:
    """They take seconds; a database must not keep its history for them."""
    open_connections: list[int] = []

    def opinion(_query: str, _candidate: RerankCandidate) -> float:
        pool: Any = engine.library.store.database.engine.pool
        open_connections.append(pool.checkedout())
        return 0.5

    reranker = FakeReranker(opinion, modalities=[Modality.TEXT])
    with open_fake(tmp_path / "library", rerankers=lambda *_: (reranker,)) as engine:
        fill(engine, [note("/a.txt", "a red boat")])
        assert engine.search("red boat", rerank="vlm").warnings == ()
    assert open_connections == [0]


def test_nothing_to_rerank_is_unchanged(tmp_path: Path) -> None:
    """No segments, or no choice of a reranker."""
    with open_fake(tmp_path / "library") as engine:
        fill(engine, [note("/a.txt", "a red boat")])
        stage: RerankStage = engine.reranking
        planned = engine.planner.plan(_query("vlm"), engine.library.snapshot())
        assert stage.rerank(planned, []).segments == ()
        segments = [ScoredSegment(1, 0.5, {})]
        planned = engine.planner.plan(_query(None), engine.library.snapshot())
        assert stage.rerank(planned, segments).segments == tuple(segments)


def _query(rerank: str | None) -> Query:
    return replace(Query.words("boat"), rerank=rerank)


def test_scores_that_fit_no_candidates_are_refused() -> None:
    """It is not known which score is whose."""
    batch = [RerankCandidate(1, Modality.TEXT, "a"), RerankCandidate(2, Modality.TEXT, "b")]
    for count in (0, 1, 3):
        with pytest.raises(RerankError, match=f"{count} scores for 2 candidates"):
            usable_scores(RerankScores((RerankScore(0.5),) * count), batch)
