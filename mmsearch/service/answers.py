"""Values to JSON answers: orjson, without a model in between."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from mmsearch.service.schemas import ErrorResponse
from mmsearch.types import Source

JSON = "application/json"
MAX_ID = 2**63 - 1
"""SQL's largest integer: beyond it no row can be."""

ERROR_TEXTS = {
    400: "The request cannot be read.",
    401: "A key is needed, or the key is not valid.",
    403: "Refused: another site's page, or a host name that this service does not answer to.",
    404: "There is no such thing.",
    409: "Not possible in the library's present state.",
    413: "The body is too large.",
    415: "This content type is not accepted here.",
    416: "The file has no such bytes.",
    422: "The request is well-formed, but a value in it is not possible.",
    429: "Too many queries are waiting; `Retry-After` is the number of seconds to wait.",
    503: "Not now: models are loading or missing, or the database is busy.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of a route's errors; every route can answer 401 and 403."""
    return {
        status: {"model": ErrorResponse, "description": ERROR_TEXTS[status]}
        for status in sorted({401, 403, *statuses})
    }


def example(value: Any, description: str = "Successful answer.") -> dict[str, Any]:
    """OpenAPI's description of an answer with an example of it."""
    return {"description": description, "content": {JSON: {"example": value}}}


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Datetimes are written as RFC 3339 in UTC."""
    body = orjson.dumps(value, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
    return Response(body, status, headers, JSON)


def source_links(
    source_id: int, mime: str = "", start: float | None = None, page: int | None = None
) -> dict[str, str]:
    """`start` and `page` become fragments, at which players and viewers begin; pages and shots
    have their own thumbnails."""
    fragment = shown = ""
    if start is not None:
        fragment = f"#t={start:g}"
        shown = f"?start={start:g}" if mime.startswith("video/") else ""
    elif page is not None and mime == "application/pdf":
        fragment, shown = f"#page={page}", f"?page={page}"
    return {
        "thumbnail": f"/v1/sources/{source_id}/thumbnail{shown}",
        "media": f"/v1/sources/{source_id}/media{fragment}",
    }


def source_to_json(source: Source) -> dict[str, Any]:
    """The whole record, see `routes.source_schemas.Source`."""
    failure = source.failure
    return {
        "id": source.id,
        "path": source.path,
        "uri": source.uri,
        "mime": source.mime,
        "metadata": dict(source.metadata),
        "sha256": source.sha256,
        "size": source.size,
        "status": source.status,
        "failure": failure
        and {"path": failure.path, "code": failure.code, "reason": failure.reason},
        "indexed_at": source.indexed_at,
        "links": source_links(source.id),
    }
