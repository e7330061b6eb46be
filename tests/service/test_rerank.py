"""Reranking, explanations and heat maps over HTTP."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from indexer.runs import index_into
from mmsearch.search.engine import SearchEngine
from mmsearch.service.app import create_app
from mmsearch.service.routes.heatmaps import HeatMap
from mmsearch.service.routes.search_schemas import SearchResponse
from mmsearch.testing import FakeReranker
from mmsearch.types import Modality, RerankCandidate
from tests.support.fakes import open_fake, some_files

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

slow = threading.Event()
entered = threading.Event()


def opinion(query: str, candidate: RerankCandidate) -> float:
    if query == "slowly":
        entered.set()
        slow.wait(100)
    return 1.0 if candidate.segment % 2 else 0.0


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    folder = tmp_path_factory.mktemp("reranked")
    reranker = FakeReranker(opinion, modalities=[Modality.IMAGE, Modality.TEXT])
    with open_fake(
        folder / "library", workers=1, rerank_seconds=100, rerankers=lambda *_: (reranker,)
    ) as opened:
        index_into(opened.library, [some_files(folder / "files")])
        yield opened


@pytest.fixture
async def client(engine: SearchEngine) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(engine, None)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=120) as made,
    ):
        yield made


async def test_a_second_look_and_why(client: httpx.AsyncClient) -> None:
    """As JSON and as a form; the answer is as documented."""
    body = {"query": "an old boat", "rerank": "vlm", "reasons": True, "explain": True}
    form = {name: str(value).lower() for name, value in body.items()}
    for response in (
        await client.post("/v1/search", json=body),
        await client.post("/v1/search", data=form, files={}),
    ):
        if response.status_code == 415:  # a form without files is not multipart
            continue
        assert response.status_code == 200, response.text
        answer = response.json()
        SearchResponse.model_validate(answer)
        assert answer["stages"]["rerank"] > 0
        first = answer["hits"][0]
        assert first["reason"] == "because I say so"
        assert first["explanation"]["judge"] == "fake-reranker"
        assert first["explanation"]["rerank"] == 1.0
        assert first["segment"]["id"] % 2 == 1
    wrong = await client.post("/v1/search", json={"query": "boat", "rerank": "magic"})
    assert wrong.status_code == 422
    assert wrong.json()["error"]["param"] == "rerank"


async def test_a_second_look_holds_nobody_up(client: httpx.AsyncClient) -> None:
    """It has a lane of its own."""
    entered.clear()
    slow.clear()
    waiting = asyncio.create_task(
        client.post("/v1/search", json={"query": "slowly", "rerank": "vlm"})
    )
    assert await asyncio.to_thread(entered.wait, 60)
    try:
        quick = await client.post("/v1/search", json={"query": "an old boat"})
        assert quick.status_code == 200
        assert not waiting.done()
    finally:
        slow.set()
    assert (await waiting).status_code == 200


async def test_heat_maps(client: httpx.AsyncClient, engine: SearchEngine) -> None:
    red = next(
        h for h in engine.search("red", modality="image").hits if Path(h.source.path).stem == "red"
    )
    path = f"/v1/segments/{red.segment.id}/heatmap"
    png = await client.get(path, params={"text": "something red"})
    assert png.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(png.content)) as shown:
        assert shown.mode == "RGBA"
    numbers = await client.get(path, params={"text": "something red", "format": "json"})
    heat = HeatMap.model_validate(numbers.json())
    assert (heat.width, heat.height) == (8, 8)
    assert len(heat.values) == 8
    assert max(map(max, heat.values)) == 1.0
    for wrong, status in (
        (f"{path}?text=%20", 422),
        (path, 422),
        (f"{path}?text=red&format=gif", 422),
        ("/v1/segments/99999/heatmap?text=red", 404),
        ("/v1/segments/0/heatmap?text=red", 422),
    ):
        response = await client.get(wrong)
        assert response.status_code == status, wrong
        assert response.json()["error"]["message"]
