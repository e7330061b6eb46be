"""Vector indexes under many writes: in a random order, and while others search."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from mmsearch.protocols import VectorIndex
from mmsearch.vectors.faiss.index import FaissIndex
from tests.support.vectors import (
    CROWD,
    EXACT,
    FIRST_CROWD_ID,
    assert_same,
    clustered,
    crowd,
    ids_of,
    referee_of,
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
    assert ids_of(crowded) == referee.ids().tolist()


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
                scores, hit_ids = crowded.search(queries[:count], 10, allowed=only)
            except Exception as error:
                faults.append(repr(error))
                return
            if gone & set(hit_ids.ravel().tolist()):
                faults.append("a removed id was found")
            if (hit_ids < 0).any() or any(len(set(row)) < 10 for row in hit_ids.tolist()):
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
