"""The library's contents: collections, sources, segments, their media and thumbnails."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query
from sqlalchemy import ColumnElement
from starlette.responses import Response

from mmsearch.errors import FilterError, NotFoundError
from mmsearch.search.parse.filters import compile_filter
from mmsearch.search.parse.json_form import segment_to_json
from mmsearch.service.answers import (
    MAX_ID,
    errors,
    example,
    json_response,
    source_links,
    source_to_json,
)
from mmsearch.service.files import file_response, media_headers
from mmsearch.service.routes.source_schemas import (
    Collections,
    LibraryStatus,
    SegmentWithSource,
    SourcePage,
    SourceWithSegments,
)
from mmsearch.service.uploads import delete_upload
from mmsearch.stores.places import content_of
from mmsearch.stores.store import SqlStore
from mmsearch.types import Place, Source

if TYPE_CHECKING:
    from mmsearch.library import LibrarySearcher

Id = Annotated[int, Path(ge=1, le=MAX_ID, description="Its id.", examples=[7])]

EXAMPLE_SOURCE: dict[str, Any] = {
    "id": 7,
    "path": "/home/ada/memos/monday.m4a",
    "uri": "file:///home/ada/memos/monday.m4a",
    "mime": "audio/mp4",
    "metadata": {"duration": 71.2},
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "size": 812345,
    "status": "indexed",
    "failure": None,
    "indexed_at": "2026-01-31T12:00:00Z",
    "links": source_links(7),
}
EXAMPLE_STATUS: dict[str, Any] = {
    "sources": 120,
    "failed": 1,
    "segments": 480,
    "vectors": {"clip": 480, "text": 360},
    "index": {"clip": {"type": "Flat", "size": 480, "generation": 3}},
    "collections": {"default": "base"},
    "switching": {
        "default": {
            "profile": "best",
            "models": {},
            "spaces": {"clip": {"vectors": 130, "of": 480}, "text": {"vectors": 0, "of": 360}},
        }
    },
    "warnings": [],
}
EXAMPLE_SEGMENT: dict[str, Any] = {
    "id": 12,
    "modality": "speech",
    "start": 3.2,
    "end": 7.9,
    "page": None,
    "text": "The invoice goes out on Friday.",
    "char_start": None,
    "char_end": None,
    "box": None,
}


def router(engine: LibrarySearcher) -> APIRouter:
    """Everything that reads or deletes what the engine's store holds."""
    routes = APIRouter(tags=["library"])
    store = engine.library.store

    @routes.get(
        "/v1/status",
        summary="How much there is",
        response_model=LibraryStatus,
        responses={200: example(EXAMPLE_STATUS), **errors(503)},
    )
    async def read_status() -> Response:
        """Counts, and the state of the vector indexes."""
        return json_response(await asyncio.to_thread(engine.library.status))

    @routes.get(
        "/v1/collections",
        summary="List the collections",
        response_model=Collections,
        responses={
            200: example({"collections": [{"id": 1, "name": "default", "profile": "base"}]}),
            **errors(503),
        },
    )
    async def list_collections() -> Response:
        collections = await asyncio.to_thread(store.collections.list)
        return json_response(
            {
                "collections": [
                    {"id": c.id, "name": c.name, "profile": c.profile} for c in collections
                ]
            }
        )

    @routes.get(
        "/v1/sources",
        summary="List the sources",
        response_model=SourcePage,
        responses={
            200: example({"sources": [EXAMPLE_SOURCE], "next": 7}),
            **errors(404, 422, 503),
        },
    )
    async def list_sources(
        collection: Annotated[str | None, Query(max_length=200)] = None,
        after: Annotated[
            int, Query(ge=0, le=MAX_ID, description="`next` of the page before.")
        ] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
        filter: Annotated[  # noqa: A002  # the parameter's name in the API
            str | None,
            Query(max_length=20_000, description="A filter as JSON.",
                  examples=['{"mime": {"like": "image/%"}}']),
        ] = None,
    ) -> Response:  # fmt: skip
        """In the order of their ids, a page at a time."""
        wanted = _parse_filter(filter)

        def read() -> list[Source]:
            where = None if wanted is None else _where(store, collection, wanted)
            # One more than asked for tells whether there is a next page.
            return store.sources.list(collection, after_id=after, limit=limit + 1, where=where)

        sources = await asyncio.to_thread(read)
        page = sources[:limit]
        return json_response(
            {
                "sources": [source_to_json(source) for source in page],
                "next": page[-1].id if len(sources) > limit else None,
            }
        )

    @routes.get(
        "/v1/sources/{id}",
        summary="A source and its segments",
        response_model=SourceWithSegments,
        responses={
            200: example({"source": EXAMPLE_SOURCE, "segments": [EXAMPLE_SEGMENT]}),
            **errors(404, 422, 503),
        },
    )
    async def get_source(id: Id) -> Response:  # noqa: A002  # the parameter's name in the API
        def read() -> dict[str, Any]:
            return {
                "source": source_to_json(store.sources.get(id)),
                "segments": [segment_to_json(s) for s in store.segments.of_source(id)],
            }

        return json_response(await asyncio.to_thread(read))

    @routes.delete(
        "/v1/sources/{id}",
        summary="Delete a source",
        status_code=204,
        response_class=Response,
        responses={204: {"description": "It is gone from the library."}, **errors(404, 422, 503)},
    )
    async def delete_source(id: Id) -> Response:  # noqa: A002
        """It is no longer searched. An uploaded file is deleted; a file elsewhere is not."""

        def delete() -> None:
            source = store.sources.get(id)
            engine.library.delete_source(id)
            delete_upload(engine, source)

        await asyncio.to_thread(delete)
        return Response(status_code=204)

    @routes.get(
        "/v1/segments/{id}",
        summary="A segment and its source",
        response_model=SegmentWithSource,
        responses={
            200: example({"segment": EXAMPLE_SEGMENT, "source": EXAMPLE_SOURCE}),
            **errors(404, 422, 503),
        },
    )
    async def get_segment(id: Id) -> Response:  # noqa: A002
        def read() -> dict[str, Any]:
            segment = store.segments.get(id)
            source = store.sources.get(segment.source_id)
            return {"segment": segment_to_json(segment), "source": source_to_json(source)}

        return json_response(await asyncio.to_thread(read))

    @routes.api_route(
        "/v1/sources/{id}/media",
        methods=["GET"],
        summary="A source's content",
        response_class=Response,
        responses={
            200: {"description": "The file.", "content": {"*/*": {"example": "(bytes)"}}},
            206: {"description": "The part of it that `Range` asked for."},
            304: {"description": "Not changed since `If-None-Match`."},
            **errors(404, 416, 422, 503),
        },
    )
    @routes.head("/v1/sources/{id}/media", include_in_schema=False)
    async def get_media(id: Id) -> Response:  # noqa: A002
        """With byte ranges, so that players can seek. Markup and scripts come as plain text."""
        source = await asyncio.to_thread(store.sources.get, id)
        charset = source.metadata.get("encoding")
        headers = media_headers(
            source.mime, FilePath(source.path).name, charset if isinstance(charset, str) else None
        )
        content = await asyncio.to_thread(content_of, source)
        if content is None:
            raise NotFoundError(f"the content of source {id} is not stored here: {source.path}")
        try:
            return await file_response(
                FilePath(content.path), headers, offset=content.offset, size=content.size
            )
        except OSError as error:
            raise NotFoundError(
                f"the file of source {id} is not there any more ({error.strerror or 'no file'})"
            ) from None

    @routes.api_route(
        "/v1/sources/{id}/thumbnail",
        methods=["GET"],
        summary="A source's thumbnail",
        response_class=Response,
        responses={
            200: {"description": "A JPEG picture.", "content": {"image/jpeg": {}}},
            304: {"description": "Not changed since `If-None-Match`."},
            **errors(404, 416, 422, 503),
        },
    )
    @routes.head("/v1/sources/{id}/thumbnail", include_in_schema=False)
    async def get_thumbnail(
        id: Id,  # noqa: A002
        page: Annotated[int | None, Query(ge=1, le=MAX_ID, description="Of a document.")] = None,
        start: Annotated[
            float | None, Query(ge=0, le=1e9, description="Seconds; the shot of a film.")
        ] = None,
    ) -> Response:
        """Of the whole, or of a page or shot that has its own."""
        source = await asyncio.to_thread(store.sources.get, id)
        places = [Place(page=page)] if page is not None else []
        if start is not None:
            shot = await asyncio.to_thread(store.segments.shot_start, id, start)
            places += [] if shot is None else [Place(start=shot)]
        headers = {"Content-Type": "image/jpeg", "Cache-Control": "private, max-age=3600"}
        for place in (*places, None):
            with suppress(OSError):
                return await file_response(engine.thumbnail_path(source, place), headers)
        raise NotFoundError(f"source {id} has no thumbnail")

    return routes


def _where(store: SqlStore, collection: str | None, wanted: dict[str, Any]) -> ColumnElement[bool]:
    """The filter as SQL, over the metadata keys of the collection or of all."""
    among = store.collections.list() if collection is None else [store.collections.get(collection)]
    keys = {key for one in among for key in store.sources.metadata_keys(one.id)}
    return compile_filter(wanted, sorted(keys), store.dialect)


def _parse_filter(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise FilterError(f"the filter is not JSON: {text[:80]!r}") from None
    if not isinstance(value, dict):
        raise FilterError("the filter must be a JSON object")
    return value
