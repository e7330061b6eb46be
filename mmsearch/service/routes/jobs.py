"""Uploads, and the jobs that take them in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from mmsearch.protocols import Ingestor
from mmsearch.service.answers import MAX_ID, errors, example, json_response
from mmsearch.service.bodies import content_type_of
from mmsearch.service.error_handlers import RequestError
from mmsearch.service.schemas import JobAnswer
from mmsearch.service.uploads import receive_uploads

if TYPE_CHECKING:
    from mmsearch.search.engine import SearchEngine

EXAMPLE_JOB: dict[str, Any] = {
    "job": {
        "id": 3,
        "kind": "upload",
        "state": "done",
        "started_at": "2026-01-31T12:00:00Z",
        "heartbeat_at": "2026-01-31T12:00:02Z",
        "finished_at": "2026-01-31T12:00:02Z",
        "counts": {"seen": 1, "indexed": 1, "failed": 0},
        "error": None,
        "items": [{"path": "/…/dog.jpg", "outcome": "indexed", "code": None, "reason": None}],
        "links": {"self": "/v1/jobs/3"},
    }
}

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "One or more files.",
                        },
                        "collection": {"type": "string", "default": "default"},
                    },
                },
                "example": {"file": "(a file)", "collection": "default"},
            }
        },
    }
}


def router(engine: SearchEngine, ingestor: Ingestor | None) -> APIRouter:
    """Uploads go to the ingestor; without one they are refused."""
    routes = APIRouter(tags=["jobs"])
    limit = engine.settings.max_upload_mb * 2**20

    def read_job(run_id: int, items: int = 100) -> dict[str, Any]:
        run = engine.store.run(run_id)
        return {
            "job": {
                "id": run.id,
                "kind": run.kind,
                "state": run.state,
                "started_at": run.started_at,
                "heartbeat_at": run.heartbeat_at,
                "finished_at": run.finished_at,
                "counts": dict(run.counts),
                "error": run.error,
                "items": [
                    {
                        "path": item.path,
                        "outcome": item.outcome,
                        "code": item.code,
                        "reason": item.reason,
                    }
                    for item in engine.store.run_items(run_id, items)
                ],
                "links": {"self": f"/v1/jobs/{run.id}"},
            }
        }

    @routes.post(
        "/v1/uploads",
        summary="Add files",
        status_code=202,
        response_model=JobAnswer,
        responses={
            202: example(EXAMPLE_JOB, "Stored; `Location` is the job that takes them in."),
            **errors(400, 409, 413, 415, 422, 503),
        },
        openapi_extra=_BODY,
    )
    async def upload(request: Request) -> Response:
        """The files are on disk when this is answered; they are found when the job is done."""
        if ingestor is None:
            raise RequestError(503, "no_ingestor", "This service takes no uploads.")
        kind = content_type_of(request)
        if kind != "multipart/form-data":
            raise RequestError(
                415, "unsupported_media_type", f"Send multipart/form-data, not {kind or 'nothing'}."
            )
        files, collection = await receive_uploads(request, engine.library, limit)
        run_id = await asyncio.to_thread(ingestor.submit, files, collection)
        answer = await asyncio.to_thread(read_job, run_id)
        return json_response(answer, 202, {"Location": f"/v1/jobs/{run_id}"})

    @routes.get(
        "/v1/jobs/{id}",
        summary="How a job is doing",
        response_model=JobAnswer,
        responses={200: example(EXAMPLE_JOB), **errors(404, 422, 503)},
    )
    async def get_job(
        id: Annotated[int, Path(ge=1, le=MAX_ID, examples=[3])],  # noqa: A002
        items: Annotated[int, Query(ge=0, le=10_000, description="How many files to list.")] = 100,
    ) -> Response:
        """Its state, its counts, and what became of its files."""
        return json_response(await asyncio.to_thread(read_job, id, items))

    return routes
