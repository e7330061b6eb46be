"""The fields that filters, sort and facets may name."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from mmsearch.search.field_list import SAMPLE, list_fields
from mmsearch.service.answers import errors, example, json_response
from mmsearch.service.schemas import Schema

if TYPE_CHECKING:
    from mmsearch.library import LibrarySearcher

EXAMPLE: dict[str, Any] = {
    "name": "taken_at",
    "type": "date",
    "description": "When a picture or film was taken.",
    "operators": ["eq", "ne", "in", "lt", "lte", "gt", "gte", "exists"],
    "has_values": True,
    "sampled": 120,
}


class FieldDescription(Schema):
    """A field of filters, sort and facets."""

    name: str
    type: Literal["text", "texts", "number", "date", "boolean"]
    description: str
    operators: list[str]
    has_values: bool = Field(description="Whether any source has it.")
    sampled: int = Field(description=f"Values that were counted, at most {SAMPLE} a collection.")


class Fields(Schema):
    """All fields."""

    fields: list[FieldDescription]


def router(engine: LibrarySearcher) -> APIRouter:
    """The fields of the library."""
    routes = APIRouter(tags=["library"])
    store = engine.library.store

    @routes.get(
        "/v1/fields",
        summary="List the fields of filters, sort and facets",
        response_model=Fields,
        responses={200: example({"fields": [EXAMPLE]}), **errors(404, 422, 503)},
    )
    async def read_fields(
        collection: Annotated[str | None, Query(max_length=200)] = None,
    ) -> Response:
        """Of one collection, or of all."""

        def read() -> list[dict[str, Any]]:
            collections = store.collections.list()
            if collection is not None:
                collections = [store.collections.get(collection)]
            return [asdict(field) for field in list_fields(store, collections)]

        return json_response({"fields": await asyncio.to_thread(read)})

    return routes
