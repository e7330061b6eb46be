"""Keys, the media cookie, and the guard against other sites' pages."""

from __future__ import annotations

import pytest

from mmsearch.errors import ConfigurationError
from mmsearch.service.auth import check_bind, session_token, session_valid
from mmsearch.settings import Settings

from .conftest import Service, SharedApp, StartService

pytestmark = pytest.mark.anyio

KEYED = [
    ("POST", "/v1/search"),
    ("GET", "/v1/sources"),
    ("GET", "/v1/sources/1"),
    ("DELETE", "/v1/sources/1"),
    ("GET", "/v1/sources/1/media"),
    ("GET", "/v1/sources/1/thumbnail"),
    ("GET", "/v1/segments/1"),
    ("GET", "/v1/segments/1/heatmap"),
    ("POST", "/v1/uploads"),
    ("POST", "/v1/uploads/resumable"),
    ("PATCH", "/v1/uploads/resumable/1"),
    ("DELETE", "/v1/uploads/resumable/1"),
    ("GET", "/v1/jobs"),
    ("POST", "/v1/jobs"),
    ("GET", "/v1/jobs/1"),
    ("GET", "/v1/jobs/1/events"),
    ("POST", "/v1/jobs/1/cancel"),
    ("POST", "/v1/jobs/1/pause"),
    ("POST", "/v1/jobs/1/resume"),
    ("GET", "/v1/collections"),
    ("GET", "/v1/fields"),
    ("GET", "/v1/status"),
    ("POST", "/v1/session"),
    ("GET", "/v1/anything"),
]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(("method", "path"), KEYED)
async def test_every_v1_route_needs_a_key(
    start_service: StartService, method: str, path: str
) -> None:
    async with start_service(api_keys=("one", "two")) as service:
        refused = await service.client.request(method, path)
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "missing_key"
        assert refused.headers["www-authenticate"] == "Bearer"
        wrong = await service.client.request(method, path, headers=bearer("three"))
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "invalid_key")
        right = await service.client.request(method, path, headers=bearer("two"))
        assert right.status_code != 401


def test_the_list_of_keyed_routes_is_complete(shared_app: SharedApp) -> None:
    """A route that is added here must be added to the list above."""
    paths = shared_app[0].openapi()["paths"]
    known = {path.replace("/1", "/{id}") for _, path in KEYED}
    assert {path for path in paths if path.startswith("/v1")} <= known


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic b25l", "one", "Bearer one two"])
async def test_odd_authorization_headers(start_service: StartService, value: str) -> None:
    async with start_service(api_keys=("one",)) as service:
        response = await service.client.get("/v1/sources", headers={"Authorization": value})
        assert response.status_code == 401


@pytest.mark.parametrize("key", ["clé", "a\nb", "a\x1bb"])
def test_a_key_is_printable_ascii(key: str) -> None:
    """Clients encode other characters in different ways: the server does not start."""
    with pytest.raises(ConfigurationError, match="ASCII"):
        check_bind(Settings(api_keys=(key,)))


async def test_a_request_with_two_hosts_is_refused(service: Service) -> None:
    """A proxy before the service might have checked the other one."""
    response = await service.client.get(
        "/healthz", headers=[("Host", "localhost"), ("Host", "evil.example")]
    )
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "duplicate_host"


@pytest.mark.parametrize("path", ["/v1/jobs?state=%00", "/v1/sources?collection=a%00", "/v1/%00"])
async def test_no_address_has_a_nul(service: Service, path: str) -> None:
    response = await service.client.get(path)
    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_parameter")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_pages_of_other_sites_read_nothing(service: Service, headers: dict[str, str]) -> None:
    """The page itself, which holds nothing of the library, can be opened from a link."""
    for path in ("/v1/sources", f"/v1/sources/{service.ids['dog']}/media", "/v1/status"):
        response = await service.client.get(path, headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (403, "cross_origin")
    assert (await service.client.get("/", headers=headers)).status_code == 200


async def test_health_and_the_page_need_no_key(start_service: StartService) -> None:
    async with start_service(api_keys=("one",)) as service:
        for path in ("/", "/ui/page.js", "/healthz", "/metrics", "/openapi.json"):
            assert (await service.client.get(path)).status_code == 200


async def test_the_session_cookie_opens_media_only(start_service: StartService) -> None:
    async with start_service(api_keys=("one",)) as service:
        session = await service.client.post("/v1/session", headers=bearer("one"))
        assert session.status_code == 204
        cookie = session.headers["set-cookie"]
        for part in ("HttpOnly", "SameSite=strict", "Path=/v1/sources"):
            assert part.lower() in cookie.lower()
        token = cookie.partition("=")[2].partition(";")[0]
        assert "one" not in token
        service.client.cookies.clear()
        headers = {"Cookie": f"mmsearch_media={token}"}
        dog = service.ids["dog"]
        for path in (f"/v1/sources/{dog}/media", f"/v1/sources/{dog}/thumbnail"):
            assert (await service.client.get(path, headers=headers)).status_code == 200
        for path in ("/v1/sources", f"/v1/sources/{dog}", "/v1/status", "/v1/jobs/1"):
            assert (await service.client.get(path, headers=headers)).status_code == 401
        for method, path in (("POST", "/v1/search"), ("DELETE", f"/v1/sources/{dog}")):
            response = await service.client.request(method, path, headers=headers)
            assert response.status_code == 401
        forged = {"Cookie": f"mmsearch_media={token[:-1]}{'0' if token[-1] != '0' else '1'}"}
        response = await service.client.get(f"/v1/sources/{dog}/media", headers=forged)
        assert response.status_code == 401


def test_session_tokens_run_out_and_belong_to_a_key() -> None:
    token = session_token("one", now=1000.0)
    assert session_valid(token, ["zero", "one"], now=1001.0)
    assert not session_valid(token, ["zero"], now=1001.0)
    assert not session_valid(token, ["one"], now=1000.0 + 12 * 3600 + 1)
    expires, _, signature = token.partition(".")
    assert not session_valid(f"{int(expires) + 1}.{signature}", ["one"], now=1001.0)
    for broken in ("", ".", "x.y", f"{'9' * 5000}.{signature}", f"²³.{signature}", "1795274264."):
        assert not session_valid(broken, ["one"], now=0.0)


async def test_without_keys_a_session_sets_no_cookie(service: Service) -> None:
    response = await service.client.post("/v1/session")
    assert response.status_code == 204
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost:8765", True),
        ("LOCALHOST", True),
        ("127.0.0.1:9999", True),
        ("127.0.0.1", True),
        ("[::1]:8765", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:8765", False),
        ("evil.example:127.0.0.1", False),
        ("", False),
    ],
)
async def test_on_loopback_only_local_names_are_answered(
    service: Service, host: str, allowed: bool
) -> None:
    for path in ("/", "/v1/sources", "/openapi.json"):
        response = await service.client.get(path, headers={"Host": host})
        assert response.status_code == (200 if allowed else 403)
        if not allowed:
            assert response.json()["error"]["code"] == "host_not_allowed"


async def test_with_keys_a_proxy_may_pass_on_its_name(start_service: StartService) -> None:
    async with start_service(api_keys=("one",)) as service:
        headers = {"Host": "search.example", **bearer("one")}
        assert (await service.client.get("/v1/sources", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Origin": "http://127.0.0.1:8765"}, True),
        ({"Origin": "http://127.0.0.1:8765", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "http://127.0.0.1:3000"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
    ],
)
async def test_other_sites_pages_are_refused(
    fresh: Service, headers: dict[str, str], allowed: bool
) -> None:
    search = await fresh.client.post("/v1/search", json={"query": "dog"}, headers=headers)
    assert search.status_code == (200 if allowed else 403)
    response = await fresh.client.delete(f"/v1/sources/{fresh.ids['boat']}", headers=headers)
    assert response.status_code == (204 if allowed else 403)
    preflight = await fresh.client.options("/v1/search", headers=headers)
    for answer in (search, response, preflight):
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.9.10"])
def test_loopback_needs_no_key(host: str) -> None:
    check_bind(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])
def test_any_other_address_needs_a_key(host: str) -> None:
    with pytest.raises(ConfigurationError, match="api_keys"):
        check_bind(Settings(host=host))
    check_bind(Settings(host=host, api_keys=("one",)))


def test_an_empty_key_is_no_key() -> None:
    with pytest.raises(ConfigurationError):
        check_bind(Settings(host="127.0.0.1", api_keys=("one", " ")))
