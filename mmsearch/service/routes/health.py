"""For those who run the service: health, readiness, metrics. They need no key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from mmsearch.service.answers import errors, example, json_response
from mmsearch.service.errors import RETRY_SECONDS, RequestError
from mmsearch.service.metrics import CONTENT_TYPE, Metrics
from mmsearch.service.schemas import Schema

if TYPE_CHECKING:
    from mmsearch.library import LibrarySearcher


class Ready(Schema):
    """The service can answer queries."""

    status: str
    notes: list[str] | None = Field(
        None, description="Why some collections cannot be searched, although others can."
    )


def router(
    engine: LibrarySearcher, metrics: Metrics, warm_up_error: Callable[[], str | None]
) -> APIRouter:
    """Health, readiness and metrics of this process."""
    routes = APIRouter(tags=["operation"])

    @routes.get(
        "/healthz",
        summary="Is the process alive?",
        response_model=Ready,
        responses={200: example({"status": "ok"})},
    )
    async def healthz() -> Response:
        return json_response({"status": "ok"})

    @routes.get(
        "/readyz",
        summary="Can it answer queries now?",
        response_model=Ready,
        responses={200: example({"status": "ready"}), 503: errors(503)[503]},
    )
    async def readyz() -> Response:
        if not await asyncio.to_thread(engine.ready):
            why = warm_up_error()
            raise RequestError(
                503, "not_ready", why or "Models and indexes are being loaded.",
                headers={"Retry-After": str(RETRY_SECONDS)},
            )  # fmt: skip
        notes = engine.warm_up_notes()
        return json_response({"status": "ready"} | ({"notes": list(notes)} if notes else {}))

    @routes.get(
        "/metrics",
        summary="Prometheus metrics",
        response_class=Response,
        responses={
            200: {
                "description": "The text format.",
                "content": {"text/plain": {"example": "mmsearch_sources 120.0\n"}},
            },
            503: errors(503)[503],
        },
    )
    async def read_metrics() -> Response:
        body = await asyncio.to_thread(metrics.exposition)
        return Response(body, media_type=CONTENT_TYPE)

    return routes
