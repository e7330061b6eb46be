"""The database server is away for a moment: 503 with Retry-After, never 500."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from mmsearch.search.engine import SearchEngine
from mmsearch.service.app import create_app
from tests.support.fakes import open_fake
from tests.support.small_library import fill, photo

from .conftest import FakeIngestor

pytestmark = pytest.mark.anyio


@dataclass
class Outage:
    """A service over PostgreSQL, and its server's switches."""

    client: httpx.AsyncClient
    engine: SearchEngine
    source: int
    kill: Callable[[], None]
    """End all connections of the library."""
    admit: Callable[[bool], None]
    """Whether new connections are admitted."""


@pytest.fixture
async def service(
    tmp_path: Path,
    postgresql: str,
    postgresql_template: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Outage]:
    monkeypatch.setattr("mmsearch.stores.database.RECONNECT_SECONDS", 0.01)

    def run(*statements: str) -> None:
        with postgresql_template.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))

    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'outage'"
    run("DROP DATABASE IF EXISTS outage WITH (FORCE)", "CREATE DATABASE outage")
    url = postgresql.replace("/postgres?", "/outage?")
    with open_fake(tmp_path / "library", database_url=url) as engine:
        [source] = fill(engine, [photo("/red.jpg", "a red boat", content="f" * 64)])
        app = create_app(engine, FakeIngestor(engine.library.store))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8765") as client,
        ):
            yield Outage(
                client,
                engine,
                source,
                lambda: run(kill),
                lambda admitted: run(f"ALTER DATABASE outage ALLOW_CONNECTIONS {admitted}"),
            )
            run("ALTER DATABASE outage ALLOW_CONNECTIONS true")
    run("DROP DATABASE outage WITH (FORCE)")


def requests(source: int) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        ("GET", "/v1/status", {}),
        ("GET", "/v1/collections", {}),
        ("GET", "/v1/sources", {}),
        ("GET", f"/v1/sources/{source}", {}),
        ("GET", "/v1/jobs", {}),
        ("GET", "/metrics", {}),
        ("POST", "/v1/search", {"json": {"query": "boat"}}),
        ("POST", "/v1/uploads", {"files": {"file": ("a.txt", b"text")}}),
        ("POST", "/v1/jobs", {"json": {"urls": ["https://example.org/a.jpg"]}}),
        ("DELETE", f"/v1/sources/{source}", {}),
    ]


async def test_lost_connections_are_replaced(service: Outage) -> None:
    """Reads and writes work at once after the server has closed every connection."""
    for method, path, options in requests(service.source):
        service.kill()
        response = await service.client.request(method, path, **options)
        assert response.status_code < 300, (path, response.text)


async def test_a_server_that_is_away_is_503(service: Outage) -> None:
    """Until it is back."""
    service.admit(False)
    service.kill()
    for method, path, options in requests(service.source):
        response = await service.client.request(method, path, **options)
        assert response.status_code == 503, (path, response.text)
        assert response.headers["retry-after"], path
        assert response.json()["error"]["code"] == "storage"
    service.admit(True)
    for method, path, options in requests(service.source):
        response = await service.client.request(method, path, **options)
        assert response.status_code < 300, (path, response.text)


async def test_a_search_is_run_again_if_its_connection_breaks(
    service: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection ends in the middle of a batch."""
    planner = service.engine.planner
    plan, calls = planner.plan, 0

    def break_once(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            service.kill()
        return plan(*arguments)

    monkeypatch.setattr(planner, "plan", break_once)
    response = await service.client.post(
        "/v1/search", json={"query": "boat", "filter": {"mime": "image/jpeg"}, "min_score": 0}
    )
    assert response.status_code == 200
    assert len(response.json()["hits"]) == 1
    assert calls == 2
