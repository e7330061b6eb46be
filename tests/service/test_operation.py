"""Health, readiness, metrics, OpenAPI and the page."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mmsearch.errors import WeightsNotFoundError
from mmsearch.search.parse.filters import FIELDS, OPERATORS
from mmsearch.search.parse.request import SearchRequest
from mmsearch.service.errors import TYPE_OF_STATUS
from mmsearch.testing import FakeSearcher

from .conftest import Service, StartService

pytestmark = pytest.mark.anyio


async def test_ready_once_everything_is_loaded(fresh: Service) -> None:
    for _ in range(500):
        response = await fresh.client.get("/readyz")
        if response.status_code == 200:
            break
        await asyncio.sleep(0.01)
    assert response.json() == {"status": "ready"}
    assert (await fresh.client.get("/healthz")).json() == {"status": "ok"}


async def test_readyz_says_what_is_missing(start_service: StartService) -> None:
    def prepare(engine: FakeSearcher) -> None:
        engine.warm_up_error = WeightsNotFoundError("ViT-B-32", "/models", "no network")

    async with start_service(prepare=prepare) as service:
        for _ in range(500):
            response = await service.client.get("/readyz")
            if "ViT-B-32" in response.text:
                break
            await asyncio.sleep(0.01)
        assert response.status_code == 503
        assert "nano" in response.json()["error"]["message"]
        assert response.headers["retry-after"]
        # What needs no model still works.
        assert (await service.client.get("/v1/sources")).status_code == 200


async def test_metrics(fresh: Service) -> None:
    fresh.engine.library.refresh()
    await fresh.client.post("/v1/search", json={"query": "dog"})
    await fresh.client.get(f"/v1/sources/{fresh.ids['dog']}")
    await fresh.client.get("/nowhere")
    response = await fresh.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    requests = "mmsearch_http_requests_total"
    assert samples[requests, "/v1/search", "200", "POST"] == 1
    assert samples[requests, "/v1/sources/{id}", "200", "GET"] == 1
    assert samples[requests, "404", "GET", "unmatched"] == 1
    assert samples["mmsearch_http_request_seconds_count", "/v1/search"] == 1
    assert samples["mmsearch_query_batch_size_count",] == 1
    assert samples["mmsearch_queries_waiting",] == 0
    assert samples["mmsearch_sources",] == len(fresh.ids) - 1
    assert samples["mmsearch_index_size", "Flat(SQfp16)", "clip"] == 2


async def test_two_applications_share_no_counters(
    start_service: StartService, service: Service
) -> None:
    await service.client.post("/v1/search", json={"query": "dog"})
    from mmsearch.service.app import create_app

    other = create_app(service.engine)
    registry: Any = other.user_middleware[0].kwargs["metrics"]
    assert registry.registry.get_sample_value("mmsearch_query_batch_size_count") == 0


async def test_every_operation_is_described_with_examples(service: Service) -> None:
    schema = (await service.client.get("/openapi.json")).json()
    operations = [
        (f"{method} {path}", operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) >= 14
    for name, operation in operations:
        assert operation["summary"], name
        good = [r for status, r in operation["responses"].items() if status.startswith("2")]
        assert good, name
        for response in good:
            for kind, content in response.get("content", {}).items():
                if not kind.startswith("image/"):
                    assert "example" in content, f"{name}: {kind}"
        for status, response in operation["responses"].items():
            if status.startswith(("4", "5")):
                ref = response["content"]["application/json"]["schema"]["$ref"]
                assert ref == "#/components/schemas/ErrorResponse", f"{name}: {status}"
        if "/v1/" in name and "requestBody" in operation and "session" not in name:
            contents = operation["requestBody"]["content"].values()
            assert any("example" in c or "examples" in c for c in contents), name


async def test_every_reference_of_the_schema_leads_somewhere(service: Service) -> None:
    response = await service.client.get("/openapi.json")
    known = set(response.json()["components"]["schemas"])
    used = set(re.findall(r'"#/components/schemas/([^"]+)"', response.text))
    assert used <= known
    assert "SearchRequest" in used
    assert "#/$defs" not in response.text


async def test_the_examples_are_queries_that_work(service: Service) -> None:
    schema = (await service.client.get("/openapi.json")).json()
    body = schema["paths"]["/v1/search"]["post"]["requestBody"]["content"]["application/json"]
    for example in body["examples"].values():
        SearchRequest.model_validate(example["value"])
        response = await service.client.post("/v1/search", json=example["value"])
        assert response.status_code == 200


async def test_the_page_loads_only_from_here(service: Service) -> None:
    page = await service.client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.search(r"\son\w+=|style=|<style|javascript:", page.text)
    assert not re.findall(r"<script(?![^>]*src=)", page.text)
    for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert address.startswith(("/", "#"))
        if address.startswith("/"):
            assert (await service.client.get(address)).status_code == 200


async def test_assets_are_local_typed_and_cached(service: Service) -> None:
    kinds = {
        "page.js": "text/javascript",
        "api.js": "text/javascript",
        "page.css": "text/css",
        "icon.svg": "image/svg+xml",
        "../favicon.ico": "image/svg+xml",
    }
    for name, kind in kinds.items():
        response = await service.client.get(f"/ui/{name}")
        assert response.headers["content-type"].startswith(kind)
        assert not re.search(r"https?://(?!www\.w3\.org)", response.text)
        assert "innerHTML" not in response.text
        assert "insertAdjacentHTML" not in response.text
        etag = response.headers["etag"]
        again = await service.client.get(f"/ui/{name}", headers={"If-None-Match": etag})
        assert (again.status_code, again.content) == (304, b"")


async def test_every_module_that_the_page_imports_is_there(service: Service) -> None:
    for name in ("page.js", "attachments.js", "results.js", "api.js"):
        text = (await service.client.get(f"/ui/{name}")).text
        for address in re.findall(r'from "([^"]+)"', text):
            assert (await service.client.get(address)).status_code == 200


async def test_the_documentation_is_complete(service: Service) -> None:
    """docs/http-api.md names every route, status, error type and metric."""
    text = (Path(__file__).parents[2] / "docs" / "http-api.md").read_text("utf-8")
    schema = (await service.client.get("/openapi.json")).json()
    for path in schema["paths"]:
        assert path in text, path
    for status, kind in TYPE_OF_STATUS.items():
        assert re.search(rf"\| {status} \| `{kind}` \|", text), status
    scraped = (await service.client.get("/metrics")).text
    for name in re.findall(r"^# TYPE (\w+) ", scraped, re.MULTILINE):
        assert name.removesuffix("_created") in text, name
    for operator in OPERATORS:
        assert re.search(rf"\b{operator}\b", text), operator
    for field in (*SearchRequest.model_fields, *FIELDS):
        assert re.search(rf"\b{field}\b", text), field
