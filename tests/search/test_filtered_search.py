"""Filtered search returns exactly what brute force over SQL returns, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from mmsearch.query import Query, SearchResult
from mmsearch.search.engine import SearchEngine
from mmsearch.stores.store import SqlStore
from mmsearch.types import Modality
from tests.support.fakes import open_fake
from tests.support.small_library import CLIP, TEXT, fill, note, photo

SIZE = 1000
COLOURS = ["red", "green", "blue", "yellow", "purple", "pink", "orange", "brown"]
PERCENTS = [0.1, 1, 10, 50, 100]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SearchEngine]:
    """Half pictures, half notes; `pick` is a random permutation of 0..SIZE-1."""
    folder = tmp_path_factory.mktemp("filtered") / "library"
    settings = {}
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql")
        request.getfixturevalue("postgresql_template").connect().exec_driver_sql(
            "CREATE DATABASE filtered"
        )
        settings["database_url"] = url.replace("/postgres?", "/filtered?")
    picks = np.random.default_rng(5).permutation(SIZE)
    things = [
        photo(f"/{n:04}.jpg", f"{COLOURS[n % 8]} thing{n}", pick=int(picks[n]))
        if n % 2
        else note(f"/{n:04}.txt", f"about a {COLOURS[n % 8]} boat{n % 50}", pick=int(picks[n]))
        for n in range(SIZE)
    ]
    with open_fake(folder, candidates=20, **settings) as made:
        fill(made, things)
        yield made


def allowed(engine: SearchEngine, percent: float) -> set[int]:
    """By a plain look at every record."""
    most = SIZE * percent / 100
    store = engine.library.store
    passing = [s.id for s in store.sources.list(limit=SIZE) if s.metadata["pick"] < most]
    assert len(passing) == most
    every = store.segments.get_many(range(1, SIZE + 1)).values()
    return {segment.id for segment in every if segment.source_id in set(passing)}


def brute_force(store: SqlStore, space: str, words: str, ids: set[int]) -> dict[int, float]:
    """Cosines with every allowed vector of a space, straight from SQL, best first."""
    (stored,) = (s for s in store.spaces.active() if s.space.name == space)
    query = (CLIP if space == "clip" else TEXT).encode_texts([words], "query")[0]
    modality = Modality.IMAGE if space == "clip" else Modality.TEXT
    grouped = store.vectors.of_segments(stored.id, sorted(ids))
    if modality not in grouped:
        return {}
    found, matrix = grouped[modality]
    cosines = matrix.astype(np.float32) @ query
    order = np.lexsort((found, -cosines))
    return {int(found[i]): float(cosines[i]) for i in order}


@pytest.mark.parametrize("percent", PERCENTS)
def test_every_selectivity_equals_brute_force(engine: SearchEngine, percent: float) -> None:
    """As many hits as exist, none that does not pass, each channel as exact search ranks it."""
    ids = allowed(engine, percent)
    assert len(ids) == SIZE * percent / 100
    limit = 400
    words = "red boat4"
    query = replace(
        Query.words(words).where(pick={"lt": SIZE * percent / 100}), group="segment", limit=limit
    )
    result = engine.search(query)
    found = {hit.segment.id for hit in result.hits}
    assert found <= ids
    assert len(found) == min(limit, len(ids))
    if len(ids) <= limit:
        assert result.cursor is None
    for space, channel in (("clip", "clip:image"), ("text", "text:text")):
        expected = brute_force(engine.library.store, space, words, ids)
        scored = {
            hit.segment.id: (hit.scores[channel], hit.scores[f"{channel}:rank"])
            for hit in result.hits
            if channel in hit.scores
        }
        if len(ids) <= limit:
            assert set(scored) == set(expected)
        for segment, (raw, rank) in scored.items():
            assert raw == pytest.approx(expected[segment], abs=1e-4)
            better = sum(other > expected[segment] + 1e-4 for other in expected.values())
            as_good = sum(other >= expected[segment] - 1e-4 for other in expected.values())
            assert better < rank <= as_good


@pytest.mark.parametrize("percent", PERCENTS)
def test_words_that_stand_there_are_found_whatever_the_filter(
    engine: SearchEngine, percent: float
) -> None:
    """The notes with the very word come first, all of them."""
    ids = allowed(engine, percent)
    notes = {i: s for i, s in engine.library.store.segments.get_many(sorted(ids)).items() if s.text}
    holding = {i for i, note in notes.items() if "boat4" in (note.text or "").split()}
    query = replace(
        Query.words("boat4").where(pick={"lt": SIZE * percent / 100}).among("text"),
        group="segment",
        limit=max(1, len(holding)),
    )
    found = {hit.segment.id for hit in engine.search(query).hits}
    assert len(found) == min(query.limit, len(notes))
    assert holding <= found


def test_pages_of_a_filtered_search_are_complete(engine: SearchEngine) -> None:
    """By cursor through all that passes, each once."""
    ids = allowed(engine, 10)
    query = replace(
        Query.words("red boat4").where(pick={"lt": SIZE / 10}), group="segment", limit=30
    )
    pages: list[SearchResult] = [engine.search(query)]
    while pages[-1].cursor is not None:
        pages.append(engine.search(replace(query, cursor=pages[-1].cursor)))
    found = [hit.segment.id for page in pages for hit in page.hits]
    assert len(found) == len(ids)
    assert set(found) == ids
