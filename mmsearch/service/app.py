"""The HTTP service: an engine in, an ASGI application out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from mmsearch.errors import MMSearchError
from mmsearch.protocols import Ingestor
from mmsearch.search.parse.request import SearchRequest
from mmsearch.service import errors as error_handlers
from mmsearch.service.auth import Guard, check_bind
from mmsearch.service.context import RequestContext
from mmsearch.service.lanes import QueryBatcher
from mmsearch.service.metrics import Metrics
from mmsearch.service.routes import health, heatmaps, jobs, page, resumable, search, sources
from mmsearch.service.routes.job_schemas import JobRequest
from mmsearch.service.routes.search_schemas import SearchForm

if TYPE_CHECKING:
    from mmsearch.library import LibrarySearcher

log = logging.getLogger("mmsearch.service")

WAITING_BATCHES = 16
"""How many full batches of queries may wait before new ones are refused with 429."""

WAITING_RECORDINGS = 8

DOCUMENTED = (SearchRequest, SearchForm, JobRequest)
"""Bodies that routes read by themselves, so that FastAPI does not know them."""

__all__ = ["check_bind", "create_app"]


def create_app(engine: LibrarySearcher, ingestor: Ingestor | None = None) -> FastAPI:
    """The service over an open engine, which the caller closes.

    Without an ingestor, uploads are refused with 503. Models and indexes are loaded in the
    background from startup on; until then /readyz says 503, and queries wait.
    """
    settings = engine.settings
    # Not `Library.status`: that hands out the warnings of the indexes, and a scrape reads none.
    metrics = Metrics(
        lambda: engine.library.store.status.counts() | {"index": engine.library.indexes.stats()}
    )
    words = QueryBatcher(
        engine.search_many,
        max_batch=settings.query_batch,
        max_waiting=WAITING_BATCHES * settings.query_batch,
        observe=metrics.observe_batch,
    )
    # One at a time: transcribing takes seconds, and batching does not make it faster.
    recordings = QueryBatcher(
        engine.search_many, max_batch=1, max_waiting=WAITING_RECORDINGS, name="recordings"
    )
    reranked = QueryBatcher(
        engine.search_many, max_batch=1, max_waiting=WAITING_RECORDINGS, name="reranked"
    )
    metrics.waiting.set_function(lambda: words.waiting + recordings.waiting + reranked.waiting)
    warm_up_error: str | None = None

    async def warm_up() -> None:
        nonlocal warm_up_error
        try:
            await asyncio.to_thread(engine.warm_up)
        except MMSearchError as error:
            warm_up_error = error.message
            # Its message is written for people; a traceback would only hide it.
            log.error(  # noqa: TRY400
                "the models could not be loaded: %s", error.message
            )
        except Exception:
            warm_up_error = "The models could not be loaded; the log says why."
            log.exception("the models could not be loaded")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start_following()
        warming = asyncio.create_task(warm_up())
        try:
            yield
        finally:
            await words.close()
            await recordings.close()
            await reranked.close()
            await warming

    app = FastAPI(
        title="mmsearch",
        summary="Multi-modal search: photos, recordings, documents, and the right place in them.",
        version=_version(),
        lifespan=lifespan,
        # Their pages load scripts from other hosts; /openapi.json can be opened with any viewer.
        docs_url=None,
        redoc_url=None,
    )
    error_handlers.install(app)
    for router in (
        search.router(settings, words, recordings, reranked),
        heatmaps.router(engine),
        sources.router(engine),
        jobs.router(engine, ingestor),
        resumable.router(engine, ingestor),
        health.router(engine, metrics, lambda: warm_up_error),
        page.router(settings),
    ):
        app.include_router(router)
    # The one added last is the outermost.
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(RequestContext, metrics=metrics)
    app.openapi = lambda: _openapi(app, keys=bool(settings.api_keys))  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI, *, keys: bool) -> dict[str, Any]:
    """FastAPI's schema, with the bodies that routes read by themselves and the kind of keys."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, summary=app.summary, routes=app.routes
        )
        components = schema.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        for model in DOCUMENTED:
            described = model.model_json_schema(ref_template="#/components/schemas/{model}")
            for name, inner in described.pop("$defs", {}).items():
                schemas.setdefault(name, inner)
            schemas[model.__name__] = described
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        if keys:
            for path, methods in schema["paths"].items():
                if path.startswith("/v1/"):
                    for operation in methods.values():
                        operation["security"] = [{"key": []}]
        app.openapi_schema = schema
    return app.openapi_schema


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mmsearch")
    except PackageNotFoundError:
        return "0"
