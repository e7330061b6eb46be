"""Uploads: streamed, limited, named by their content, never outside of the media folder."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from mmsearch.service.routes.job_schemas import JobAnswer
from mmsearch.service.uploads import IN_USE, delete_upload, safe_name
from mmsearch.stores.places import member_uri, uri_of
from mmsearch.stores.rows import SourceWrite
from mmsearch.types import SourceFile

from .conftest import Service, StartService, add_file, picture

pytestmark = pytest.mark.anyio


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


async def test_an_upload_is_a_job(fresh: Service) -> None:
    content = picture("green")
    response = await fresh.client.post(
        "/v1/uploads", files={"file": ("garden.jpg", content, "image/jpeg")}
    )
    assert response.status_code == 202
    job = JobAnswer.model_validate(response.json()).job
    assert response.headers["location"] == f"/v1/jobs/{job.id}"
    digest = hashlib.sha256(content).hexdigest()
    stored = fresh.engine.library.path / "media" / digest[:2] / digest / "garden.jpg"
    assert fresh.ingestor.files == [stored]
    assert fresh.ingestor.collections == [None]
    assert stored.read_bytes() == content
    again = await fresh.client.get(response.headers["location"])
    assert again.json() == response.json()
    assert job.state == "done"
    assert [item.path for item in job.items] == [str(stored)]
    few = await fresh.client.get(response.headers["location"], params={"items": 0})
    assert few.json()["job"]["items"] == []


async def test_many_files_and_a_collection(fresh: Service) -> None:
    files = [("file", (f"{i}.txt", f"note {i}".encode(), "text/plain")) for i in range(3)]
    response = await fresh.client.post("/v1/uploads", files=files, data={"collection": "default"})
    assert response.status_code == 202
    assert [path.read_text() for path in fresh.ingestor.files] == ["note 0", "note 1", "note 2"]
    assert fresh.ingestor.collections == ["default"]


async def test_the_same_content_is_stored_once(fresh: Service) -> None:
    for name in ("one.txt", "two.txt"):
        response = await fresh.client.post("/v1/uploads", files={"file": (name, b"the same")})
        assert response.status_code == 202
    assert [path.name for path in files_in(fresh.engine.library.path / "media")] == ["one.txt"]
    assert len(set(fresh.ingestor.files)) == 1


async def test_too_large_is_413_and_leaves_nothing(start_service: StartService) -> None:
    async with start_service(max_upload_mb=1) as service:
        big = os.urandom(2**20 + 1)
        response = await service.client.post("/v1/uploads", files={"file": ("big.bin", big)})
        assert response.status_code == 413

        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="big"\r\n\r\n'

        async def body() -> Any:
            yield head
            for start in range(0, len(big), 65536):
                yield big[start : start + 65536]
            yield b"\r\n--b--\r\n"

        response = await service.client.post(
            "/v1/uploads",
            content=body(),
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
        assert response.status_code == 413
        assert files_in(service.engine.library.path / "media") == []
        assert service.ingestor.files == []


async def test_an_upload_that_breaks_off_leaves_nothing(fresh: Service) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="half"\r\n\r\n'
    response = await fresh.client.post(
        "/v1/uploads",
        content=head + b"half of it",
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert response.status_code == 400
    assert files_in(fresh.engine.library.path / "media") == []


@pytest.mark.parametrize(
    ("fields", "files", "code"),
    [
        ({"collection": "default"}, {"file": ("a.txt", b"")}, "empty_file"),
        ({"smell": "sweet"}, {"file": ("a.txt", b"text")}, "invalid_parameter"),
        ({"collection": "x" * 900}, {"file": ("a.txt", b"text")}, "invalid_parameter"),
    ],
)
async def test_refused_uploads(
    fresh: Service, fields: dict[str, str], files: dict[str, Any], code: str
) -> None:
    response = await fresh.client.post("/v1/uploads", data=fields, files=files)
    assert response.status_code == 422
    assert response.json()["error"]["code"] == code
    assert fresh.ingestor.files == []


async def test_without_an_ingestor_nothing_is_taken(start_service: StartService) -> None:
    async with start_service(uploads=False) as service:
        response = await service.client.post("/v1/uploads", files={"file": ("a.txt", b"text")})
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "no_ingestor"
        assert not (service.engine.library.path / "media").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/passwd",
        "/etc/passwd",
        "..",
        ".",
        "...",
        ".hidden",
        "..\\..\\windows.ini",
        "a/b/c.txt",
        "nul\x00byte.txt",
        "line\nbreak.txt",
        "right\u202eto-left.txt",
        "  spaces  .txt",
        "x" * 5000 + ".jpeg",
        "é" * 300 + ".txt",
        "-rf",
        "suffix." + "y" * 400,
        "",
    ],
)
def test_names_are_only_names(name: str) -> None:
    made = safe_name(name)
    assert made
    assert not made.startswith(".")
    assert "/" not in made
    assert "\\" not in made
    assert made.isprintable()
    assert len(made.encode()) <= 150
    assert Path("/media", made).resolve().parent == Path("/media")


@pytest.mark.parametrize("name", ["plain.jpg", "Füße am Strand.JPG", "写真.png", "a.b.tar.gz"])
def test_good_names_are_kept(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["../../escape.txt", "/tmp/escape.txt", "..", "a\\..\\b"])
async def test_no_name_leaves_the_media_folder(fresh: Service, name: str) -> None:
    response = await fresh.client.post("/v1/uploads", files={"file": (name, b"text")})
    assert response.status_code == 202
    media = fresh.engine.library.path / "media"
    assert len(files_in(media)) == 1
    assert all(path.resolve().is_relative_to(media.resolve()) for path in fresh.ingestor.files)


async def test_deleting_an_uploaded_source_deletes_its_file(fresh: Service) -> None:
    await fresh.client.post("/v1/uploads", files={"file": ("a.txt", b"private words")})
    (path,) = fresh.ingestor.files
    source = add_file(fresh.engine, path, path.read_bytes(), "text/plain")
    assert (await fresh.client.delete(f"/v1/sources/{source}")).status_code == 204
    assert files_in(fresh.engine.library.path / "media") == []


async def test_a_file_that_another_collection_needs_is_kept(fresh: Service) -> None:
    await fresh.client.post("/v1/uploads", files={"file": ("a.txt", b"shared words")})
    (path,) = fresh.ingestor.files
    first = add_file(fresh.engine, path, path.read_bytes(), "text/plain")
    add_file(fresh.engine, path, path.read_bytes(), "text/plain", collection="second")
    assert (await fresh.client.delete(f"/v1/sources/{first}")).status_code == 204
    assert path.exists()


async def test_a_full_disk_is_503(fresh: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mmsearch.service.uploads.os.fsync", full)
    response = await fresh.client.post("/v1/uploads", files={"file": ("a.txt", b"text")})
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "storage"
    assert "No space left" in response.json()["error"]["message"]
    assert files_in(fresh.engine.library.path / "media") == []


async def test_an_unknown_collection_is_404_unless_it_is_to_be_made(fresh: Service) -> None:
    """A typing error makes no collection; names are checked and in NFC."""
    store = fresh.engine.library.store

    async def upload(collection: str, **fields: str) -> httpx.Response:
        return await fresh.client.post(
            "/v1/uploads",
            files={"file": ("a.txt", b"text")},
            data={"collection": collection, **fields},
        )

    response = await upload("family")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"
    assert "create" in response.json()["error"]["message"]
    assert fresh.ingestor.files == []
    assert (await upload("family", create="perhaps")).status_code == 422
    assert (await upload("/etc/", create="true")).status_code == 422
    assert (await upload("x" * 101, create="true")).status_code == 422
    assert (await upload("a\x1bb", create="true")).status_code == 422
    store.collections.get_or_create("fami\u0301lia", "nano")  # what the ingestor would do
    assert (await upload("fami\u0301lia")).status_code == 202
    assert fresh.ingestor.collections == ["família"]


async def test_jobs_and_resumable_uploads_check_the_collection_too(fresh: Service) -> None:
    body = {"urls": ["https://example.org/a.jpg"], "collection": "family"}
    response = await fresh.client.post("/v1/jobs", json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (404, "collection")
    urls = {"urls": ["https://example.org/a\0.jpg"]}
    assert (await fresh.client.post("/v1/jobs", json=urls)).status_code == 422
    name = base64.b64encode(b"family").decode()
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "3"}
    response = await fresh.client.post(
        "/v1/uploads/resumable", headers=headers | {"Upload-Metadata": f"collection {name}"}
    )
    assert response.status_code == 404
    assert files_in(fresh.engine.library.path / "media") == []
    response = await fresh.client.post(
        "/v1/uploads/resumable", headers=headers | {"Upload-Metadata": f"collection {name},create"}
    )
    assert response.status_code == 201


async def test_a_file_that_a_job_waits_for_is_not_deleted(fresh: Service) -> None:
    """The same content is uploaded again, and its source deleted before the job has run."""
    store = fresh.engine.library.store
    response = await fresh.client.post("/v1/uploads", files={"file": ("a.txt", b"the same")})
    assert response.status_code == 202
    [stored] = fresh.ingestor.files
    source = add_file(fresh.engine, stored, b"the same", "text/plain")
    collection = store.collections.get("default").id
    job = store.jobs.enqueue(collection, "upload", {"paths": [str(stored)], "total": 1})
    assert (await fresh.client.delete(f"/v1/sources/{source}")).status_code == 204
    assert stored.read_bytes() == b"the same"
    # The job is done: it has written its source, and deleting that deletes the file.
    claim = store.jobs.claim("w", 60.0)
    assert claim is not None
    assert claim.job.id == job
    source = add_file(fresh.engine, stored, b"the same", "text/plain")
    store.jobs.finish(claim, "done")
    assert (await fresh.client.delete(f"/v1/sources/{source}")).status_code == 204
    assert not stored.exists()


async def test_a_file_is_in_use_until_its_job_is_queued(fresh: Service) -> None:
    """A deletion between storing a file and queueing its job leaves the file."""
    await fresh.client.post("/v1/uploads", files={"file": ("a.txt", b"the same")})
    [stored] = fresh.ingestor.files
    source = add_file(fresh.engine, stored, b"the same", "text/plain")
    record = fresh.engine.library.store.sources.get(source)
    fresh.engine.library.delete_source(source)
    IN_USE.add(stored)
    delete_upload(fresh.engine, record)
    assert stored.exists()
    IN_USE.release([stored])
    delete_upload(fresh.engine, record)
    assert not stored.exists()


async def test_an_uploaded_archive_goes_with_its_last_member(fresh: Service) -> None:
    """A member's bytes lie in the archive: it is deleted when no member is left."""
    await fresh.client.post("/v1/uploads", files={"file": ("a.tar", b"an archive")})
    (path,) = fresh.ingestor.files
    store = fresh.engine.library.store
    collection = store.collections.get("default")
    members = [
        SourceWrite(
            SourceFile(member_uri(uri_of(path), name), f"{path}::{name}", 1, 0), name, "", "r"
        )
        for name in ("x.txt", "y.txt")
    ]
    first, second = store.sources.write(collection.id, members)
    assert (await fresh.client.delete(f"/v1/sources/{first}")).status_code == 204
    assert path.exists()
    assert (await fresh.client.delete(f"/v1/sources/{second}")).status_code == 204
    assert files_in(fresh.engine.library.path / "media") == []


@pytest.mark.parametrize("state", ["queued", "paused"])
async def test_a_file_that_a_job_waits_for_is_kept(fresh: Service, state: str) -> None:
    """The same content was uploaded again, and that upload was acknowledged."""
    await fresh.client.post("/v1/uploads", files={"file": ("a.txt", b"the same words")})
    (path,) = fresh.ingestor.files
    source = add_file(fresh.engine, path, path.read_bytes(), "text/plain")
    store = fresh.engine.library.store
    collection = store.collections.get("default")
    job = store.jobs.enqueue(collection.id, "upload", {"paths": [str(path)]}, max_attempts=3)
    if state == "paused":
        store.jobs.request(job, "pause")
    assert (await fresh.client.delete(f"/v1/sources/{source}")).status_code == 204
    assert path.exists()
