"""Files over HTTP: ranges, conditions, and hostile content made harmless."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmsearch.service.files import content_disposition, media_headers
from mmsearch.testing import FakeSearcher
from mmsearch.types import Place
from tests.support.recordings import recording

from .conftest import Service, StartService, add_file

pytestmark = pytest.mark.anyio


async def test_the_whole_file(service: Service) -> None:
    response = await service.client.get(f"/v1/sources/{service.ids['memo']}/media")
    assert response.status_code == 200
    assert response.content == recording()
    assert response.headers["content-type"] == "audio/wav"
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["content-length"] == str(len(recording()))
    assert response.headers["content-disposition"].startswith('inline; filename="memo.wav"')
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, None),
        ("bytes=100-199", 100, 200),
        ("bytes=32000-", 32000, None),
        ("bytes=-44", -44, None),
        ("bytes=-99999999", 0, None),
        ("bytes=100-99999999", 100, None),
        ("Bytes = 5 - 9", 5, 10),
    ],
)
async def test_ranges(service: Service, wanted: str, start: int, end: int | None) -> None:
    content = recording()
    url = f"/v1/sources/{service.ids['memo']}/media"
    response = await service.client.get(url, headers={"Range": wanted})
    first, stop, _ = slice(start, end).indices(len(content))
    assert response.status_code == 206
    assert response.content == content[first:stop]
    assert response.headers["content-range"] == f"bytes {first}-{stop - 1}/{len(content)}"
    assert response.headers["content-length"] == str(stop - first)


@pytest.mark.parametrize(
    "wanted",
    ["bytes=", "bytes=-", "bytes=9-5", "bytes=a-b", "items=0-5", "bytes=0-5,10-20", "bytes=٣-٤"],
)
async def test_a_range_that_says_nothing_is_the_whole_file(service: Service, wanted: str) -> None:
    url = f"/v1/sources/{service.ids['memo']}/media"
    response = await service.client.get(url, headers={"Range": wanted.encode()})  # type: ignore[arg-type]
    assert response.status_code == 200
    assert response.content == recording()


@pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=32044-", "bytes=-0"])
async def test_a_range_beyond_the_end_is_416(service: Service, wanted: str) -> None:
    size = len(recording())
    url = f"/v1/sources/{service.ids['memo']}/media"
    response = await service.client.get(url, headers={"Range": wanted})
    assert response.status_code == 416
    assert response.headers["content-range"] == f"bytes */{size}"
    assert response.json()["error"]["type"] == "range_not_satisfiable"


async def test_if_range_and_etags(service: Service) -> None:
    url = f"/v1/sources/{service.ids['memo']}/media"
    first = await service.client.get(url)
    etag = first.headers["etag"]
    part = {"Range": "bytes=0-9"}
    same = await service.client.get(url, headers={**part, "If-Range": etag})
    assert (same.status_code, same.headers["etag"]) == (206, etag)
    dated = await service.client.get(
        url, headers={**part, "If-Range": first.headers["last-modified"]}
    )
    assert dated.status_code == 206
    other = await service.client.get(url, headers={**part, "If-Range": '"other"'})
    assert (other.status_code, len(other.content)) == (200, len(recording()))
    known = await service.client.get(url, headers={"If-None-Match": f'"x", W/{etag}'})
    assert (known.status_code, known.content) == (304, b"")
    unknown = await service.client.get(url, headers={"If-None-Match": '"x"'})
    assert unknown.status_code == 200


async def test_head_is_get_without_the_content(service: Service) -> None:
    for name in ("media", "thumbnail"):
        url = f"/v1/sources/{service.ids['dog']}/{name}"
        whole = await service.client.get(url)
        head = await service.client.head(url)
        assert (head.status_code, head.content) == (200, b"")
        for header in ("content-length", "content-type", "etag", "accept-ranges"):
            assert head.headers[header] == whole.headers[header]
    url = f"/v1/sources/{service.ids['memo']}/media"
    head = await service.client.head(url, headers={"Range": "bytes=0-9"})
    assert (head.status_code, head.headers["content-length"], head.content) == (206, "10", b"")


@pytest.mark.parametrize("name", ["page", "drawing", "note"])
async def test_markup_and_scripts_are_plain_text(service: Service, name: str) -> None:
    response = await service.client.get(f"/v1/sources/{service.ids[name]}/media")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_a_recording_can_be_opened_by_itself(service: Service) -> None:
    """Chromium's player is refused its own file if the document is sandboxed."""
    response = await service.client.get(f"/v1/sources/{service.ids['memo']}/media")
    policy = response.headers["content-security-policy"]
    assert "sandbox" not in policy
    assert "default-src 'none'" in policy
    assert "media-src 'self'" in policy


@pytest.mark.parametrize(
    ("mime", "kind", "inline"),
    [
        ("image/png", "image/png", True),
        ("audio/mpeg", "audio/mpeg", True),
        ("application/pdf", "application/pdf", True),
        ("image/svg+xml", "text/plain; charset=utf-8", True),
        ("application/xhtml+xml", "text/plain; charset=utf-8", True),
        ("text/html; charset=utf-7", "text/plain; charset=utf-8", True),
        ("application/javascript", "text/plain; charset=utf-8", True),
        ("application/json", "text/plain; charset=utf-8", True),
        ("application/zip", "application/octet-stream", False),
        ("application/x-shockwave-flash", "application/octet-stream", False),
        ("", "application/octet-stream", False),
    ],
)
def test_content_types(mime: str, kind: str, inline: bool) -> None:
    headers = media_headers(mime, "a", None)
    assert headers["Content-Type"] == kind
    assert headers["Content-Disposition"].startswith("inline" if inline else "attachment")


def test_a_charset_is_only_a_charset() -> None:
    assert media_headers("text/plain", "a", "koi8-r")["Content-Type"].endswith("charset=koi8-r")
    hostile = media_headers("text/plain", "a", "x\r\nSet-Cookie: a=b")
    assert hostile["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "name",
    [
        'quo"te.jpg',
        "line\r\nSet-Cookie: a=b.jpg",
        "Füße ☃.jpg",
        "\udcff.jpg",
        "a;b=c.jpg",
        "%41.jpg",
    ],
)
def test_file_names_cannot_leave_their_header(name: str) -> None:
    header = content_disposition(name, inline=True)
    assert header.isascii()
    assert header.isprintable()
    plain = header.partition('filename="')[2].partition('"; filename*=')[0]
    assert '"' not in plain
    assert "%" not in plain


async def test_a_file_that_has_gone_is_404(start_service: StartService, tmp_path: Path) -> None:
    ids: list[int] = []

    def prepare(engine: FakeSearcher) -> None:
        for name in ("gone.txt", "folder.txt", "pipe.txt"):
            ids.append(add_file(engine, tmp_path / name, b"text", "text/plain"))
            (tmp_path / name).unlink()
        (tmp_path / "folder.txt").mkdir()
        os.mkfifo(tmp_path / "pipe.txt")

    async with start_service(prepare=prepare) as service:
        for source in ids:
            response = await service.client.get(f"/v1/sources/{source}/media")
            assert response.status_code == 404
            assert response.json()["error"]["code"] == "not_found"


async def test_an_empty_file(start_service: StartService, tmp_path: Path) -> None:
    ids: list[int] = []

    def prepare(engine: FakeSearcher) -> None:
        ids.append(add_file(engine, tmp_path / "empty.txt", b"", "text/plain"))

    async with start_service(prepare=prepare) as service:
        url = f"/v1/sources/{ids[0]}/media"
        response = await service.client.get(url)
        assert (response.status_code, response.content) == (200, b"")
        assert (await service.client.get(url, headers={"Range": "bytes=0-"})).status_code == 416


async def test_thumbnails(service: Service) -> None:
    url = f"/v1/sources/{service.ids['dog']}/thumbnail"
    response = await service.client.get(url)
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/jpeg"
    assert response.content[:3] == b"\xff\xd8\xff"
    assert "max-age" in response.headers["cache-control"]
    again = await service.client.get(url, headers={"If-None-Match": response.headers["etag"]})
    assert again.status_code == 304
    none = await service.client.get(f"/v1/sources/{service.ids['memo']}/thumbnail")
    assert none.status_code == 404


async def test_a_page_has_a_thumbnail_of_its_own(service: Service) -> None:
    """What has none shows that of its source."""
    source = service.engine.library.store.sources.get(service.ids["dog"])
    page = service.engine.thumbnail_path(source, Place(page=2))
    page.write_bytes(b"the second page")
    url = f"/v1/sources/{source.id}/thumbnail"
    whole = (await service.client.get(url)).content
    assert (await service.client.get(f"{url}?page=2")).content == b"the second page"
    assert (await service.client.get(f"{url}?page=3")).content == whole
    assert (await service.client.get(f"{url}?start=1.5")).content == whole


@pytest.mark.parametrize(
    "path",
    [
        "/v1/sources/1/../../../etc/passwd",
        "/v1/sources/..%2f..%2fetc%2fpasswd/media",
        "/v1/sources/1/media/../../etc/passwd",
        "/v1/sources/1/media%00",
        "/ui/../schemas.py",
        "/ui/..%2fschemas.py",
        "/ui/%2e%2e/schemas.py",
        "/ui/%2fetc%2fpasswd",
        "/thumbnails/../library.sqlite",
    ],
)
async def test_no_address_leads_to_another_file(service: Service, path: str) -> None:
    import httpx

    # A raw path, which the client does not tidy up.
    url = httpx.URL("http://127.0.0.1:8765").copy_with(raw_path=path.encode())
    response = await service.client.get(url)
    assert response.status_code in {404, 422}
    assert set(response.json()) == {"error"}
