"""Every error of the service in one shape, and the one table from errors to HTTP statuses.

::

    {"error": {"type", "code", "message", "param", "request_id"}}

`type` is a broad class that goes with the status, `code` is specific and stable, `param`
names the field at fault (or is null), `request_id` equals the `X-Request-ID` header.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from mmsearch.errors import (
    ConfigurationError,
    ConflictError,
    LeaseLostError,
    LibraryBusyError,
    LibraryError,
    LibraryNotFoundError,
    MediaError,
    MMSearchError,
    ModelError,
    NotFoundError,
    QueryError,
    SnapshotError,
    SpaceMismatchError,
    StorageError,
)

log = logging.getLogger("mmsearch.service")

STATUS_OF_ERROR: Mapping[type[MMSearchError], int] = {
    QueryError: 422,
    MediaError: 422,
    NotFoundError: 404,
    LibraryBusyError: 409,
    ConflictError: 409,
    LeaseLostError: 409,
    SpaceMismatchError: 409,
    LibraryNotFoundError: 503,
    LibraryError: 503,
    ModelError: 503,
    ConfigurationError: 503,
    SnapshotError: 503,
    MMSearchError: 500,
}
"""The nearest base class applies."""

TYPE_OF_STATUS: Mapping[int, str] = {
    400: "invalid_request",
    401: "authentication",
    403: "permission",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "conflict",
    412: "precondition",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    422: "invalid_request",
    423: "conflict",
    429: "rate_limit",
    500: "server_error",
    503: "unavailable",
}

RETRY_SECONDS = 5
"""`Retry-After` of what is temporary: a model that is loading, a busy database."""


class RequestError(Exception):
    """A request that the service refuses before it reaches the search engine."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = dict(headers or {})


def status_of(error: MMSearchError) -> int:
    """The HTTP status of a deliberate error."""
    return next(STATUS_OF_ERROR[cls] for cls in type(error).__mro__ if cls in STATUS_OF_ERROR)


def request_id_of(scope: Mapping[str, object]) -> str | None:
    """The id that `RequestContext` gave this request."""
    state = scope.get("state")
    return state.get("request_id") if isinstance(state, dict) else None


def error_response(
    scope: Mapping[str, object],
    status: int,
    code: str,
    message: str,
    *,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An answer in the one shape."""
    body = {
        "error": {
            "type": TYPE_OF_STATUS.get(
                status, "server_error" if status >= 500 else "invalid_request"
            ),
            "code": code,
            "message": message,
            "param": param,
            "request_id": request_id_of(scope),
        }
    }
    return Response(orjson.dumps(body), status, dict(headers or {}), "application/json")


def response_of(scope: Mapping[str, object], error: Exception) -> Response:
    """The answer to any exception. Unexpected errors are logged; the answer has no details."""
    match error:
        case RequestError():
            return error_response(
                scope, error.status, error.code, error.message, param=error.param,
                headers=error.headers,
            )  # fmt: skip
        case MMSearchError():
            status = status_of(error)
            if status >= 500:
                log.warning("request %s: %s: %s", request_id_of(scope), error.code, error.message)
            message = error.reason if isinstance(error, MediaError) else error.message
            param = None if isinstance(error, MediaError) else error.param
            # A missing model or setting will not be there in a few seconds; a database may.
            passing = status in {409, 503} and isinstance(error, (LibraryBusyError, StorageError))
            headers = {"Retry-After": str(RETRY_SECONDS)} if passing else {}
            return error_response(scope, status, error.code, message, param=param, headers=headers)
        case RequestValidationError():
            return _validation(scope, error)
        case HTTPException():
            return _http(scope, error)
    log.error("request %s failed", request_id_of(scope), exc_info=error)
    return error_response(
        scope, 500, "internal", "Something went wrong in the server; its log says more."
    )


def _validation(scope: Mapping[str, object], error: RequestValidationError) -> Response:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    param = ".".join(where[1:]) or where[0]
    return error_response(scope, 422, "invalid_parameter", f"{param}: {first['msg']}", param=param)


def _http(scope: Mapping[str, object], error: HTTPException) -> Response:
    codes = {404: "no_such_route", 405: "method_not_allowed"}
    messages = {
        404: f"There is nothing at {scope.get('path')}.",
        405: f"{scope.get('method')} is not possible at {scope.get('path')}.",
    }
    return error_response(
        scope,
        error.status_code,
        codes.get(error.status_code, "invalid_request"),
        messages.get(error.status_code, str(error.detail)),
        headers=error.headers,
    )


async def _handle(request: Request, error: Exception) -> Response:
    return response_of(request.scope, error)


def install(app: FastAPI) -> None:
    """Every deliberate error goes through here; the unexpected, through `RequestContext`."""
    for cls in (RequestError, MMSearchError, RequestValidationError, HTTPException):
        app.add_exception_handler(cls, _handle)
