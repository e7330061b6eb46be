"""Uploads, and the jobs that take them in: listed, followed, cancelled, paused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query, Request
from pydantic import ValidationError
from starlette.responses import Response, StreamingResponse

from mmsearch.protocols import Ingestor
from mmsearch.search.parse.values import check_characters
from mmsearch.service.answers import MAX_ID, errors, example, json_response
from mmsearch.service.bodies import content_type_of, read_body
from mmsearch.service.errors import RequestError
from mmsearch.service.routes.job_schemas import JobAnswer, JobList, JobRequest
from mmsearch.service.targets import target_collection
from mmsearch.service.uploads import received_uploads
from mmsearch.stores.runs import Run, run_to_json

if TYPE_CHECKING:
    from mmsearch.library import LibrarySearcher

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
        "progress": {"done": 1, "total": 1, "rate": 4.1},
        "priority": 1,
        "attempts": 1,
        "max_attempts": 5,
        "retry_at": None,
        "worker": "host/4711",
        "wanted": None,
        "links": {"self": "/v1/jobs/3", "events": "/v1/jobs/3/events"},
        "items": [{"path": "/…/dog.jpg", "outcome": "indexed", "code": None, "reason": None}],
    }
}
EXAMPLE_LIST: dict[str, Any] = {
    "jobs": [{k: v for k, v in EXAMPLE_JOB["job"].items() if k != "items"}],
    "next": None,
}

EVENT_SECONDS = 0.25
"""Between two looks at a job that somebody follows."""
SILENCE_SECONDS = 15.0
"""After which a comment is sent, so that proxies do not take the stream for dead."""
MAX_BODY = 2**20

JobId = Annotated[int, Path(ge=1, le=MAX_ID, examples=[3])]

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
                        "create": {
                            "type": "boolean",
                            "default": False,
                            "description": "Make the collection if it does not exist.",
                        },
                    },
                },
                "example": {"file": "(a file)", "collection": "default"},
            }
        },
    }
}


def router(engine: LibrarySearcher, ingestor: Ingestor | None) -> APIRouter:
    """Uploads go to the ingestor; without one they are refused."""
    routes = APIRouter(tags=["jobs"])
    limit = engine.settings.max_upload_mb * 2**20
    store = engine.library.store

    def brief(run: Run) -> dict[str, Any]:
        url = f"/v1/jobs/{run.id}"
        return run_to_json(run) | {"links": {"self": url, "events": f"{url}/events"}}

    def read_job(run_id: int, items: int = 100) -> dict[str, Any]:
        listed = [asdict(item) for item in engine.library.store.runs.items(run_id, items)]
        return {"job": brief(engine.library.store.runs.get(run_id)) | {"items": listed}}

    @routes.post(
        "/v1/uploads",
        summary="Add files",
        status_code=202,
        response_model=JobAnswer,
        responses={
            202: example(EXAMPLE_JOB, "Stored; `Location` is the job that takes them in."),
            **errors(400, 404, 409, 413, 415, 422, 503),
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
        async with received_uploads(request, engine.library.path, limit) as form:
            collection = await asyncio.to_thread(
                target_collection, store, form.collection, create=form.create
            )
            run_id = await asyncio.to_thread(ingestor.submit, form.files, collection)
        answer = await asyncio.to_thread(read_job, run_id)
        return json_response(answer, 202, {"Location": f"/v1/jobs/{run_id}"})

    @routes.post(
        "/v1/jobs",
        summary="Fetch files by their addresses",
        status_code=202,
        response_model=JobAnswer,
        responses={
            202: example(EXAMPLE_JOB, "Queued; `Location` is the job."),
            **errors(400, 404, 413, 415, 422, 503),
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/JobRequest"},
                        "example": {"urls": ["https://example.org/dog.jpg"]},
                    }
                },
            }
        },
    )
    async def fetch(request: Request) -> Response:
        """Only public http(s) addresses, unless the setting `fetch_private_addresses` is on."""
        if ingestor is None:
            raise RequestError(503, "no_ingestor", "This service takes no uploads.")
        request_body = _job_request(await _json_body(request))
        collection = await asyncio.to_thread(
            target_collection, store, request_body.collection, create=request_body.create
        )
        run_id = await asyncio.to_thread(ingestor.submit_urls, request_body.urls, collection)
        answer = await asyncio.to_thread(read_job, run_id)
        return json_response(answer, 202, {"Location": f"/v1/jobs/{run_id}"})

    @routes.get(
        "/v1/jobs",
        summary="List the jobs",
        response_model=JobList,
        responses={200: example(EXAMPLE_LIST), **errors(422, 503)},
    )
    async def list_jobs(
        state: Annotated[
            list[str] | None, Query(max_length=10, description="Only these states.")
        ] = None,
        before: Annotated[
            int | None, Query(ge=1, le=MAX_ID, description="`next` of the page before.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> Response:
        """The newest first; runs of `mmsearch index` are among them."""
        runs = await asyncio.to_thread(
            engine.library.store.jobs.list, states=state or (), before=before, limit=limit + 1
        )
        page = runs[:limit]
        following = page[-1].id if len(runs) > limit else None
        return json_response({"jobs": [brief(run) for run in page], "next": following})

    @routes.get(
        "/v1/jobs/{id}",
        summary="How a job is doing",
        response_model=JobAnswer,
        responses={200: example(EXAMPLE_JOB), **errors(404, 422, 503)},
    )
    async def get_job(
        id: JobId,  # noqa: A002
        items: Annotated[int, Query(ge=0, le=10_000, description="How many files to list.")] = 100,
    ) -> Response:
        """Its state, its counts, and what became of its files."""
        return json_response(await asyncio.to_thread(read_job, id, items))

    @routes.get(
        "/v1/jobs/{id}/events",
        summary="Follow a job",
        response_class=Response,
        responses={
            200: {
                "description": "Server-sent events: `job` with each change, `end` with the last.",
                "content": {"text/event-stream": {"example": "event: job\ndata: {…}\n\n"}},
            },
            **errors(404, 422, 503),
        },
    )
    async def follow_job(id: JobId) -> Response:  # noqa: A002
        """As `GET /v1/jobs/{id}` without its files, again and again, until it is over."""
        await asyncio.to_thread(engine.library.store.runs.get, id)

        async def events() -> AsyncIterator[bytes]:
            sent, silent = b"", 0.0
            while True:
                run = await asyncio.to_thread(engine.library.store.runs.get, id)
                data = orjson.dumps({"job": brief(run)}, option=orjson.OPT_UTC_Z)
                over = run.finished_at is not None
                if data != sent or over:
                    sent, silent = data, 0.0
                    yield b"event: %b\ndata: %b\n\n" % (b"end" if over else b"job", data)
                elif silent >= SILENCE_SECONDS:
                    silent = 0.0
                    yield b": still here\n\n"
                if over:
                    return
                await asyncio.sleep(EVENT_SECONDS)
                silent += EVENT_SECONDS

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(events(), media_type="text/event-stream", headers=headers)

    def add_action(verb: str, summary: str, what: str) -> None:
        @routes.post(
            f"/v1/jobs/{{id}}/{verb}",
            summary=summary,
            description=what,
            response_model=JobAnswer,
            responses={200: example(EXAMPLE_JOB), **errors(404, 409, 422, 503)},
            operation_id=f"{verb}_job",
        )
        async def ask(id: JobId) -> Response:  # noqa: A002
            def change() -> dict[str, Any]:
                if verb == "resume":
                    engine.library.store.jobs.resume(id)
                else:
                    engine.library.store.jobs.request(id, verb)
                return read_job(id)

            return json_response(await asyncio.to_thread(change))

    add_action("cancel", "Cancel a job", "Files that were indexed stay. A running job ends soon.")
    add_action("pause", "Pause a job", "Until it is resumed. A running job stops soon.")
    add_action("resume", "Resume a job", "Queues a paused, failed or cancelled job again.")
    return routes


async def _json_body(request: Request) -> bytes:
    kind = content_type_of(request)
    if kind != "application/json":
        raise RequestError(
            415, "unsupported_media_type", f"Send application/json, not {kind or 'nothing'}."
        )
    return await read_body(request, MAX_BODY)


def _job_request(body: bytes) -> JobRequest:
    """Raises RequestError 400, 422."""
    try:
        request_body = JobRequest.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError:
        raise RequestError(400, "malformed_json", "The body is not JSON.") from None
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"]) or None
        raise RequestError(
            422, "invalid_parameter", f"{param or 'body'}: {first['msg']}", param=param
        ) from None
    check_characters(request_body.urls, "urls")
    for url in request_body.urls:
        if not url.lower().startswith(("http://", "https://")):
            raise RequestError(
                422, "invalid_parameter", f"{url[:100]!r} is not an http(s) address.", param="urls"
            )
    return request_body
