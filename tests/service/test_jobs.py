"""Jobs over HTTP: listed, followed, cancelled, paused, resumed; addresses to be fetched."""

from __future__ import annotations

import asyncio
import json

import pytest

from mmsearch.service.routes.job_schemas import JobAnswer, JobList
from mmsearch.stores.runs import Run, RunItem

from .conftest import Service

pytestmark = pytest.mark.anyio


def queued(service: Service, count: int = 1) -> list[int]:
    store = service.engine.library.store
    collection = store.collections.get("default").id
    return [
        store.jobs.enqueue(collection, "upload", {"paths": [], "total": 4}) for _ in range(count)
    ]


async def test_a_list_in_pages(fresh: Service) -> None:
    ids = queued(fresh, 5)
    fresh.engine.library.store.jobs.request(ids[0], "pause")
    first = JobList.model_validate((await fresh.client.get("/v1/jobs?limit=3")).json())
    assert [job.id for job in first.jobs] == ids[:1:-1]
    rest = await fresh.client.get("/v1/jobs", params={"before": first.next, "limit": 3})
    second = JobList.model_validate(rest.json())
    assert ([job.id for job in second.jobs], second.next) == (ids[1::-1], None)
    paused = await fresh.client.get("/v1/jobs?state=paused&state=failed")
    assert [job["id"] for job in paused.json()["jobs"]] == ids[:1]


async def test_cancel_pause_and_resume(fresh: Service) -> None:
    (job,) = queued(fresh)
    for verb, state in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        response = await fresh.client.post(f"/v1/jobs/{job}/{verb}")
        assert JobAnswer.model_validate(response.json()).job.state == state
    response = await fresh.client.post(f"/v1/jobs/{job}/cancel")
    assert (response.status_code, response.json()["error"]["code"]) == (409, "conflict")
    assert (await fresh.client.post("/v1/jobs/999/pause")).status_code == 404


async def test_following_a_job(fresh: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every change is an event; the last one says end, and the stream is over."""
    (job,) = queued(fresh)
    store = fresh.engine.library.store
    looks = 0
    read = store.runs.get

    def counted(job_id: int) -> Run:
        nonlocal looks
        looks += 1
        return read(job_id)

    async def seen() -> None:
        """The stream has looked at the job after this moment."""
        wanted = looks + 2
        while looks < wanted:
            await asyncio.sleep(0.02)

    monkeypatch.setattr(store.runs, "get", counted)
    events: list[tuple[str, dict[str, object]]] = []

    async def follow() -> None:
        response = await fresh.client.get(f"/v1/jobs/{job}/events")
        assert response.headers["content-type"].startswith("text/event-stream")
        for block in response.text.strip().split("\n\n"):
            name, data = block.split("\n")
            told = json.loads(data.removeprefix("data: "))["job"]
            events.append((name.removeprefix("event: "), told))

    following = asyncio.create_task(follow())
    await seen()
    claim = store.jobs.claim("w", 60)
    assert claim is not None
    item = RunItem("/a.jpg", "indexed")
    store.runs.update(job, counts={"indexed": 1}, items=[item], lease=claim.lease)
    await seen()
    store.runs.update(job, counts={"indexed": 3, "failed": 1}, lease=claim.lease)
    store.jobs.finish(claim, "done")
    await asyncio.wait_for(following, 30)
    assert [name for name, _ in events] == ["job", "job", "end"]
    assert [told["state"] for _, told in events] == ["queued", "running", "done"]
    progress = events[1][1]["progress"]
    assert isinstance(progress, dict)
    assert (progress["done"], progress["total"]) == (1, 4)
    missing = await fresh.client.get("/v1/jobs/999/events")
    assert missing.status_code == 404


async def test_addresses_become_a_job(fresh: Service) -> None:
    urls = ["https://example.org/dog.jpg", "HTTP://example.org/b.txt"]
    response = await fresh.client.post("/v1/jobs", json={"urls": urls})
    assert response.status_code == 202
    job = JobAnswer.model_validate(response.json()).job
    assert response.headers["location"] == f"/v1/jobs/{job.id}"
    assert fresh.ingestor.urls == urls


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"urls": []}, 422),
        ({"urls": ["file:///etc/passwd"]}, 422),
        ({"urls": ["/etc/passwd"]}, 422),
        ({"urls": ["s3://bucket/x"]}, 422),
        ({"urls": ["http://a/"], "smell": 1}, 422),
        ({"urls": "http://a/"}, 422),
        ({"urls": ["http://a/"] * 1001}, 422),
    ],
)
async def test_what_is_no_address_is_refused(
    fresh: Service, body: dict[str, object], status: int
) -> None:
    response = await fresh.client.post("/v1/jobs", json=body)
    assert response.status_code == status
    assert fresh.ingestor.urls == []
