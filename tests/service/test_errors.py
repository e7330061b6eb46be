"""Every error has one shape, and none tells what only the log should know."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import pytest

import mmsearch.errors
from mmsearch.errors import (
    ConfigurationError,
    FilterError,
    LibraryBusyError,
    MediaError,
    MissingDependencyError,
    MMSearchError,
    NotFoundError,
    SnapshotError,
    SpaceMismatchError,
    StorageError,
    WeightsNotFoundError,
)
from mmsearch.service.errors import TYPE_OF_STATUS, status_of
from mmsearch.service.schemas import ErrorResponse

from .conftest import Service, StartService

pytestmark = pytest.mark.anyio

REQUESTS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("GET", "/nowhere", {}, 404, "no_such_route"),
    ("GET", "/v1/nowhere", {}, 404, "no_such_route"),
    ("GET", "/ui/nothing.js", {}, 404, "no_such_route"),
    ("GET", "/ui/..%2fapp.py", {}, 404, "no_such_route"),
    ("PUT", "/v1/search", {}, 405, "method_not_allowed"),
    ("DELETE", "/healthz", {}, 405, "method_not_allowed"),
    ("POST", "/v1/search", {"content": b"dog"}, 415, "unsupported_media_type"),
    ("POST", "/v1/search", {"data": {"query": "dog"}}, 415, "unsupported_media_type"),
    ("POST", "/v1/search", {"json": [1]}, 400, "malformed_json"),
    ("POST", "/v1/search", {"json": {}}, 422, "empty_query"),
    ("POST", "/v1/uploads", {"json": {}}, 415, "unsupported_media_type"),
    ("GET", "/v1/sources/x", {}, 422, "invalid_parameter"),
    ("GET", "/v1/sources/0", {}, 422, "invalid_parameter"),
    ("GET", f"/v1/sources/{2**63}", {}, 422, "invalid_parameter"),
    ("GET", "/v1/sources/999", {}, 404, "not_found"),
    ("GET", "/v1/sources?limit=0", {}, 422, "invalid_parameter"),
    ("GET", "/v1/sources?filter=%7B", {}, 422, "invalid_filter"),
    ("GET", '/v1/sources?filter={"smell":1}', {}, 422, "invalid_filter"),
    ("GET", "/v1/sources?collection=none", {}, 404, "not_found"),
    ("GET", "/v1/segments/999", {}, 404, "not_found"),
    ("GET", "/v1/jobs/999", {}, 404, "not_found"),
    ("GET", "/v1/sources/999/media", {}, 404, "not_found"),
    ("GET", "/v1/sources/999/thumbnail", {}, 404, "not_found"),
    ("DELETE", "/v1/sources/999", {}, 404, "not_found"),
]


@pytest.mark.parametrize(("method", "path", "sent", "status", "code"), REQUESTS)
async def test_errors_have_one_shape(
    service: Service, method: str, path: str, sent: dict[str, Any], status: int, code: str
) -> None:
    response = await service.client.request(method, path, **sent)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error = ErrorResponse.model_validate(response.json()).error
    assert error.code == code
    assert error.type == TYPE_OF_STATUS[status]
    assert error.message
    assert error.request_id == response.headers["x-request-id"]


@pytest.mark.parametrize("body", [b"", b"{", b'{"query": NaN}', b'{"query": "\xff"}', b"[" * 5000])
async def test_malformed_json_is_400(service: Service, body: bytes) -> None:
    response = await service.client.post(
        "/v1/search", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "malformed_json"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"not a form"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="q'),
        ("multipart/form-data; boundary=b", b"--b\r\nX: y\r\n\r\nvalue\r\n--b--\r\n"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="collection"\r\n\r\ndog',
        ),
    ],
)
@pytest.mark.parametrize("path", ["/v1/search", "/v1/uploads"])
async def test_malformed_forms_are_400(service: Service, kind: str, body: bytes, path: str) -> None:
    response = await service.client.post(path, content=body, headers={"Content-Type": kind})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"] == "malformed_form"


async def test_too_big_bodies_are_413(start_service: StartService) -> None:
    async with start_service(max_upload_mb=1) as service:
        big = b'{"query": "' + b"a" * 2**20 + b'"}'
        json_type = {"Content-Type": "application/json"}
        response = await service.client.post("/v1/search", content=big, headers=json_type)
        assert response.status_code == 413
        assert response.json()["error"]["type"] == "too_large"

        async def chunks() -> Any:
            for start in range(0, len(big), 65536):
                yield big[start : start + 65536]

        # Sent in chunks, nobody says beforehand how long it will be.
        response = await service.client.post("/v1/search", content=chunks(), headers=json_type)
        assert response.status_code == 413


async def test_the_unexpected_is_500_and_only_the_log_says_more(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(_: object) -> Any:
        raise ZeroDivisionError("the secret reason")

    service.engine.answer = explode
    with caplog.at_level(logging.ERROR):
        response = await service.client.post(
            "/v1/search", json={"query": "dog"}, headers={"X-Request-ID": "my-id.1"}
        )
    assert response.status_code == 500
    assert response.json()["error"]["request_id"] == "my-id.1"
    assert "secret" not in response.text
    assert "Zero" not in response.text
    assert "my-id.1" in caplog.text
    assert "the secret reason" in caplog.text


async def test_an_unexpected_error_outside_of_search_is_500_too(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.engine.library.store.status, "counts", lambda: 1 // 0)
    for path in ("/v1/status", "/metrics"):
        response = await service.client.get(path)
        assert response.status_code == 500
        assert response.headers["x-request-id"] == response.json()["error"]["request_id"]


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "bad\u00e9"])
async def test_odd_request_ids_are_replaced(service: Service, given: str) -> None:
    headers = {"X-Request-ID": given.encode("latin-1")}
    response = await service.client.get("/healthz", headers=headers)  # type: ignore[arg-type]
    assert response.headers["x-request-id"] not in {given, ""}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (FilterError("no such field"), 422),
        (MediaError("corrupt", "not a picture"), 422),
        (NotFoundError("no such thing"), 404),
        (LibraryBusyError("busy"), 409),
        (SpaceMismatchError("other model"), 409),
        (StorageError("disk full"), 503),
        (WeightsNotFoundError("ViT", "/models", "no network"), 503),
        (MissingDependencyError("faiss", "cpu", "Searching"), 503),
        (ConfigurationError("wrong"), 503),
        (SnapshotError("damaged"), 503),
        (MMSearchError("else"), 500),
    ],
)
async def test_deliberate_errors_have_their_status(
    service: Service, error: MMSearchError, status: int
) -> None:
    service.engine.answer = lambda queries: [error for _ in queries]
    response = await service.client.post("/v1/search", json={"query": "dog"})
    assert response.status_code == status
    assert response.json()["error"]["code"] == error.code
    assert response.json()["error"]["message"] == str(error)
    retry = isinstance(error, LibraryBusyError | StorageError)
    assert ("retry-after" in response.headers) == retry


def test_every_error_class_has_a_status() -> None:
    classes = [
        cls
        for _, cls in inspect.getmembers(mmsearch.errors, inspect.isclass)
        if issubclass(cls, MMSearchError)
    ]
    assert len(classes) > 15
    for cls in classes:
        error = cls.__new__(cls)
        assert status_of(error) in TYPE_OF_STATUS
