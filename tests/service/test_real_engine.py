"""The service over a real library: engine, indexes, decoding and uploads, with fake models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from indexer.jobs import BackgroundIngestor
from indexer.runs import index_into
from mmsearch.query import SearchResult
from mmsearch.search.engine import SearchEngine
from mmsearch.search.parse.json_form import query_from_json, result_to_json
from mmsearch.service.app import create_app
from mmsearch.service.routes.search_schemas import SearchResponse
from mmsearch.service.routes.source_schemas import LibraryStatus
from tests.support.fakes import a_picture, open_fake, some_files
from tests.support.recordings import recording

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

Real = tuple[httpx.AsyncClient, SearchEngine]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    """One library for all tests of this module: starting decoding workers takes a while."""
    folder = tmp_path_factory.mktemp("real")
    with open_fake(folder / "library", workers=1) as opened:
        index_into(opened.library, [some_files(folder / "files")])
        yield opened


@pytest.fixture
async def real(engine: SearchEngine) -> AsyncIterator[Real]:
    ingestor = BackgroundIngestor(engine.library)
    app = create_app(engine, ingestor)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    try:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1", timeout=60
            ) as client,
        ):
            yield client, engine
    finally:
        await asyncio.to_thread(ingestor.close)


async def _search(client: httpx.AsyncClient, body: Mapping[str, Any]) -> dict[str, Any]:
    response = await client.post("/v1/search", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    SearchResponse.model_validate(answer)
    return answer


def _names(answer: Mapping[str, Any]) -> list[str]:
    return [Path(hit["source"]["path"]).name for hit in answer["hits"]]


async def test_the_library_over_http(real: Real, tmp_path: Path) -> None:
    client, engine = real

    # Words, over HTTP and in the same process, find the same.
    body = {"query": "a red picture", "limit": 3}
    answer = await _search(client, body)
    assert _names(answer)[0] == "red.png"
    direct = result_to_json(engine.search(query_from_json(body)))
    for hit in answer["hits"]:
        del hit["links"]
    assert answer["hits"] == direct["hits"]

    # A picture as a file, and more like a hit.
    wanted = a_picture(tmp_path / "query.png", "blue").read_bytes()
    found = await client.post("/v1/search", files={"image": ("q.png", wanted)})
    assert _names(found.json())[0] == "blue.png"
    like = await _search(client, {"terms": [{"segment": found.json()["hits"][0]["segment"]["id"]}]})
    assert "blue.png" not in _names(like)
    assert like["hits"]

    # Everything that is linked is there.
    hit = found.json()["hits"][0]
    thumbnail = await client.get(hit["links"]["thumbnail"])
    assert thumbnail.headers["content-type"] == "image/jpeg"
    media = await client.get(hit["links"]["media"])
    assert media.content == Path(hit["source"]["path"]).read_bytes()
    LibraryStatus.model_validate((await client.get("/v1/status")).json())
    metrics = (await client.get("/metrics")).text
    assert "mmsearch_sources 5.0" in metrics
    assert 'mmsearch_index_size{space="clip"' in metrics


async def test_an_upload_is_found_and_a_deleted_source_is_not(real: Real, tmp_path: Path) -> None:
    client, engine = real
    content = a_picture(tmp_path / "x.png", "orange").read_bytes()
    answer = await client.post(
        "/v1/uploads",
        files=[("file", ("orange.png", content)), ("file", ("bad.jpg", b"\xff\xd8\xff\xe0bad"))],
    )
    assert answer.status_code == 202, answer.text
    job = answer.json()["job"]
    for _ in range(1200):
        if job["finished_at"]:
            break
        await asyncio.sleep(0.05)
        job = (await client.get(answer.headers["location"])).json()["job"]
    assert job["state"] == "done", job
    outcomes = {Path(item["path"]).name: item for item in job["items"]}
    assert outcomes["orange.png"]["outcome"] == "indexed"
    assert outcomes["bad.jpg"]["outcome"] == "failed"
    assert outcomes["bad.jpg"]["reason"]

    hits = (await _search(client, {"query": "orange", "modalities": ["image"], "limit": 1}))["hits"]
    assert Path(hits[0]["source"]["path"]).name == "orange.png"
    stored = Path(hits[0]["source"]["path"])
    assert stored.is_relative_to(engine.library.path)

    source = hits[0]["source"]["id"]
    assert (await client.delete(f"/v1/sources/{source}")).status_code == 204
    assert "orange.png" not in _names(await _search(client, {"query": "orange"}))
    assert not stored.exists()


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"query": "red", "filter": {"smell": "sweet"}}, 422, "filter"),
        ({"query": "red", "filter": {"size": {"gte": "big"}}}, 422, "filter"),
        ({"query": "red", "collection": "none"}, 404, "collection"),
        ({"terms": [{"vector": [1.0, 2.0]}]}, 422, "vector"),
        ({"terms": [{"vector": [1.0], "space": "smell"}]}, 422, "space"),
        ({"terms": [{"segment": 2**62}]}, 404, "segment"),
        ({"terms": [{"segment": -1}]}, 404, "segment"),
        ({"terms": [{"segment": 2**63}]}, 404, "segment"),
        ({"terms": [{"image": "bm90IGEgcGljdHVyZQ=="}]}, 422, None),
        ({"terms": [{"image": ""}]}, 422, None),
        ({"terms": [{"audio": "bm90IGEgcmVjb3JkaW5n"}]}, 422, None),
        ({"query": "red", "filter": {"id": {"eq": 2**63}}}, 200, None),
        ({"query": "red", "filter": {"size": {"gt": 10**18, "lt": 1e308}}}, 200, None),
        ({"query": "\u0000"}, None, None),
        ({"query": "red " * 500}, 200, None),
        ({"query": "red " * 900}, 422, "text"),
        ({"query": "red " * 20_000}, 422, "query"),
        ({"query": "red\0"}, 422, "query"),
    ],
)
async def test_odd_queries_get_an_answer_or_a_reason(
    real: Real, body: dict[str, Any], status: int | None, param: str | None
) -> None:
    client, _ = real
    response = await client.post("/v1/search", json=body)
    assert response.status_code in ({status} if status else {200, 422}), response.text
    if status in {404, 422}:
        assert response.json()["error"]["param"] == param


async def test_the_same_query_twice_in_a_batch(real: Real) -> None:
    _, engine = real
    query = query_from_json({"query": "red"})
    first, second = await asyncio.to_thread(engine.search_many, [query, query])
    assert isinstance(first, SearchResult)
    assert isinstance(second, SearchResult)
    assert first.hits == second.hits


async def test_a_recording_is_a_query(real: Real) -> None:
    client, _ = real
    response = await client.post("/v1/search", files={"audio": ("q.wav", recording())})
    # The fake transcriber may hear words or none in silence; either way it is an answer.
    assert response.status_code in {200, 422}, response.text
