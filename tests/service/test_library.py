"""Sources, segments, collections: listing, reading, forgetting."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmsearch.service.routes.source_schemas import (
    Collections,
    LibraryStatus,
    SegmentWithSource,
    SourcePage,
    SourceWithSegments,
)

from .conftest import Service

pytestmark = pytest.mark.anyio


async def test_a_cursor_walks_through_all_sources_once(service: Service) -> None:
    seen: list[int] = []
    after: int | None = 0
    while after is not None:
        response = await service.client.get("/v1/sources", params={"after": after, "limit": 3})
        page = SourcePage.model_validate(response.json())
        assert 0 < len(page.sources) <= 3
        seen += [source.id for source in page.sources]
        after = page.next
    assert seen == sorted(service.ids.values())


async def test_a_last_page_that_is_full_says_that_it_is_the_last(service: Service) -> None:
    response = await service.client.get("/v1/sources", params={"limit": len(service.ids)})
    assert response.json()["next"] is None


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ('{"mime": "image/jpeg"}', {"dog", "boat", "broken"}),
        ('{"width": {"gte": 10}}', {"dog"}),
        ('{"modality": "speech"}', {"memo"}),
        ('{"text": {"like": "%dog%"}}', {"memo", "note"}),
        ('{"not": {"mime": {"like": "image/%"}}}', {"memo", "note", "page"}),
        ('{"mime": "image/jpeg", "modality": {"ne": "image"}}', {"broken"}),
    ],
)
async def test_sources_are_filtered(service: Service, wanted: str, names: set[str]) -> None:
    response = await service.client.get("/v1/sources", params={"filter": wanted})
    found = [source["id"] for source in response.json()["sources"]]
    assert found == sorted(service.ids[name] for name in names)


async def test_a_source_comes_with_its_segments(service: Service) -> None:
    memo = service.ids["memo"]
    response = await service.client.get(f"/v1/sources/{memo}")
    answer = SourceWithSegments.model_validate(response.json())
    assert answer.source.mime == "audio/wav"
    assert [(s.start, s.end) for s in answer.segments] == [(0.0, 0.8), (0.8, 1.9)]

    response = await service.client.get(f"/v1/segments/{answer.segments[1].id}")
    segment = SegmentWithSource.model_validate(response.json())
    assert segment.segment == answer.segments[1]
    assert segment.source == answer.source


async def test_a_failed_source_says_why(service: Service) -> None:
    broken = service.ids["broken"]
    source = (await service.client.get(f"/v1/sources/{broken}")).json()["source"]
    assert source["status"] == "failed"
    assert source["failure"]["code"] == "corrupt"


async def test_collections_and_counts(service: Service) -> None:
    response = await service.client.get("/v1/collections")
    collections = Collections.model_validate(response.json()).collections
    assert [(c.name, c.profile) for c in collections] == [("default", "nano")]
    status = LibraryStatus.model_validate((await service.client.get("/v1/status")).json())
    assert status.sources == len(service.ids) - 1
    assert status.segments == 6


async def test_a_deleted_source_is_gone_and_its_file_stays(fresh: Service) -> None:
    dog = fresh.ids["dog"]
    path = Path((await fresh.client.get(f"/v1/sources/{dog}")).json()["source"]["path"])
    response = await fresh.client.delete(f"/v1/sources/{dog}")
    assert (response.status_code, response.content) == (204, b"")
    assert (await fresh.client.get(f"/v1/sources/{dog}")).status_code == 404
    assert (await fresh.client.delete(f"/v1/sources/{dog}")).status_code == 404
    answer = (await fresh.client.post("/v1/search", json={"query": "dog.jpg"})).json()
    assert dog not in [hit["source"]["id"] for hit in answer["hits"]]
    assert path.exists()
