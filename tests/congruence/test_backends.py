"""SQLite or PostgreSQL, FAISS or memory: the same queries have the same whole results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine

from mmsearch.errors import MMSearchError
from mmsearch.query import Query, SearchResult
from mmsearch.search.engine import SearchEngine
from mmsearch.search.parse.json_form import result_to_json
from tests.congruence.contents import some_things
from tests.congruence.queries import some_queries
from tests.support.fakes import open_fake
from tests.support.small_library import fill

SEED = 11
SOURCES = 200
QUERIES = 200
BATCH = 10
TOLERANCE = 1e-5
"""Of scores: FAISS sums products of float16 in float32, the memory index in float64."""

OpenEngine = Callable[[str, str], SearchEngine]


@pytest.fixture(scope="module")
def open_engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenEngine]:
    """An engine over the library on a database and a vector backend, made once for each pair."""
    engines: dict[tuple[str, str], SearchEngine] = {}

    def opened(database: str, vectors: str) -> SearchEngine:
        if (database, vectors) not in engines:
            settings: dict[str, Any] = {"vector_backend": vectors, "workers": 1}
            if database == "postgresql":
                name = f"congruence_{vectors}"
                admin: Engine = request.getfixturevalue("postgresql_template")
                with admin.connect() as connection:
                    connection.exec_driver_sql(f"CREATE DATABASE {name}")
                url = request.getfixturevalue("postgresql")
                settings["database_url"] = url.replace("/postgres?", f"/{name}?")
            folder = tmp_path_factory.mktemp("congruence") / "library"
            engine = engines[database, vectors] = open_fake(folder, **settings)
            fill(engine, some_things(SEED, SOURCES))
        return engines[database, vectors]

    yield opened
    for engine in engines.values():
        engine.close()


def essence(answer: SearchResult | MMSearchError) -> dict[str, Any]:
    """What must be equal: everything but times, and the cursor, whose text is the store's own."""
    if isinstance(answer, MMSearchError):
        return {"error": answer.code, "message": answer.message}
    result = result_to_json(answer)
    for values in result.get("facets", {}).values():
        values.sort(key=lambda v: (-v["sources"], str(v["value"])))
    ignored = {"took_ms", "stages", "query"}
    return {name: value for name, value in result.items() if name not in ignored} | {
        "cursor": answer.cursor is not None
    }


def answers(engine: SearchEngine, queries: Sequence[Query]) -> list[dict[str, Any]]:
    """The first page of every query, and the second of those that have one."""
    pages: list[dict[str, Any]] = []
    for start in range(0, len(queries), BATCH):
        batch = queries[start : start + BATCH]
        results = engine.search_many(batch)
        following = [
            replace(query, cursor=result.cursor)
            for query, result in zip(batch, results, strict=True)
            if isinstance(result, SearchResult) and result.cursor is not None
        ]
        pages += [{"page": 1} | essence(result) for result in results]
        pages += [{"page": 2} | essence(result) for result in engine.search_many(following)]
    return pages


def differences(left: Any, right: Any, place: str = "") -> Iterator[str]:
    """Every place where two JSON values differ, numbers by more than the tolerance."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for name in sorted(left.keys() | right.keys()):
            yield from differences(left.get(name), right.get(name), f"{place}.{name}")
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for n, (a, b) in enumerate(zip(left, right, strict=True)):
            yield from differences(a, b, f"{place}[{n}]")
    elif isinstance(left, float) and isinstance(right, float):
        if not math.isclose(left, right, rel_tol=0, abs_tol=TOLERANCE):
            yield f"{place}: {left} {right}"
    elif left != right:
        yield f"{place}: {left!r} {right!r}"


@pytest.fixture(scope="module")
def queries(open_engine: OpenEngine) -> list[Query]:
    segments = open_engine("sqlite", "memory").library.store.status.counts()["segments"]
    return some_queries(SEED, QUERIES, segments)


@pytest.fixture(scope="module")
def expected(open_engine: OpenEngine, queries: list[Query]) -> list[dict[str, Any]]:
    return answers(open_engine("sqlite", "memory"), queries)


def test_the_queries_reach_every_feature(
    queries: list[Query], expected: list[dict[str, Any]]
) -> None:
    """Most have hits, few are errors; second pages, facets and every kind of term occur."""
    first = [page for page in expected if page["page"] == 1]
    assert len(first) == QUERIES
    assert sum(bool(page.get("hits")) for page in first) > 0.6 * QUERIES
    assert sum("error" in page for page in first) < 0.1 * QUERIES
    assert sum(bool(page.get("hits")) for page in expected if page["page"] == 2) > 20
    assert sum(bool(page.get("facets")) for page in first) > 20
    kinds = {term.kind for query in queries for term in query.terms}
    assert kinds == {"text", "vector", "image", "segment"}


@pytest.mark.parametrize(
    ("database", "vectors"),
    [("sqlite", "faiss"), ("postgresql", "memory"), ("postgresql", "faiss")],
)
def test_whole_results_are_equal(
    open_engine: OpenEngine,
    queries: list[Query],
    expected: list[dict[str, Any]],
    database: str,
    vectors: str,
) -> None:
    """Ids, order, scores, groups, facets, warnings and errors are those of SQLite and memory."""
    got = answers(open_engine(database, vectors), queries)
    assert [page["page"] for page in got] == [page["page"] for page in expected]
    wrong = [
        f"result {n}, page {want['page']}: {'; '.join(found[:4])}"
        for n, (want, have) in enumerate(zip(expected, got, strict=True))
        if (found := list(differences(want, have)))
    ]
    assert not wrong, f"{len(wrong)} of {len(got)} differ\n" + "\n".join(wrong[:8])
