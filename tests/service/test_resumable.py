"""Resumable uploads (tus 1.0): nothing that was acknowledged is lost, nothing is taken twice."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from mmsearch.service.resumable import EXPIRY_SECONDS, ResumableUploads, parse_metadata

from .conftest import Service, StartService, picture

pytestmark = pytest.mark.anyio

BASE = "/v1/uploads/resumable"
TUS = {"Tus-Resumable": "1.0.0"}
CONTENT = {"Content-Type": "application/offset+octet-stream"}


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def begin(service: Service, length: int, name: str = "garden.jpg") -> str:
    response = await service.client.post(
        BASE,
        headers=TUS
        | {
            "Upload-Length": str(length),
            "Upload-Metadata": f"filename {b64(name)},collection {b64('default')},is_draft",
        },
    )
    assert response.status_code == 201, response.text
    assert response.headers["tus-resumable"] == "1.0.0"
    return response.headers["location"]


async def patch(service: Service, where: str, offset: int, content: Any) -> httpx.Response:
    headers = TUS | CONTENT | {"Upload-Offset": str(offset)}
    return await service.client.patch(where, headers=headers, content=content)


async def offset(service: Service, where: str) -> int:
    response = await service.client.head(where, headers=TUS)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    return int(response.headers["upload-offset"])


async def test_an_upload_in_pieces_becomes_one_job(fresh: Service) -> None:
    content = picture("green", size=(300, 200))
    where = await begin(fresh, len(content))
    assert await offset(fresh, where) == 0
    half = len(content) // 2
    response = await patch(fresh, where, 0, content[:half])
    assert (response.status_code, response.headers["upload-offset"]) == (204, str(half))
    assert "upload-job" not in response.headers
    assert await offset(fresh, where) == half
    response = await patch(fresh, where, half, content[half:])
    assert response.status_code == 204
    digest = hashlib.sha256(content).hexdigest()
    stored = fresh.engine.library.path / "media" / digest[:2] / digest / "garden.jpg"
    assert stored.read_bytes() == content
    assert fresh.ingestor.files == [stored]
    assert fresh.ingestor.collections == ["default"]
    job = await fresh.client.get(response.headers["upload-job"])
    assert job.json()["job"]["kind"] == "upload"
    # A client that did not hear the answer asks again, and nothing happens twice.
    again = await fresh.client.head(where, headers=TUS)
    assert again.headers["upload-job"] == response.headers["upload-job"]
    assert (await patch(fresh, where, len(content), b"")).status_code == 204
    assert len(fresh.ingestor.files) == 1
    assert [p.suffix for p in (stored.parents[2] / ".incoming").iterdir()] == [".json"]


async def test_creation_with_the_first_bytes(fresh: Service) -> None:
    response = await fresh.client.post(
        BASE, headers=TUS | CONTENT | {"Upload-Length": "11"}, content=b"hello "
    )
    assert (response.status_code, response.headers["upload-offset"]) == (201, "6")
    done = await patch(fresh, response.headers["location"], 6, b"world")
    assert done.status_code == 204
    assert [path.read_bytes() for path in fresh.ingestor.files] == [b"hello world"]


async def test_what_came_before_the_connection_broke_stays(fresh: Service) -> None:
    where = await begin(fresh, 10, "note.txt")

    headers = TUS | CONTENT | {"Upload-Offset": "0", "Host": "127.0.0.1:8765"}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "PATCH",
        "scheme": "http",
        "path": where,
        "raw_path": where.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
        "server": ("127.0.0.1", 8765),
        "client": ("127.0.0.1", 1),
    }
    messages: Iterator[dict[str, Any]] = iter(
        [
            {"type": "http.request", "body": b"0123", "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> dict[str, Any]:
        return next(messages)

    async def send(_: Any) -> None:
        """Nobody is there to hear."""

    await fresh.app(scope, receive, send)
    assert await offset(fresh, where) == 4
    assert (await patch(fresh, where, 4, b"456789")).status_code == 204
    assert fresh.ingestor.files[0].read_bytes() == b"0123456789"


async def test_a_restart_in_the_middle_of_finishing(fresh: Service) -> None:
    """All bytes were here, but no job was queued: the next request finishes it."""
    where = await begin(fresh, 4, "a.txt")
    uploads = ResumableUploads(fresh.engine.library.path)
    upload, _ = uploads.find(where.rpartition("/")[2])
    uploads.append(upload, b"text")
    uploads.store(upload)  # and here the server died
    assert await offset(fresh, where) == 4
    response = await patch(fresh, where, 4, b"")
    assert response.headers["upload-job"]
    assert [path.read_bytes() for path in fresh.ingestor.files] == [b"text"]


@pytest.mark.parametrize(
    ("method", "headers", "status", "code"),
    [
        ("POST", {"Upload-Length": "4"}, 412, "wrong_version"),
        ("POST", TUS | {"Upload-Length": "x"}, 422, "invalid_parameter"),
        ("POST", TUS, 422, "invalid_parameter"),
        ("POST", TUS | {"Upload-Length": "0"}, 422, "empty_file"),
        ("POST", TUS | {"Upload-Length": "9999999"}, 413, "body_too_large"),
        ("POST", TUS | {"Upload-Length": "4", "Upload-Metadata": "a b"}, 400, "malformed_metadata"),
        ("PATCH", TUS | CONTENT | {"Upload-Offset": "1"}, 409, "wrong_offset"),
        ("PATCH", TUS | CONTENT, 422, "invalid_parameter"),
        ("PATCH", TUS | {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        ("PATCH", CONTENT | {"Upload-Offset": "0"}, 412, "wrong_version"),
    ],
)
async def test_refused(
    start_service: StartService, method: str, headers: dict[str, str], status: int, code: str
) -> None:
    async with start_service(max_upload_mb=1) as service:
        where = BASE if method == "POST" else await begin(service, 4)
        response = await service.client.request(method, where, headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)
        assert service.ingestor.files == []


async def test_more_than_was_announced(fresh: Service) -> None:
    where = await begin(fresh, 4)
    assert (await patch(fresh, where, 0, b"12345")).status_code == 413
    assert fresh.ingestor.files == []


async def test_only_one_request_writes_at_a_time(fresh: Service) -> None:
    where = await begin(fresh, 6, "note.txt")
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"abc"
        begun.set()
        await go_on.wait()
        yield b"def"

    first = asyncio.create_task(patch(fresh, where, 0, slow()))
    await begun.wait()
    second = await patch(fresh, where, 0, b"xyz")
    assert (second.status_code, second.json()["error"]["code"]) == (423, "upload_busy")
    go_on.set()
    assert (await first).status_code == 204
    assert [path.read_bytes() for path in fresh.ingestor.files] == [b"abcdef"]


async def test_giving_up_and_running_out(fresh: Service) -> None:
    where = await begin(fresh, 4)
    assert (await fresh.client.delete(where, headers=TUS)).status_code == 204
    assert (await fresh.client.head(where, headers=TUS)).status_code == 404
    assert (await fresh.client.head(f"{BASE}/..%2fx", headers=TUS)).status_code == 404
    where = await begin(fresh, 4)
    incoming = fresh.engine.library.path / "media" / ".incoming"
    for path in incoming.iterdir():
        old = path.stat().st_mtime - EXPIRY_SECONDS - 1
        os.utime(path, (old, old))
    await begin(fresh, 4)
    assert (await fresh.client.head(where, headers=TUS)).status_code == 404
    assert len(list(incoming.iterdir())) == 2


async def test_what_the_server_can_do(fresh: Service) -> None:
    response = await fresh.client.options(BASE)
    assert response.status_code == 204
    assert response.headers["tus-version"] == "1.0.0"
    assert set(response.headers["tus-extension"].split(",")) >= {"creation", "termination"}
    assert int(response.headers["tus-max-size"]) == 512 * 2**20


def test_metadata() -> None:
    assert parse_metadata("") == {}
    assert parse_metadata(f"filename {b64('Füße.jpg')}, a ") == {"filename": "Füße.jpg", "a": ""}


async def test_unfinished_uploads_are_bounded(
    fresh: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In number, and by the room that the disk has for what was promised to them."""
    monkeypatch.setattr("mmsearch.service.resumable.MAX_UNFINISHED", 2)
    first = await begin(fresh, 10)
    await begin(fresh, 10)
    headers = TUS | {"Upload-Length": "10"}
    response = await fresh.client.post(BASE, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (429, "too_many_uploads")
    assert (await patch(fresh, first, 0, b"0123456789")).status_code == 204
    await begin(fresh, 10)  # a finished one does not count
    free = shutil.disk_usage(fresh.engine.library.path).free
    monkeypatch.setattr("mmsearch.service.resumable.MAX_UNFINISHED", 100)
    monkeypatch.setattr("mmsearch.service.resumable.FREE_BYTES", free)
    response = await fresh.client.post(BASE, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "no_space")
    assert response.headers["retry-after"]
