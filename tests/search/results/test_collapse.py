"""Segments that people take for one thing become one hit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmsearch.query import Query
from mmsearch.search.results.collapse import HitGroup, collapse, hit_count
from mmsearch.search.results.similarity import Likeness, NearDuplicates
from mmsearch.search.scoring.rankings import ScoredSegment
from mmsearch.stores.segments import Candidate
from mmsearch.types import Modality

VIDEO, SPEECH, IMAGE = Modality.VIDEO, Modality.SPEECH, Modality.IMAGE


def place(
    segment: int,
    source: int,
    modality: Modality = IMAGE,
    time: tuple[float, float] | None = None,
    *,
    ordinal: int = 0,
    sha256: str | None = None,
) -> Candidate:
    start, end = time or (None, None)
    return Candidate(segment, source, ordinal, modality, start, end, sha256 or str(source))


def ranked(*ids: int) -> list[ScoredSegment]:
    return [ScoredSegment(i, 1 - n / 100, {}) for n, i in enumerate(ids)]


def collapsed(places: Sequence[Candidate], query: Query, **options: Any) -> list[HitGroup]:
    """In the order in which the places are listed."""
    by_id = {p.id: p for p in places}
    return collapse(ranked(*by_id), by_id, query, **options)


def ids(groups: Sequence[HitGroup]) -> list[int]:
    return [group.representative.id for group in groups]


def evidence(group: HitGroup) -> list[int]:
    return [segment.id for segment in group.evidence]


def test_a_shot_and_the_words_said_in_it_are_one_hit() -> None:
    """The better one represents it; another shot of that time is a hit of its own."""
    places = [
        place(1, 1, VIDEO, (0, 10)),
        place(2, 1, SPEECH, (4, 9)),
        place(3, 1, VIDEO, (1, 9)),
        place(4, 1, SPEECH, (9, 19)),
        place(5, 2, SPEECH, (4, 9)),
    ]
    groups = collapsed(places, Query())
    assert ids(groups) == [1, 3, 4, 5]
    assert evidence(groups[0]) == [2]
    assert ids(collapsed(places, Query(group="segment"))) == [1, 2, 3, 4, 5]


def test_half_of_the_shorter_time_must_be_shared() -> None:
    """A sentence that only begins in a shot is not of it."""
    shot = place(1, 1, VIDEO, (0, 10))
    assert ids(collapsed([shot, place(2, 1, SPEECH, (5, 15))], Query())) == [1]
    assert ids(collapsed([shot, place(2, 1, SPEECH, (5.1, 15.1))], Query())) == [1, 2]
    assert ids(collapsed([shot, place(2, 1, SPEECH)], Query())) == [1, 2]


def test_copies_fold_by_content_and_near_duplicates_by_vectors() -> None:
    """Only if the query asks for it; of two candidates the most similar one takes the segment."""
    places = [place(1, 1), place(2, 2, sha256="1"), place(3, 3), place(4, 4), place(5, 5)]
    assert ids(collapsed(places, Query())) == [1, 2, 3, 4, 5]
    folded = collapsed(places, Query(fold=1.0))
    assert ids(folded) == [1, 3, 4, 5]
    assert [s.id for s in folded[0].duplicates] == [2]
    matrix = np.array([[1, 0], [1, 0], [0, 1], [0.1, 0.995], [0.7, 0.7]], np.float32)
    near = NearDuplicates(0.95, {IMAGE: ([1, 2, 3, 4, 5], matrix)})
    folded = collapsed(places, Query(fold=0.95), near_duplicates=near)
    assert ids(folded) == [1, 3, 5]
    assert [s.id for s in folded[1].duplicates] == [4]


def test_near_duplicates_are_of_one_modality_and_need_a_vector() -> None:
    """A segment without one is like nothing."""
    vectors = {IMAGE: ([1, 2], np.eye(2, dtype=np.float32))}
    near = NearDuplicates(0.0, vectors)
    assert near.find(place(1, 1)) is None
    near.add(place(1, 1))
    assert near.find(place(2, 2)) == 1
    assert near.find(place(3, 3)) is None
    assert near.find(place(2, 2, VIDEO)) is None


def test_what_earlier_pages_have_shown_is_left_out_with_all_that_joins_it() -> None:
    """Copies of it, words said in it, and with groups of sources the whole source."""
    places = [
        place(1, 1, VIDEO, (0, 10)),
        place(2, 1, SPEECH, (2, 9)),
        place(3, 2, VIDEO, (0, 10), sha256="1"),
        place(4, 1, SPEECH, (20, 30)),
        place(5, 5),
        place(6, 6),
    ]
    assert ids(collapsed(places, Query(fold=1.0), shown=[1])) == [4, 5, 6]
    assert ids(collapsed(places, Query(group="source"), shown=[1])) == [3, 5, 6]
    assert ids(collapsed(places, Query(), shown=[1, 99], hidden_sources={5})) == [3, 4, 6]


def test_deleted_segments_are_left_out() -> None:
    """They have no place any more."""
    groups = collapse(ranked(1, 2), {2: place(2, 1)}, Query())
    assert ids(groups) == [2]


def test_hits_are_sources_or_groups() -> None:
    groups = collapsed([place(1, 1), place(2, 1, ordinal=1), place(3, 2)], Query())
    assert hit_count(groups, Query()) == 3
    assert hit_count(groups, Query(group="source")) == 2


def test_likeness_is_relative_to_the_mean_of_the_modality() -> None:
    """Two texts of a narrow space are not alike because all texts are."""
    matrix = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    likeness = Likeness({IMAGE: ([1, 2, 3], matrix), VIDEO: ([4], matrix[:1])})
    assert likeness.of(1, [2, 3, 4, 99]).tolist() == [1.0, 0.0, 0.0, 0.0]
    assert likeness.of(99, [1]).tolist() == [0.0]
    assert likeness.of(4, [4]).tolist() == [1.0]
