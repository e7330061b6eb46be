"""POST /v1/search: JSON, or a form with a picture or a recording as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from mmsearch.errors import QueryError
from mmsearch.models.rerankers.choice import NONE
from mmsearch.query import Query, SearchResult, Term
from mmsearch.search.parse.json_form import result_to_json
from mmsearch.search.parse.request import SearchRequest
from mmsearch.service.answers import errors, example, json_response, source_links
from mmsearch.service.bodies import Part, content_type_of, read_body, read_form
from mmsearch.service.context import until_disconnect
from mmsearch.service.errors import RequestError
from mmsearch.service.lanes import QueryBatcher
from mmsearch.service.routes.search_schemas import SearchResponse, form_style
from mmsearch.settings import Settings

MAX_QUERY_BYTES = 64 * 2**20
SMALL_BODY = 64 * 1024
"""Up to this many bytes a query is read on the event loop; a picture, in a thread."""

EXAMPLE_QUERIES = {
    "words": {
        "summary": "Words",
        "value": {"query": "a dog running on the beach", "limit": 5},
    },
    "filtered": {
        "summary": "Only pictures of one summer",
        "value": {
            "query": "children playing",
            "modalities": ["image"],
            "filter": {"taken_at": {"gte": "2024-06-01", "lt": "2024-09-01"}},
        },
    },
    "mixed": {
        "summary": "Like a segment, with words added and others taken away",
        "value": {
            "terms": [
                {"segment": 12},
                {"text": "in the snow", "weight": 0.5},
                {"text": "people", "weight": -0.5},
            ]
        },
    },
    "files": {
        "summary": "Typed filters; files with their best places, the newest first, without copies",
        "value": {
            "query": "harbour OR port -people type:image",
            "group": {"by": "source", "best": 3},
            "sort": [{"taken_at": "desc"}],
            "fold": True,
            "facets": ["mime", {"field": "taken_at", "by": "year"}],
        },
    },
}

EXAMPLE_ANSWER = {
    "query": {
        "terms": [{"text": "a dog running on the beach", "weight": 1.0}],
        "modalities": [],
        "filter": None,
        "limit": 5,
        "min_score": 0.05,
        "weights": None,
        "collection": None,
        "exact": False,
        "sort": [],
        "group": {"by": "moment", "best": 3},
        "fold": None,
        "diversity": 0.0,
        "facets": [],
    },
    "took_ms": 9.4,
    "hits": [
        {
            "rank": 1,
            "score": 0.83,
            "scores": {"clip:image": 0.31, "clip:image:rank": 1},
            "source": {
                "id": 7,
                "path": "/home/ada/photos/dog.jpg",
                "uri": "file:///home/ada/photos/dog.jpg",
                "mime": "image/jpeg",
                "metadata": {"width": 640, "height": 480},
            },
            "segment": {
                "id": 12,
                "modality": "image",
                "start": None,
                "end": None,
                "page": None,
                "text": None,
                "char_start": None,
                "char_end": None,
                "box": None,
            },
            "links": source_links(7),
        }
    ],
    "warnings": [],
    "cursor": None,
}

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/SearchRequest"},
                "examples": EXAMPLE_QUERIES,
            },
            "multipart/form-data": {"schema": {"$ref": "#/components/schemas/SearchForm"}},
        },
    }
}


def router(
    settings: Settings, words: QueryBatcher, recordings: QueryBatcher, reranked: QueryBatcher
) -> APIRouter:
    """Queries with a recording, and those that are reranked, take seconds.

    They have their own lanes, so that no typed query waits for them.
    """
    routes = APIRouter(tags=["search"])
    limit = min(MAX_QUERY_BYTES, settings.max_upload_mb * 2**20)

    @routes.post(
        "/v1/search",
        summary="Search",
        response_model=SearchResponse,
        responses={
            200: example(EXAMPLE_ANSWER, "Hits, best first."),
            **errors(400, 404, 413, 415, 422, 429, 503),
        },
        openapi_extra=_BODY,
    )
    async def search(request: Request) -> Response:
        """Words, pictures, recordings, segments and vectors, weighted and mixed."""
        query = await _read_query(request, limit, settings.limit)
        lane = words
        if any(t.audio is not None for t in query.terms):
            lane = recordings
        elif (query.rerank or settings.rerank) != NONE:
            lane = reranked
        result = await _while_connected(request, lane, query)
        answer = result_to_json(result)
        for hit in answer["hits"]:
            _link(hit, hit["source"])
            for part in (*hit.get("evidence", ()), *hit.get("segments", ())):
                _link(part, hit["source"])
            for part in hit.get("duplicates", ()):
                _link(part, part["source"])
        return json_response(answer)

    return routes


def _link(part: dict[str, Any], source: dict[str, Any]) -> None:
    place = part["segment"]
    part["links"] = source_links(source["id"], source["mime"], place["start"], place["page"])


async def _while_connected(request: Request, lane: QueryBatcher, query: Query) -> SearchResult:
    """The result; if the client disconnects, its waiting query is cancelled."""
    searching = asyncio.ensure_future(lane.search(query))
    gone = asyncio.ensure_future(until_disconnect(request.receive))
    try:
        await asyncio.wait((searching, gone), return_when=asyncio.FIRST_COMPLETED)
        if not searching.done():
            raise ClientDisconnect
        return searching.result()
    finally:
        gone.cancel()
        searching.cancel()


async def _read_query(request: Request, limit: int, default_limit: int) -> Query:
    kind = content_type_of(request)
    read: Callable[[], Query]
    if kind == "application/json":
        body = await read_body(request, limit)
        size = len(body)

        def read() -> Query:
            request = SearchRequest.parse(parse_json_object(body))
            return request.to_query(default_limit=default_limit)

    elif kind == "multipart/form-data":
        fields, files = await read_form(request, limit)
        size = sum(len(content) for _, content in files)

        def read() -> Query:
            return query_from_form(fields, files, default_limit)

    else:
        raise RequestError(
            415, "unsupported_media_type",
            "Send application/json or multipart/form-data, "
            + (f"not {kind}." if kind else "and say so in Content-Type."),
        )  # fmt: skip
    return read() if size <= SMALL_BODY else await asyncio.to_thread(read)


def parse_json_object(body: bytes) -> dict[str, Any]:
    """Raises RequestError 400."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, "malformed_json", f"This is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise RequestError(400, "malformed_json", "The body must be a JSON object.")
    return value


def query_from_form(
    fields: dict[str, str], files: list[tuple[Part, bytes]], default_limit: int
) -> Query:
    """A query that came as a form. The bytes of its files become terms as they are."""
    body: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in SearchRequest.model_fields:
            known = ", ".join((*SearchRequest.model_fields, "image", "audio"))
            raise QueryError(f"Unknown field '{name}' in the form. Fields: {known}.", param=name)
        if value.strip():
            body[name] = _field_value(name, value)
    terms: list[Term] = []
    for part, content in files:
        if not content:
            raise QueryError(f"The {part.name} file is empty.", param=part.name)
        if part.name == "image":
            terms.append(Term(image=content))
        elif part.name == "audio":
            terms.append(Term(audio=content))
        else:
            raise QueryError(f"A file is named image or audio, not '{part.name}'.", param=part.name)
    return SearchRequest.parse(body).to_query(terms, default_limit=default_limit)


def _field_value(name: str, value: str) -> Any:
    style = form_style(name)
    if style == "text":
        return value
    if style != "json" and value.lstrip()[0] not in "[{":
        if style == "words":
            return value.strip()
        return [part.strip() for part in value.split(",") if part.strip()]
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        raise QueryError(f"{name} is not JSON: {value[:80]!r}", param=name) from None
