"""Every vector index behaves alike; exact NumPy search is the referee."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mmsearch.errors import DimensionError, LimitError
from mmsearch.protocols import VectorIndex
from mmsearch.types import Ids, SearchParams, Vectors
from mmsearch.vectors.faiss.index import FaissIndex
from mmsearch.vectors.memory import MemoryIndex
from mmsearch.vectors.snapshot import IndexContent, read_content

DIMENSION = 32
CROWD = 1600
"""Enough vectors that the compressed form is used."""
FIRST_CROWD_ID = 1_000_000

Make = Callable[[], VectorIndex]
Restore = Callable[[IndexContent], VectorIndex]


def unit(vectors: npt.NDArray[np.float32]) -> Vectors:
    result: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return result


def clustered(count: int, seed: int) -> Vectors:
    """Unit vectors around a few centres, so that neighbours are worth finding."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((40, DIMENSION))
    noise = 0.5 * random.standard_normal((count, DIMENSION))
    return unit((centres[random.integers(0, 40, count)] + noise).astype(np.float32))


def crowd() -> tuple[Ids, Vectors]:
    ids = np.arange(FIRST_CROWD_ID, FIRST_CROWD_ID + CROWD, dtype=np.int64)
    return ids, clustered(CROWD, seed=99)


def make_compressed() -> FaissIndex:
    """Compressed and empty again but for what the tests put in: the crowd is looked away."""
    index = FaissIndex.build(*crowd(), exact_below=0, k_factor=15, device="cpu")
    assert index.stats().type.startswith("PQ")
    return index


def make_gpu() -> FaissIndex:
    return FaissIndex(DIMENSION, device="gpu")


EMPTY: dict[str, Make] = {
    "memory": lambda: MemoryIndex(DIMENSION),
    "faiss": lambda: FaissIndex(DIMENSION, device="cpu"),
}
GPU = pytest.param("gpu", marks=pytest.mark.gpu)


@pytest.fixture(params=["memory", "faiss", GPU])
def empty(request: pytest.FixtureRequest) -> VectorIndex:
    """An index with nothing in it."""
    return make_gpu() if request.param == "gpu" else EMPTY[request.param]()


@pytest.fixture(params=["memory", "faiss", "faiss-sealed", "faiss-compressed", GPU])
def crowded(request: pytest.FixtureRequest) -> VectorIndex:
    """An index that holds the crowd."""
    ids, vectors = crowd()
    if request.param == "faiss-compressed":
        return make_compressed()
    if request.param == "faiss-sealed":
        return FaissIndex.build(ids, vectors, device="cpu")
    if request.param == "gpu":
        return FaissIndex.build(ids, vectors, device="gpu")
    index = EMPTY[request.param]()
    index.add(ids, vectors)
    return index


def referee_of(ids: Ids, vectors: Vectors) -> MemoryIndex:
    referee = MemoryIndex(DIMENSION)
    referee.add(ids, vectors)
    return referee


EXACT = SearchParams(exact=True)


def assert_same(
    got: tuple[npt.NDArray[np.float32], Ids], wanted: tuple[npt.NDArray[np.float32], Ids]
) -> None:
    np.testing.assert_array_equal(got[1], wanted[1])
    np.testing.assert_allclose(got[0], wanted[0], rtol=0, atol=1e-6)


# ---------------------------------------------------------------------------- the basics


def test_it_is_a_vector_index(empty: VectorIndex) -> None:
    assert isinstance(empty, VectorIndex)
    assert empty.dimension == DIMENSION


def test_an_empty_index_answers_with_nothing(empty: VectorIndex) -> None:
    scores, ids = empty.search(clustered(2, 1), 3)
    assert ids.tolist() == [[-1] * 3] * 2
    assert np.isneginf(scores).all()
    assert scores.dtype == np.float32
    assert ids.dtype == np.int64
    assert len(empty) == 0
    assert empty.ids().size == 0
    assert empty.remove(np.array([4])) == 0
    assert empty.search(clustered(1, 1), 2, allowed=np.array([4]))[1].tolist() == [[-1, -1]]


def test_no_queries_give_no_rows(crowded: VectorIndex) -> None:
    scores, ids = crowded.search(np.empty((0, DIMENSION), dtype=np.float32), 5)
    assert scores.shape == ids.shape == (0, 5)


def test_fewer_vectors_than_k_end_in_minus_one(empty: VectorIndex) -> None:
    vectors = clustered(3, 1)
    empty.add(np.array([30, 10, 20]), vectors)
    scores, ids = empty.search(vectors[:1], 5)
    assert ids[0, 0] == 30
    assert set(ids[0, :3].tolist()) == {10, 20, 30}
    assert ids[0, 3:].tolist() == [-1, -1]
    assert np.isneginf(scores[0, 3:]).all()


def test_k_far_beyond_the_size_returns_everything(crowded: VectorIndex) -> None:
    query = clustered(1, 5)
    _, ids = crowded.search(query, CROWD + 100)
    assert sorted(ids[0, :CROWD].tolist()) == crowd()[0].tolist()
    assert (ids[0, CROWD:] == -1).all()


def test_scores_are_products_with_the_float16_vectors(empty: VectorIndex) -> None:
    vectors, query = clustered(50, 1), clustered(1, 2)
    empty.add(np.arange(50), vectors)
    scores, ids = empty.search(query, 50)
    truth = query[0].astype(np.float64) @ vectors.astype(np.float16).astype(np.float64).T
    np.testing.assert_allclose(scores[0], truth[ids[0]], rtol=0, atol=1e-7)


def test_an_id_that_is_there_is_replaced(crowded: VectorIndex) -> None:
    far, near = clustered(1, 7), clustered(1, 8)
    crowded.add(np.array([5]), far)
    crowded.add(np.array([FIRST_CROWD_ID, 5]), np.concatenate([near, near]))
    assert len(crowded) == CROWD + 1
    _, ids = crowded.search(near, 2, params=EXACT)
    assert ids[0].tolist() == [5, FIRST_CROWD_ID]
    everything = crowded.search(far, CROWD + 1, params=EXACT)[1][0].tolist()
    assert len(set(everything)) == CROWD + 1


def test_of_an_id_given_twice_the_last_vector_counts(empty: VectorIndex) -> None:
    first, last = clustered(1, 7), clustered(1, 8)
    empty.add(np.array([5, 6, 5]), np.concatenate([first, first, last]))
    assert empty.ids().tolist() == [5, 6]
    scores, ids = empty.search(last, 1)
    assert ids[0, 0] == 5
    assert scores[0, 0] == pytest.approx(1, abs=2e-3)


def test_ids_are_ascending_and_live(crowded: VectorIndex) -> None:
    crowded.add(np.array([9, 3]), clustered(2, 1))
    crowded.remove(np.array([FIRST_CROWD_ID + 1, 9]))
    expected = [3, FIRST_CROWD_ID, *range(FIRST_CROWD_ID + 2, FIRST_CROWD_ID + CROWD)]
    assert crowded.ids().tolist() == expected
    assert len(crowded) == len(expected)
    assert crowded.stats().size == len(expected)


def test_remove_counts_what_was_there(crowded: VectorIndex) -> None:
    some = np.array([FIRST_CROWD_ID, FIRST_CROWD_ID, 17, FIRST_CROWD_ID + 3])
    assert crowded.remove(some) == 2
    assert crowded.remove(some) == 0
    assert crowded.remove(np.empty(0, dtype=np.int64)) == 0
    query = crowd()[1][:1]
    assert FIRST_CROWD_ID not in crowded.search(query, 50)[1]
    assert FIRST_CROWD_ID not in crowded.search(query, 5, allowed=some)[1]


def test_what_was_removed_can_be_added_again(crowded: VectorIndex) -> None:
    ids, vectors = crowd()
    crowded.remove(ids[:10])
    crowded.add(ids[:10], vectors[:10])
    assert_same(
        crowded.search(vectors[:10], 3, params=EXACT),
        referee_of(ids, vectors).search(vectors[:10], 3),
    )


def test_vectors_are_copied(empty: VectorIndex) -> None:
    ids, vectors = np.arange(4), clustered(4, 1)
    query = vectors[:1].copy()
    empty.add(ids, vectors)
    before = empty.search(query, 4)
    ids[:] = 77
    vectors[:] = 0
    assert_same(empty.search(query, 4), before)


def test_equal_scores_come_in_the_order_of_ids(crowded: VectorIndex) -> None:
    """Also where there are more equals than any list of candidates holds."""
    twin = clustered(1, 42)
    ids = np.random.default_rng(0).permutation(700).astype(np.int64)
    crowded.add(ids, np.repeat(twin, 700, axis=0))
    if isinstance(crowded, FaissIndex):
        assert crowded.search(twin, 12)[1][0].tolist() == list(range(12))
        crowded.compact()
    assert crowded.search(twin, 12)[1][0].tolist() == list(range(12))
    crowded.remove(np.array([0, 2, 4]))
    assert crowded.search(twin, 5)[1][0].tolist() == [1, 3, 5, 6, 7]
    allowed = np.arange(699, 99, -1)
    assert crowded.search(twin, 3, allowed=allowed)[1][0].tolist() == [100, 101, 102]


# ---------------------------------------------------------------------------- filters


@pytest.mark.parametrize("count", [0, 1, 2, 16, 160, 800, 1599, CROWD])
@pytest.mark.parametrize("queries", [1, 30])
def test_filters_are_exact_at_every_selectivity(
    crowded: VectorIndex, count: int, queries: int
) -> None:
    ids, vectors = crowd()
    random = np.random.default_rng(count)
    allowed = random.permutation(ids)[:count]
    given = clustered(queries, seed=3)
    wanted = referee_of(ids, vectors).search(given, 10, allowed=allowed)
    got = crowded.search(given, 10, allowed=allowed)
    assert (got[1] >= 0).sum(axis=1).tolist() == [min(10, count)] * queries
    assert_same(got, wanted)


def test_filters_ignore_unknown_and_repeated_ids(crowded: VectorIndex) -> None:
    ids, _ = crowd()
    allowed = np.array([3, ids[5], ids[5], ids[2], 2**62])
    _, found = crowded.search(clustered(1, 3), 4, allowed=allowed)
    assert sorted(found[0].tolist()) == [-1, -1, ids[2], ids[5]]


def test_filters_leave_out_what_was_removed_or_replaced(crowded: VectorIndex) -> None:
    ids, vectors = crowd()
    crowded.remove(ids[:100])
    moved = clustered(50, 12)
    crowded.add(ids[50:100], moved)
    referee = referee_of(ids[50:], np.concatenate([moved, vectors[100:]]))
    for allowed in (ids[:60], ids[40:400], ids):
        assert_same(
            crowded.search(moved[:3], 10, allowed=allowed),
            referee.search(moved[:3], 10, allowed=allowed),
        )


# ---------------------------------------------------------------------------- bad input


def test_a_wrong_dimension_is_refused(crowded: VectorIndex) -> None:
    wrong = np.ones((1, DIMENSION + 1), dtype=np.float32)
    flat = np.ones(DIMENSION, dtype=np.float32)
    for bad in (wrong, flat):
        with pytest.raises(DimensionError, match=str(DIMENSION)):
            crowded.search(bad, 1)
        with pytest.raises(DimensionError, match=str(DIMENSION)):
            crowded.add(np.array([1]), bad)
    assert len(crowded) == CROWD


@pytest.mark.parametrize(("value", "why"), [(np.nan, "NaN"), (np.inf, "infinite"), (0.0, "zeros")])
def test_vectors_without_direction_are_refused(
    crowded: VectorIndex, value: float, why: str
) -> None:
    bad = clustered(3, 1)
    bad[1] = value
    with pytest.raises(ValueError, match=f"id 8 .*{why}"):
        crowded.add(np.array([7, 8, 9]), bad)
    with pytest.raises(ValueError, match=f"query 1 .*{why}"):
        crowded.search(bad, 1)
    assert len(crowded) == CROWD
    assert 7 not in crowded.ids()


def test_a_vector_that_float16_cannot_hold_is_refused(empty: VectorIndex) -> None:
    with pytest.raises(ValueError, match="infinite"):
        empty.add(np.array([1]), clustered(1, 1) * 1e6)
    with pytest.raises(ValueError, match="zeros"):
        empty.add(np.array([1]), clustered(1, 1) * 1e-9)


def test_ids_that_are_no_keys_are_refused(empty: VectorIndex) -> None:
    with pytest.raises(ValueError, match="never negative"):
        empty.add(np.array([-1]), clustered(1, 1))
    with pytest.raises(ValueError, match="integers"):
        empty.add(np.array([1.5]), clustered(1, 1))
    with pytest.raises(ValueError, match="2 ids for 1 vectors"):
        empty.add(np.array([1, 2]), clustered(1, 1))


def test_numbers_below_one_are_refused(crowded: VectorIndex) -> None:
    with pytest.raises(LimitError, match="k is at least 1"):
        crowded.search(clustered(1, 1), 0)
    with pytest.raises(LimitError, match="k_factor"):
        crowded.search(clustered(1, 1), 1, params=SearchParams(k_factor=0))


# ---------------------------------------------------------------------------- all together


def test_exact_search_equals_the_referee(crowded: VectorIndex) -> None:
    ids, vectors = crowd()
    queries = clustered(40, 4)
    referee = referee_of(ids, vectors)
    for k in (1, 10, 100):
        wanted = referee.search(queries, k)
        assert_same(crowded.search(queries, k, params=EXACT), wanted)
        for row in range(3):
            one = crowded.search(queries[row : row + 1], k, params=EXACT)
            assert_same(one, (wanted[0][row : row + 1], wanted[1][row : row + 1]))


def test_default_search_finds_nearly_all_with_true_scores(crowded: VectorIndex) -> None:
    ids, vectors = crowd()
    queries = clustered(50, 4)
    scores, found = crowded.search(queries, 10)
    _, wanted = referee_of(ids, vectors).search(queries, 10)
    hits = [len(set(a) & set(b)) for a, b in zip(found.tolist(), wanted.tolist(), strict=True)]
    assert sum(hits) >= 0.97 * wanted.size
    half = vectors.astype(np.float16).astype(np.float64)[found - FIRST_CROWD_ID]
    truth = np.einsum("qkd,qd->qk", half, queries.astype(np.float64))
    np.testing.assert_allclose(scores, truth, rtol=0, atol=1e-6)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_more_candidates_never_lose_hits(crowded: VectorIndex) -> None:
    queries = clustered(30, 4)
    little = crowded.search(queries, 10, params=SearchParams(k_factor=1))[0]
    much = crowded.search(queries, 10, params=SearchParams(k_factor=60))[0]
    assert (much >= little).all()


def test_a_batch_gives_what_single_queries_give(crowded: VectorIndex) -> None:
    queries = clustered(30, 6)
    ids, _ = crowd()
    for allowed in (None, ids[::3]):
        batch = crowded.search(queries, 10, allowed=allowed)
        singles = [crowded.search(query[None], 10, allowed=allowed) for query in queries]
        assert_same(
            batch,
            (np.concatenate([s for s, _ in singles]), np.concatenate([i for _, i in singles])),
        )


@pytest.mark.parametrize("seed", range(3))
def test_random_histories_agree_with_the_referee(crowded: VectorIndex, seed: int) -> None:
    random = np.random.default_rng(seed)
    referee = referee_of(*crowd())
    known = crowd()[0]
    for step in range(50):
        action = random.choice(["add", "remove", "search", "filter", "compact"])
        if action == "add":
            count = int(random.integers(1, 60))
            new = random.integers(FIRST_CROWD_ID - 300, FIRST_CROWD_ID + CROWD + 300, count)
            vectors = clustered(count, seed=1000 * seed + step)
            crowded.add(new, vectors)
            referee.add(new, vectors)
            known = np.union1d(known, new)
        elif action == "remove":
            gone = random.choice(known, int(random.integers(1, 100)))
            assert crowded.remove(gone) == referee.remove(gone)
        elif action == "compact":
            if isinstance(crowded, FaissIndex):
                crowded.compact()
        else:
            queries = clustered(int(random.choice([1, 2, 26])), seed=2000 * seed + step)
            k = int(random.choice([1, 10, 40]))
            allowed = (
                random.choice(known, int(random.integers(0, len(known))))
                if action == "filter"
                else None
            )
            assert_same(
                crowded.search(queries, k, allowed=allowed, params=EXACT),
                referee.search(queries, k, allowed=allowed),
            )
        assert len(crowded) == len(referee)
    np.testing.assert_array_equal(crowded.ids(), referee.ids())


def test_searches_run_while_others_write(crowded: VectorIndex) -> None:
    """Never an error, never an id whose removal has returned, never a hole in an answer."""
    ids, vectors = crowd()
    removed: set[int] = set()
    faults: list[str] = []
    done = threading.Event()
    queries = clustered(8, 4)

    def searcher(number: int) -> None:
        random = np.random.default_rng(number)
        allowed = ids[:: number + 1]
        while not done.is_set():
            gone = frozenset(removed)  # before the search begins
            only = allowed if random.random() < 0.5 else None
            count = int(random.choice([1, 8]))
            try:
                scores, found = crowded.search(queries[:count], 10, allowed=only)
            except Exception as error:
                faults.append(repr(error))
                return
            if gone & set(found.ravel().tolist()):
                faults.append("a removed id was found")
            if (found < 0).any() or any(len(set(row)) < 10 for row in found.tolist()):
                faults.append("an answer has holes or repetitions")
            if (np.diff(scores, axis=1) > 0).any():
                faults.append("an answer is out of order")

    threads = [threading.Thread(target=searcher, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    random = np.random.default_rng(5)
    leaving = random.permutation(ids)[:600]
    for start in range(0, 600, 20):
        batch = leaving[start : start + 20]
        crowded.remove(batch)
        removed |= set(batch.tolist())
        crowded.add(np.arange(start, start + 20), clustered(20, seed=start))
        staying = random.integers(FIRST_CROWD_ID, FIRST_CROWD_ID + CROWD, 5)
        staying = staying[~np.isin(staying, leaving)]
        crowded.add(staying, vectors[staying - FIRST_CROWD_ID])
        if isinstance(crowded, FaissIndex) and start % 200 == 0:
            crowded.compact()
    done.set()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert faults == []
    assert len(crowded) == CROWD


def test_a_saved_index_answers_the_same(crowded: VectorIndex, tmp_path: Path) -> None:
    ids, _ = crowd()
    crowded.remove(ids[:20])
    crowded.add(np.arange(30), clustered(30, 8))
    path = tmp_path / "index"
    crowded.save(path)
    content = read_content(path)
    assert content.count == len(crowded)
    restored: VectorIndex
    if isinstance(crowded, FaissIndex):
        on_gpu = crowded.stats().device != "cpu"
        restored = FaissIndex.restore(
            content, exact_below=0, k_factor=15, device="gpu" if on_gpu else "cpu"
        )
        restored.close()
    else:
        restored = MemoryIndex.restore(content)
    np.testing.assert_array_equal(restored.ids(), crowded.ids())
    queries = clustered(9, 4)
    assert_same(
        restored.search(queries, 10, params=EXACT), crowded.search(queries, 10, params=EXACT)
    )
    if crowded.stats().type == restored.stats().type:
        assert_same(restored.search(queries, 10), crowded.search(queries, 10))
    restored.add(np.array([77]), queries[:1])
    assert restored.search(queries[:1], 1)[1][0, 0] == 77
    assert restored.remove(np.array([77])) == 1
