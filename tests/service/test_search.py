"""POST /v1/search: what it takes, what it gives, and that model work leaves the loop alone."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from typing import Any

import pytest

from mmsearch.query import SearchResult
from mmsearch.search.parse.json_form import query_from_json, result_to_json
from mmsearch.service.bodies import Part
from mmsearch.service.routes.search import query_from_form
from mmsearch.service.routes.search_schemas import SearchResponse
from mmsearch.types import Modality
from tests.support.recordings import recording

from .conftest import Service, StartService, picture

pytestmark = pytest.mark.anyio


async def test_words_find_hits_in_the_documented_shape(service: Service) -> None:
    response = await service.client.post("/v1/search", json={"query": "dog", "limit": 3})
    assert response.status_code == 200
    answer = response.json()
    SearchResponse.model_validate(answer)
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3]
    assert answer["hits"][0]["source"]["path"].endswith("dog.jpg")


async def test_an_answer_is_the_engines_own_plus_links(service: Service) -> None:
    body = {"query": "dog invoice", "modalities": ["speech"]}
    response = await service.client.post("/v1/search", json=body)
    answer = response.json()
    (direct,) = service.engine.search_many([query_from_json(body)])
    assert isinstance(direct, SearchResult)
    links = [hit.pop("links") for hit in answer["hits"]]
    assert answer == json.loads(json.dumps(result_to_json(direct)))
    memo = service.ids["memo"]
    assert links[0]["media"] == f"/v1/sources/{memo}/media#t=0.8"
    assert links[0]["thumbnail"] == f"/v1/sources/{memo}/thumbnail"


async def test_the_limit_is_the_settings_unless_the_query_says(start_service: StartService) -> None:
    async with start_service(limit=2) as service:
        answer = (await service.client.post("/v1/search", json={"query": "dog"})).json()
        assert len(answer["hits"]) == 2


async def test_every_kind_of_term_reaches_the_engine(service: Service) -> None:
    image = picture("red")
    terms = [
        {"text": "boat", "weight": 2},
        {"image": base64.b64encode(image).decode(), "weight": -0.5},
        {"segment": 1},
        {"vector": [0.6, 0.8], "space": "text"},
    ]
    body = {"terms": terms, "filter": {"mime": "image/jpeg"}, "exact": True, "min_score": 0.1}
    assert (await service.client.post("/v1/search", json=body)).status_code == 200
    (query,) = service.engine.batches[0]
    assert [term.kind for term in query.terms] == ["text", "image", "segment", "vector"]
    assert query.terms[1].image == image
    assert query.terms[1].weight == -0.5
    assert query.terms[3].vector == (0.6, 0.8)
    assert query.filter == {"mime": "image/jpeg"}
    assert query.exact
    assert query.min_score == 0.1


async def test_a_form_carries_files_as_they_are(service: Service) -> None:
    image = picture("red", size=(400, 300))
    response = await service.client.post(
        "/v1/search",
        files={"image": ('name with \u202e "quotes".jpg', image, "image/jpeg")},
        data={
            "query": "at sunset",
            "modalities": "image,text",
            "filter": '{"mime": "image/jpeg"}',
            "limit": "3",
            "min_score": "0.25",
            "terms": '[{"text": "people", "weight": -0.3}]',
            "collection": "default",
            "exact": "true",
        },
    )
    assert response.status_code == 200, response.text
    (query,) = service.engine.batches[0]
    assert [(t.kind, t.weight) for t in query.terms] == [
        ("text", 1.0),
        ("text", -0.3),
        ("image", 1.0),
    ]
    assert query.terms[2].image == image
    assert query.modalities == (Modality.IMAGE, Modality.TEXT)
    assert (query.limit, query.min_score, query.exact) == (3, 0.25, True)


async def test_a_form_takes_lists_and_words_where_json_would_be_a_burden(service: Service) -> None:
    response = await service.client.post(
        "/v1/search",
        files={"image": ("a.png", picture("red"), "image/png")},
        data={
            "compact": "boat -people",
            "without": "cars",
            "sort": "-taken_at,path",
            "group": "source",
            "fold": "true",
            "facets": '["mime", {"field": "taken_at", "by": "year"}]',
        },
    )
    assert response.status_code == 200, response.text
    (query,) = service.engine.batches[0]
    assert [(t.text, t.weight) for t in query.terms if t.text] == [
        ("boat", 1.0),
        ("people", -1.0),
        ("cars", -1.0),
    ]
    assert [(key.field, key.descending) for key in query.sort] == [
        ("taken_at", True),
        ("path", False),
    ]
    assert query.group == "source"
    assert query.fold is not None
    assert [(facet.field, facet.by) for facet in query.facets] == [
        ("mime", "value"),
        ("taken_at", "year"),
    ]


async def test_bytes_of_a_form_become_terms_without_a_copy() -> None:
    """Neither base64 nor anything else comes in between."""
    image, audio = picture("red"), recording()
    files = [(Part("image", "a.png", "image/png"), image), (Part("audio", "b.wav", ""), audio)]
    query = query_from_form({"query": "[red] boat", "limit": "3"}, files, 10)
    assert [term.kind for term in query.terms] == ["text", "image", "audio"]
    assert query.terms[0].text == "[red] boat"
    assert query.terms[1].image is image
    assert query.terms[2].audio is audio
    assert query.limit == 3


async def test_a_recording_has_a_lane_of_its_own(service: Service) -> None:
    """A typed query is answered while a recording is still being transcribed."""
    service.engine.hold = threading.Event()
    sent = recording()
    spoken = asyncio.create_task(
        service.client.post("/v1/search", files={"audio": ("memo.wav", sent, "audio/wav")})
    )
    await _until(lambda: len(service.engine.batches) == 1)
    held, service.engine.hold = service.engine.hold, None
    typed = await service.client.post("/v1/search", json={"query": "dog"})
    assert typed.status_code == 200
    assert not spoken.done()
    held.set()
    assert (await spoken).status_code == 200
    assert service.engine.batches[0][0].terms[0].audio == sent


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, None, "empty_query"),
        ({"query": "   "}, None, "empty_query"),
        ({"query": 7}, "query", "invalid_query"),
        ({"query": "dog", "limit": 0}, "limit", "out_of_range"),
        ({"query": "dog", "limit": 10**30}, None, None),
        ({"query": "dog", "modalities": ["smell"]}, "modalities", "invalid_query"),
        ({"query": "dog", "colour": "red"}, "colour", "invalid_query"),
        ({"terms": [{"image": "not base64!"}]}, "terms[0].image", "invalid_query"),
        ({"terms": [{"text": "a", "segment": 1}]}, "terms", "invalid_query"),
        ({"query": "dog", "collection": "none"}, "collection", "not_found"),
    ],
)
async def test_bad_queries_say_which_field(
    service: Service, body: dict[str, Any], param: str | None, code: str | None
) -> None:
    response = await service.client.post("/v1/search", json=body)
    error = response.json()["error"]
    assert response.status_code == (404 if code == "not_found" else 422)
    if code is not None:
        assert (error["param"], error["code"]) == (param, code)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"query": "dog", "limit": "many"}, "limit"),
        ({"query": "dog", "filter": "[1]"}, "filter"),
        ({"query": "dog", "filter": "{"}, "filter"),
        ({"query": "dog", "smell": "sweet"}, "smell"),
    ],
)
async def test_bad_form_fields_say_which(
    service: Service, fields: dict[str, str], param: str
) -> None:
    files = {"image": ("a.jpg", picture("red"), "image/jpeg")}
    response = await service.client.post("/v1/search", data=fields, files=files)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == param


async def test_an_empty_file_is_refused(service: Service) -> None:
    response = await service.client.post("/v1/search", files={"image": ("a.jpg", b"")})
    assert response.status_code == 422
    assert response.json()["error"]["param"] == "image"


async def test_concurrent_queries_share_calls(start_service: StartService) -> None:
    """The first goes alone at once; those that arrive meanwhile go together."""
    async with start_service(query_batch=8) as service:
        service.engine.hold = threading.Event()
        first = asyncio.create_task(service.client.post("/v1/search", json={"query": "dog"}))
        await _until(lambda: len(service.engine.batches) == 1)
        others = [
            asyncio.create_task(service.client.post("/v1/search", json={"query": f"dog {i}"}))
            for i in range(12)
        ]
        await _until(lambda: b"mmsearch_queries_waiting 12.0" in _metrics(service))
        service.engine.hold.set()
        answers = await asyncio.gather(first, *others)
        assert [len(batch) for batch in service.engine.batches] == [1, 8, 4]
        for i, answer in enumerate(answers[1:]):
            assert answer.json()["query"]["terms"][0]["text"] == f"dog {i}"
        assert len(service.engine.threads) == 1


async def test_the_event_loop_stays_free_while_the_model_works(service: Service) -> None:
    """Other requests are answered while a search waits: a blocked loop would answer none."""
    service.engine.hold = threading.Event()
    slow = asyncio.create_task(service.client.post("/v1/search", json={"query": "dog"}))
    await _until(lambda: len(service.engine.batches) == 1)
    for _ in range(3):
        assert (await service.client.get("/healthz")).status_code == 200
    assert not slow.done()
    service.engine.hold.set()
    assert (await slow).status_code == 200


async def test_a_full_queue_says_when_to_come_back(start_service: StartService) -> None:
    async with start_service(query_batch=1) as service:
        service.engine.hold = threading.Event()
        tasks = [asyncio.create_task(service.client.post("/v1/search", json={"query": "dog"}))]
        await _until(lambda: len(service.engine.batches) == 1)
        tasks += [
            asyncio.create_task(service.client.post("/v1/search", json={"query": "dog"}))
            for _ in range(16 + 3)
        ]
        await _until(lambda: sum(task.done() for task in tasks) == 3)
        service.engine.hold.set()
        answers = await asyncio.gather(*tasks)
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(refused) == 3
        assert int(refused[0].headers["Retry-After"]) >= 1
        assert refused[0].json()["error"]["type"] == "rate_limit"
        assert sum(answer.status_code == 200 for answer in answers) == 17


def _metrics(service: Service) -> bytes:
    from prometheus_client import generate_latest

    guard = service.app.user_middleware[0].kwargs["metrics"]
    return generate_latest(guard.registry)  # type: ignore[attr-defined]


async def _until(condition: Any) -> None:
    """Waits for at most 5 s."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")
