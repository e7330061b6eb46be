"""Every vector index behaves alike; exact NumPy search is the referee."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mmsearch.errors import DimensionError, LimitError, MMSearchError, QueryError
from mmsearch.protocols import VectorIndex
from mmsearch.types import SearchParams
from mmsearch.vectors.faiss.index import FaissIndex
from tests.support.vectors import (
    CROWD,
    DIMENSION,
    EXACT,
    FIRST_CROWD_ID,
    assert_same,
    clustered,
    crowd,
    ids_of,
    referee_of,
)

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
    assert empty.sample(5, seed=0).size == 0
    assert empty.contains(np.array([4])).tolist() == [False]
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
    assert ids_of(empty) == [5, 6]
    scores, ids = empty.search(last, 1)
    assert ids[0, 0] == 5
    assert scores[0, 0] == pytest.approx(1, abs=2e-3)


def test_live_ids_are_those_added_and_not_removed(crowded: VectorIndex) -> None:
    crowded.add(np.array([9, 3]), clustered(2, 1))
    crowded.remove(np.array([FIRST_CROWD_ID + 1, 9]))
    expected = [3, FIRST_CROWD_ID, *range(FIRST_CROWD_ID + 2, FIRST_CROWD_ID + CROWD)]
    assert ids_of(crowded) == expected
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
    repeated = clustered(1, 42)
    ids = np.random.default_rng(0).permutation(700).astype(np.int64)
    crowded.add(ids, np.repeat(repeated, 700, axis=0))
    if isinstance(crowded, FaissIndex):
        assert crowded.search(repeated, 12)[1][0].tolist() == list(range(12))
        crowded.compact()
    assert crowded.search(repeated, 12)[1][0].tolist() == list(range(12))
    crowded.remove(np.array([0, 2, 4]))
    assert crowded.search(repeated, 5)[1][0].tolist() == [1, 3, 5, 6, 7]
    allowed = np.arange(699, 99, -1)
    assert crowded.search(repeated, 3, allowed=allowed)[1][0].tolist() == [100, 101, 102]


def test_contains_marks_the_live_ids(crowded: VectorIndex) -> None:
    """In the order asked for, repetitions included; removed ids are not live."""
    crowded.add(np.array([9, 3, FIRST_CROWD_ID]), clustered(3, 1))
    crowded.remove(np.array([9, FIRST_CROWD_ID + 1]))
    some = np.array([FIRST_CROWD_ID + 1, 9, 3, 2**62, FIRST_CROWD_ID, 3, FIRST_CROWD_ID + CROWD])
    assert crowded.contains(some).tolist() == [False, False, True, False, True, True, False]
    assert crowded.contains(some).dtype == np.bool_
    assert crowded.contains(np.empty(0, dtype=np.int64)).shape == (0,)
    assert crowded.contains(crowd()[0]).sum() == CROWD - 1


def test_a_sample_is_random_and_repeatable(crowded: VectorIndex) -> None:
    """Live ids, each once; the same for the same seed and contents, else another."""
    crowded.remove(crowd()[0][:800])
    sample = crowded.sample(100, seed=4)
    assert sample.dtype == np.int64
    assert len(set(sample.tolist())) == 100
    assert crowded.contains(sample).all()
    assert crowded.sample(100, seed=4).tolist() == sample.tolist()
    assert crowded.sample(100, seed=5).tolist() != sample.tolist()
    assert sample.tolist() != sorted(sample.tolist())
    assert sorted(crowded.sample(10_000, seed=4).tolist()) == crowd()[0][800:].tolist()


def test_indexes_in_this_process_draw_the_same_sample(crowded: VectorIndex) -> None:
    """Calibrations depend on samples: they do not change with the backend or its history."""
    if crowded.stats().device == "remote":
        pytest.skip("a remote store draws its own samples")
    crowded.remove(crowd()[0][::3])
    crowded.add(np.array([7, 5]), clustered(2, 1))
    live = np.sort(np.concatenate([np.array([5, 7]), np.delete(crowd()[0], np.s_[::3])]))
    expected = np.random.default_rng(11).permutation(live)[:300]
    assert crowded.sample(300, seed=11).tolist() == expected.tolist()


def test_a_change_that_is_replayed_again_changes_nothing(crowded: VectorIndex) -> None:
    """After a restart the change log is replayed from the high-water mark or before it."""
    ids, vectors = crowd()
    added, new = np.array([3, 9]), clustered(2, 1)
    for _ in range(2):
        crowded.add(added, new)
        crowded.remove(ids[:50])
    assert len(crowded) == CROWD + 2 - 50
    referee = referee_of(np.append(ids[50:], added), np.concatenate([vectors[50:], new]))
    queries = clustered(5, 4)
    assert_same(crowded.search(queries, 10, params=EXACT), referee.search(queries, 10))


# ---------------------------------------------------------------------------- filters


@pytest.mark.parametrize("count", [0, 1, 2, 16, 160, 800, 1599, CROWD])
@pytest.mark.parametrize("queries", [1, 30])
def test_filters_are_exact_at_every_selectivity(
    crowded: VectorIndex, count: int, queries: int
) -> None:
    ids, vectors = crowd()
    random = np.random.default_rng(count)
    allowed = random.permutation(ids)[:count]
    batch = clustered(queries, seed=3)
    expected = referee_of(ids, vectors).search(batch, 10, allowed=allowed)
    result = crowded.search(batch, 10, allowed=allowed)
    assert (result[1] >= 0).sum(axis=1).tolist() == [min(10, count)] * queries
    assert_same(result, expected)


def test_filters_ignore_unknown_and_repeated_ids(crowded: VectorIndex) -> None:
    ids, _ = crowd()
    allowed = np.array([3, ids[5], ids[5], ids[2], 2**62])
    _, hit_ids = crowded.search(clustered(1, 3), 4, allowed=allowed)
    assert sorted(hit_ids[0].tolist()) == [-1, -1, ids[2], ids[5]]


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
    with pytest.raises(DimensionError, match=f"id 8 .*{why}"):
        crowded.add(np.array([7, 8, 9]), bad)
    with pytest.raises(DimensionError, match=f"query 1 .*{why}"):
        crowded.search(bad, 1)
    assert len(crowded) == CROWD
    assert not crowded.contains(np.array([7])).any()


def test_a_vector_that_float16_cannot_hold_is_refused(empty: VectorIndex) -> None:
    with pytest.raises(DimensionError, match="infinite"):
        empty.add(np.array([1]), clustered(1, 1) * 1e6)
    with pytest.raises(DimensionError, match="zeros"):
        empty.add(np.array([1]), clustered(1, 1) * 1e-9)


def test_ids_that_are_no_keys_are_refused(empty: VectorIndex) -> None:
    with pytest.raises(QueryError, match="never negative"):
        empty.add(np.array([-1]), clustered(1, 1))
    with pytest.raises(QueryError, match="integers"):
        empty.add(np.array([1.5]), clustered(1, 1))
    with pytest.raises(DimensionError, match="2 ids for 1 vectors"):
        empty.add(np.array([1, 2]), clustered(1, 1))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_a_bad_query_raises_an_error_of_ours(crowded: VectorIndex, bad: float) -> None:
    """Who searches a batch catches MMSearchError: a bare ValueError would end the whole batch."""
    queries = np.full((1, DIMENSION), bad, dtype=np.float32)
    calls: tuple[Callable[[], object], ...] = (
        lambda: crowded.search(queries, 1),
        lambda: crowded.search(queries[:, 1:], 1),
        lambda: crowded.search(clustered(1, 1), 1, allowed=np.array([-1])),
        lambda: crowded.search(clustered(1, 1), 1, allowed=np.array([[1]])),
        lambda: crowded.search(clustered(1, 1), 0),
    )
    for call in calls:
        with pytest.raises(MMSearchError):
            call()


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
        expected = referee.search(queries, k)
        assert_same(crowded.search(queries, k, params=EXACT), expected)
        for row in range(3):
            single = crowded.search(queries[row : row + 1], k, params=EXACT)
            assert_same(single, (expected[0][row : row + 1], expected[1][row : row + 1]))


def test_default_search_finds_nearly_all_with_true_scores(crowded: VectorIndex) -> None:
    ids, vectors = crowd()
    queries = clustered(50, 4)
    scores, hit_ids = crowded.search(queries, 10)
    _, expected = referee_of(ids, vectors).search(queries, 10)
    hits = [len(set(a) & set(b)) for a, b in zip(hit_ids.tolist(), expected.tolist(), strict=True)]
    assert sum(hits) >= 0.97 * expected.size
    half = vectors.astype(np.float16).astype(np.float64)[hit_ids - FIRST_CROWD_ID]
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
