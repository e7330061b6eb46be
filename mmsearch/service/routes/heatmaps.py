"""GET /v1/segments/{id}/heatmap: where in a picture the words match."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from mmsearch.search.results.explain import overlay
from mmsearch.service.answers import MAX_ID, errors, json_response
from mmsearch.service.schemas import Schema

if TYPE_CHECKING:
    from mmsearch.library import LibrarySearcher

Id = Annotated[int, Path(ge=1, le=MAX_ID, description="The segment's id.", examples=[12])]


class HeatMap(Schema):
    """Where in a picture words match."""

    width: int
    height: int
    values: list[list[float]] = Field(description="Rows from the top, each 0..1.")


def router(engine: LibrarySearcher) -> APIRouter:
    """Heat maps are made when they are asked for, one at a time."""
    routes = APIRouter(tags=["search"])
    one_at_a_time = asyncio.Lock()

    @routes.get(
        "/v1/segments/{id}/heatmap",
        summary="Where in a picture the words match",
        response_class=Response,
        responses={
            200: {
                "model": HeatMap,
                "description": "A PNG to lay over the picture, or the numbers.",
                "content": {
                    "image/png": {},
                    "application/json": {
                        "example": {"width": 2, "height": 2, "values": [[0, 0.2], [0, 1]]}
                    },
                },
            },
            **errors(404, 422, 503),
        },
    )
    async def get_heat_map(
        id: Id,  # noqa: A002  # the parameter's name in the API
        text: Annotated[str, Query(max_length=2000, examples=["a red boat"])],
        format: Annotated[Literal["png", "json"], Query()] = "png",  # noqa: A002
    ) -> Response:
        """Of an image, a video's frame or a page; stretched over the whole of it."""
        async with one_at_a_time:
            heat = await asyncio.to_thread(engine.heat_map, id, text)
        if format == "json":
            rows = [[round(value, 4) for value in row] for row in heat.tolist()]
            return json_response({"width": heat.shape[1], "height": heat.shape[0], "values": rows})
        segment = await asyncio.to_thread(engine.library.store.segments.get, id)
        source = await asyncio.to_thread(engine.library.store.sources.get, segment.source_id)
        content = await asyncio.to_thread(overlay, heat, source.metadata)
        headers = {"Cache-Control": "private, max-age=3600"}
        return Response(content, headers=headers, media_type="image/png")

    return routes
