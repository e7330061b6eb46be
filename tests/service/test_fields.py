"""The fields that filters, sort and facets may name are listed."""

from __future__ import annotations

import json

import pytest

from mmsearch.search.parse.fields import WELL_KNOWN
from mmsearch.search.parse.filters import FIELDS
from mmsearch.service.routes.fields import Fields

from .conftest import Service

pytestmark = pytest.mark.anyio


async def test_all_fields_are_listed_with_what_is_there(service: Service) -> None:
    """Built-in, well-known and other ones; with whether any source has them."""
    response = await service.client.get("/v1/fields")
    fields = {field.name: field for field in Fields.model_validate(response.json()).fields}
    assert fields.keys() >= {*FIELDS, *WELL_KNOWN}
    assert (fields["width"].type, fields["width"].has_values) == ("number", True)
    assert fields["width"].sampled == 1
    assert (fields["people"].type, fields["people"].has_values) == ("texts", False)
    assert fields["modified_at"].type == "date"
    assert "like" not in fields["size"].operators
    other = await service.client.get("/v1/fields", params={"collection": "nowhere"})
    assert other.status_code == 404


@pytest.mark.parametrize("name", sorted({*WELL_KNOWN}))
async def test_a_well_known_field_is_always_a_filter(service: Service, name: str) -> None:
    """A library without a file that has it has no hits, not an error."""
    response = await service.client.get(
        "/v1/sources", params={"filter": json.dumps({name: "no such value"})}
    )
    assert response.status_code == 200
    assert response.json()["sources"] == []


@pytest.mark.parametrize(
    "wanted",
    [
        {"path": {"in": [f"/photos/a-long-folder-name/{n}.jpg" for n in range(500)]}},
        {"tags": {"in": [f"tag {n}" for n in range(500)]}},
        {"taken_at": {"any": [f"2024-01-01T00:00:{n % 60:02}Z" for n in range(500)]}},
    ],
)
async def test_five_hundred_values_are_answered(service: Service, wanted: object) -> None:
    """By GET as by POST."""
    listed = await service.client.get("/v1/sources", params={"filter": json.dumps(wanted)})
    assert listed.status_code == 200
    found = await service.client.post("/v1/search", json={"query": "dog", "filter": wanted})
    assert found.status_code == 200


@pytest.mark.parametrize(
    "wanted",
    [
        '{"path": {"like": "a\\u0000b"}}',
        '{"tags": "\\ud800"}',
        '{"size": NaN}',
        '{"modified_at": "12024-01-01"}',
        '{"tags": {"in": [' + ",".join(["1"] * 1001) + "]}}",
        '{"not": ' * 40 + '{"size": 1}' + "}" * 40,
    ],
)
async def test_impossible_filters_are_errors_of_the_client(service: Service, wanted: str) -> None:
    """Never of the service."""
    listed = await service.client.get("/v1/sources", params={"filter": wanted})
    assert listed.status_code == 422
