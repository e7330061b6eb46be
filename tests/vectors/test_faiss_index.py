"""What only the FAISS index has: the compressed form, compaction, devices."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmsearch.errors import MissingDependencyError
from mmsearch.types import Ids, SearchParams, Vectors
from mmsearch.vectors.faiss import compressed as faiss_compressed
from mmsearch.vectors.faiss import index as faiss_index
from mmsearch.vectors.faiss.compressed import Compressed
from mmsearch.vectors.faiss.index import FaissIndex
from mmsearch.vectors.faiss.rows import Rows, load_faiss
from tests.support.vectors import (
    MIXTURE,
    MIXTURE_DIMENSION,
    from_another_modality,
    mixture,
    referee_of,
)


def recall(hit_ids: Ids, expected: Ids) -> float:
    pairs = zip(hit_ids.tolist(), expected.tolist(), strict=True)
    return sum(len(set(a) & set(b)) for a, b in pairs) / expected.size


# ---------------------------------------------------------------------------- compressed form


@pytest.mark.parametrize(("size", "dimension"), [(30_000, 64), (5_000, 160), (5_000, 33)])
def test_recall_on_queries_of_another_modality(size: int, dimension: int) -> None:
    ids, vectors = np.arange(size, dtype=np.int64), mixture(size, 1, dimension)
    index = FaissIndex.build(ids, vectors, exact_below=1000, device="cpu")
    stats = index.stats()
    assert stats.type.startswith("PQ")
    assert stats.recall is not None
    assert stats.recall >= 0.98
    queries = from_another_modality(100, 9, dimension)
    expected = referee_of(ids, vectors).search(queries, 10)[1]
    assert recall(index.search(queries, 10)[1], expected) >= 0.98
    assert recall(index.search(queries, 10, params=SearchParams(exact=True))[1], expected) == 1


def test_it_compresses_itself_when_it_has_grown(rows: tuple[Ids, Vectors]) -> None:
    ids, vectors = rows
    index = FaissIndex(MIXTURE_DIMENSION, exact_below=1500, device="cpu")
    for start in range(0, MIXTURE, 500):
        index.add(ids[start : start + 500], vectors[start : start + 500])
    index.close()
    assert index.stats().type.startswith("PQ")
    assert len(index) == MIXTURE
    assert index.search(vectors[5:6], 1)[1][0, 0] == 5


def test_a_small_index_stays_exact(rows: tuple[Ids, Vectors]) -> None:
    ids, vectors = rows
    for index in (
        FaissIndex.build(ids, vectors, exact_below=MIXTURE, device="cpu"),
        FaissIndex.build(ids[:1000], vectors[:1000], exact_below=0, device="cpu"),
    ):
        assert index.stats().type == "Flat(SQfp16)"
        assert index.stats().recall is None


def test_too_small_a_k_factor_is_raised(
    rows: tuple[Ids, Vectors], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []

    def measure(form: Compressed, queries: Vectors, truth: Any) -> float:
        measured.append(form.k_factor)
        return 0.9 if form.k_factor < 8 else 0.99

    monkeypatch.setattr(Compressed, "measure", measure)
    index = FaissIndex.build(*rows, exact_below=0, device="cpu", k_factor=2)
    assert measured == [2, 4, 8]
    assert index.stats().recall == 0.99
    assert index.export().parameters == {"k_factor": 8}


def test_an_index_that_compresses_badly_is_exact(
    rows: tuple[Ids, Vectors], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Compressed, "measure", lambda *_: 0.5)
    with caplog.at_level(logging.WARNING):
        index = FaissIndex.build(*rows, exact_below=0, device="cpu")
        index.add(np.array([MIXTURE]), rows[1][:1])
        index.close()
    assert caplog.text.count("recall 0.500") == 1, "it is not tried again at every write"
    assert index.stats().type == "Flat(SQfp16)"
    queries = from_another_modality(10, 9)
    expected = referee_of(np.arange(MIXTURE + 1), np.concatenate([rows[1], rows[1][:1]]))
    np.testing.assert_array_equal(index.search(queries, 10)[1], expected.search(queries, 10)[1])


def test_recall_is_measured_on_the_queries_given(
    rows: tuple[Ids, Vectors], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Vectors] = []
    true_measure = Compressed.measure

    def measure(form: Compressed, queries: Vectors, truth: Any) -> float:
        seen.append(queries)
        return true_measure(form, queries, truth)

    monkeypatch.setattr(Compressed, "measure", measure)
    queries = from_another_modality(30, 4)
    index = FaissIndex.build(*rows, exact_below=0, device="cpu", calibration_queries=queries)
    index.compact()
    assert len(seen) == 2
    for used in seen:
        np.testing.assert_array_equal(used, queries)


def test_measured_recall_is_that_of_searching(
    rows: tuple[Ids, Vectors], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss_compressed, "TARGET_RECALL", 0.0)
    queries = from_another_modality(200, 4)
    index = FaissIndex.build(
        *rows, exact_below=0, device="cpu", k_factor=1, calibration_queries=queries
    )
    expected = referee_of(*rows).search(queries, 10)[1]
    hit_ids = index.search(queries, 10)[1]
    assert recall(hit_ids, expected) < 0.99, "or the test shows nothing"
    assert index.stats().recall == pytest.approx(recall(hit_ids, expected), abs=0.002)


def test_removals_around_a_query_leave_no_hole(
    index: FaissIndex, rows: tuple[Ids, Vectors]
) -> None:
    ids, vectors = rows
    query = from_another_modality(1, 3)
    nearest = index.search(query, 700)[1][0]
    index.remove(nearest)
    rest = np.setdiff1d(ids, nearest)
    expected = referee_of(rest, vectors[rest]).search(query, 10)
    result = index.search(query, 10)
    np.testing.assert_array_equal(result[1], expected[1])
    np.testing.assert_array_equal(result[0], expected[0])


def test_rows_are_decoded_alike_with_and_without_torch(
    index: FaissIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = from_another_modality(30, 3)
    exact = SearchParams(exact=True)
    pytest.importorskip("torch")
    with_torch = index.search(queries, 10, params=exact)
    monkeypatch.delitem(sys.modules, "torch")
    without = index.search(queries, 10, params=exact)
    np.testing.assert_array_equal(with_torch[0], without[0])
    np.testing.assert_array_equal(with_torch[1], without[1])


# ---------------------------------------------------------------------------- compaction


def test_a_few_new_vectors_do_not_train_again(
    rows: tuple[Ids, Vectors], monkeypatch: pytest.MonkeyPatch
) -> None:
    index = FaissIndex.build(*rows, exact_below=0, device="cpu")
    monkeypatch.setattr(Compressed, "build", lambda *_: pytest.fail("it trained again"))
    index.add(np.arange(MIXTURE, MIXTURE + 900), mixture(900, 8))
    index.remove(np.arange(0, 50))
    index.close()
    assert len(index) == MIXTURE + 850
    assert index.search(mixture(900, 8)[:1], 1)[1][0, 0] == MIXTURE


class Held:
    """Compressed.build that waits in the middle until it is released."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.true_build: Callable[..., Compressed | None] = Compressed.build

    def build(self, *arguments: Any) -> Compressed | None:
        self.begun.set()
        assert self.go.wait(60)
        return self.true_build(*arguments)


def test_searches_and_writes_do_not_wait_for_a_compaction(
    rows: tuple[Ids, Vectors], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, vectors = rows
    index = FaissIndex.build(ids, vectors, exact_below=0, device="cpu")
    held = Held()
    monkeypatch.setattr(Compressed, "build", held.build)
    newer = mixture(1200, 8)
    index.add(np.arange(10_000, 11_200), newer)  # more than a tail may hold
    assert held.begun.wait(60)
    # All of this happens while the new main part is being built.
    index.remove(np.array([5, 10_003]))
    index.add(np.array([7, 10_004, 20_000]), mixture(3, 9))
    during = index.search(newer[4:5], 5, params=SearchParams(exact=True))
    assert len(index) == MIXTURE + 1200 - 1
    held.go.set()
    index.close()
    referee = referee_of(ids, vectors)
    referee.add(np.arange(10_000, 11_200), newer)
    referee.remove(np.array([5, 10_003]))
    referee.add(np.array([7, 10_004, 20_000]), mixture(3, 9))
    np.testing.assert_array_equal(during[1], referee.search(newer[4:5], 5)[1])
    np.testing.assert_array_equal(index.ids(), referee.ids())
    queries = np.concatenate([newer[3:5], vectors[5:8], mixture(3, 9)])
    for params in (SearchParams(exact=True), SearchParams(k_factor=60)):
        np.testing.assert_array_equal(
            index.search(queries, 5, params=params)[1], referee.search(queries, 5)[1]
        )
    index.add(np.array([7]), mixture(1, 10))  # the carried tail is writable and known
    assert index.remove(np.array([7, 20_000])) == 2


def test_a_failed_compaction_is_logged_and_harms_nothing(
    rows: tuple[Ids, Vectors], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index = FaissIndex.build(*rows, exact_below=0, device="cpu")

    def fail(*_: object) -> None:
        raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(Compressed, "build", fail)
        index.add(np.arange(10_000, 11_200), mixture(1200, 8))
        index.close()
    assert "could not be compacted" in caplog.text
    assert len(index) == MIXTURE + 1200
    assert index.search(mixture(1200, 8)[:1], 1)[1][0, 0] == 10_000
    index.remove(np.array([10_001]))  # the next write tries again
    index.close()
    assert index.export().blocks["tail_ids"].size == 0


def test_many_removals_are_compacted_away(rows: tuple[Ids, Vectors]) -> None:
    index = FaissIndex.build(*rows, exact_below=0, device="cpu")
    index.remove(rows[0][:1500])
    index.close()
    assert len(index.export().blocks["main_ids"]) == len(index) == 1500


# ---------------------------------------------------------------------------- installation


def test_a_missing_faiss_names_the_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    load_faiss.cache_clear()
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingDependencyError, match=r"cpu, gpu .*gpu-cu12.*mmsearch\[cpu\]"):
        FaissIndex(4)
    load_faiss.cache_clear()


def test_faiss_is_imported_only_when_an_index_is_made() -> None:
    code = "import sys, mmsearch.vectors.faiss.index; sys.exit('faiss' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_rows_that_are_not_contiguous_are_refused() -> None:
    with pytest.raises(ValueError, match="contiguous"):
        Rows.of(np.arange(2), np.ones((8, 4), dtype=np.float16)[::4])


def test_thresholds_leave_room_for_adding(rows: tuple[Ids, Vectors]) -> None:
    """An index is not compacted at every write."""
    index = FaissIndex.build(*rows, exact_below=MIXTURE, device="cpu")
    before = index.export().blocks["main_ids"].size
    for start in range(0, faiss_index._TAIL, 100):
        index.add(np.arange(10_000 + start, 10_100 + start), mixture(100, start))
    assert index._state.main.ids.size == before
    index.add(np.array([50_000]), mixture(1, 3))
    index.close()
    assert index._state.main.ids.size == before + faiss_index._TAIL + 1


def test_candidates_that_all_score_alike_are_not_trusted(index: FaissIndex) -> None:
    """Then equal vectors with smaller ids may lie beyond them: the search is to be exact."""
    fast, main = index._state.fast, index._state.main
    assert fast is not None

    def answer(scores: Vectors) -> Compressed:
        positions = np.arange(scores.size)[None]
        search = SimpleNamespace(search=lambda *_, **__: (scores[None], positions))
        return replace(fast, refine=search)

    count = fast.candidate_count(10, None)
    alike = np.full(count, 0.5, dtype=np.float32)
    assert answer(alike).candidates(mixture(1, 1), 10, None, main) == [None]
    falling = np.linspace(0.9, 0.1, count, dtype=np.float32)
    (positions,) = answer(falling).candidates(mixture(1, 1), 10, None, main)
    assert positions is not None
    assert positions.tolist() == list(range(10))
