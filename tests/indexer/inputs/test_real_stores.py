"""Stores elsewhere through the libraries that reach them: servers of each kind on this machine."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from indexer.runs import RunSummary, index_into
from mmsearch import SearchEngine
from tests.support.fakes import open_fake
from tests.support.files import png, shard_bytes

FILES = {
    "photos/red.png": png("red"),
    "photos/trip/sea & sand/blue.png": png("blue"),
    "photos/notes.txt": b"we rowed to the island",
    "photos/.hidden.txt": b"never",
    "photos/shard.tar": shard_bytes({"m.txt": "in the store's shard"}),
    "other/green.png": png("green"),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    """One engine for all; each test has a collection."""
    with open_fake(tmp_path_factory.mktemp("stores") / "library", workers=1) as engine:
        yield engine


def taken_in(engine: SearchEngine, name: str, *urls: str, **options: Any) -> RunSummary:
    return index_into(engine.library, list(urls), collection=name, **options)


def addresses(engine: SearchEngine, name: str) -> list[str]:
    return sorted(source.uri for source in engine.library.store.sources.list(name, limit=100))


# ------------------------------------------------------------------ S3, Google, Azure


@dataclass(frozen=True)
class Bucket:
    """A bucket filled with FILES on a server that the store's library finds by the environment."""

    url: str
    put: Callable[[str, bytes], object]
    delete: Callable[[str], object]


@contextmanager
def s3(monkeypatch: pytest.MonkeyPatch, _folder: Path) -> Iterator[Bucket]:
    server_of = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    import boto3  # type: ignore[import-not-found,import-untyped,unused-ignore]

    server = server_of.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="archive")
    s3fs.S3FileSystem.clear_instance_cache()
    yield Bucket(
        "s3://archive",
        lambda name, content: client.put_object(Bucket="archive", Key=name, Body=content),
        lambda name: client.delete_object(Bucket="archive", Key=name),
    )
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@contextmanager
def google(monkeypatch: pytest.MonkeyPatch, _folder: Path) -> Iterator[Bucket]:
    server_of = pytest.importorskip("gcp_storage_emulator.server")
    # By gRPC with TLS it would first ask what kind of bucket it is, which no emulator answers.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    gcsfs = pytest.importorskip("gcsfs")
    port = free_port()
    # One connection that is kept open would keep all others waiting.
    monkeypatch.setattr(server_of.server, "HTTPServer", ThreadingHTTPServer)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    server = server_of.create_server("127.0.0.1", port, in_memory=True, default_bucket="archive")
    server.start()
    gcsfs.GCSFileSystem.clear_instance_cache()
    client = gcsfs.GCSFileSystem(token="anon", skip_instance_cache=True)
    yield Bucket(
        "gs://archive",
        lambda name, content: client.pipe_file(f"archive/{name}", content),
        lambda name: client.rm_file(f"archive/{name}"),
    )
    gcsfs.GCSFileSystem.clear_instance_cache()
    server.stop()


@contextmanager
def azure(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Bucket]:
    adlfs = pytest.importorskip("adlfs")
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("npm install -g azurite")
    from azure.storage.blob import BlobServiceClient

    port = free_port()
    # Azurite's published account; the key is the same everywhere.
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    told = (
        f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key};"
        f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
    )
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", told)
    server = subprocess.Popen(  # the emulator that was found
        [program, "--blobPort", str(port), "--silent", "--skipApiVersionCheck"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    try:
        await_port(port)
        adlfs.AzureBlobFileSystem.clear_instance_cache()
        client = BlobServiceClient.from_connection_string(told).create_container("archive")
        yield Bucket(
            "az://archive",
            lambda name, content: client.upload_blob(name, content, overwrite=True),
            client.delete_blob,
        )
        adlfs.AzureBlobFileSystem.clear_instance_cache()
    finally:
        server.terminate()
        server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_port(port: int, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


@pytest.fixture(params=[s3, google, azure], ids=lambda made: str(made.__name__))
def bucket(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Bucket]:
    with request.param(monkeypatch, tmp_path) as made:
        for name, content in FILES.items():
            made.put(name, content)
        yield made


def test_a_bucket(shared: SearchEngine, bucket: Bucket) -> None:
    """Everything below a prefix, a glob, one object; what changed and what went is noticed."""
    url, name = bucket.url, bucket.url.partition(":")[0]
    counts = taken_in(shared, name, f"{url}/photos").counts
    assert (counts.indexed, counts.failed) == (4, 0)
    assert addresses(shared, name) == [
        f"{url}/photos/notes.txt",
        f"{url}/photos/red.png",
        f"{url}/photos/shard.tar::m.txt",
        f"{url}/photos/trip/sea%20%26%20sand/blue.png",
    ]
    again = taken_in(shared, name, f"{url}/photos").counts
    assert (again.indexed, again.unchanged) == (0, 4)
    assert taken_in(shared, name, f"{url}/*/*.png").counts.indexed == 1
    hit = shared.search("we rowed to the island", collection=name).hits[0]
    assert hit.source.uri == f"{url}/photos/notes.txt"

    bucket.put("photos/notes.txt", b"we walked instead, all day")
    bucket.delete("photos/red.png")
    changed = taken_in(shared, name, f"{url}/photos", prune=True).counts
    assert (changed.indexed, changed.removed) == (1, 1)


def test_a_bucket_that_is_not_there(shared: SearchEngine, bucket: Bucket) -> None:
    scheme = bucket.url.partition(":")[0]
    summary = taken_in(shared, f"no {scheme}", f"{scheme}://nowhere/x.png")
    assert summary.counts.failed == 1
    assert [failure.code for failure in summary.failures] == ["missing"]


# ------------------------------------------------------------------ SFTP


@pytest.fixture
def sftp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an SSH server over FILES, which takes the key in this test's home only."""
    paramiko = pytest.importorskip("paramiko")
    from tests.support.sftp_server import serve

    root = tmp_path / "served"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    key = paramiko.ECDSAKey.generate()
    key.write_private_key_file(str(home / ".ssh" / "id_ecdsa"))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with serve(root, key) as port:
        yield f"sftp://anna@127.0.0.1:{port}"


def test_a_folder_over_sftp(shared: SearchEngine, sftp: str, tmp_path: Path) -> None:
    """By key; from one's own network only if that is allowed."""
    refused = taken_in(shared, "sftp", f"{sftp}/photos")
    assert [failure.code for failure in refused.failures] == ["refused"]
    with open_fake(tmp_path / "library", workers=1, fetch_private_addresses=True) as engine:
        counts = taken_in(engine, "default", f"{sftp}/photos").counts
        assert (counts.indexed, counts.failed) == (4, 0)
        assert f"{sftp}/photos/trip/sea%20%26%20sand/blue.png" in addresses(engine, "default")
        again = taken_in(engine, "default", f"{sftp}/photos").counts
        assert (again.indexed, again.unchanged) == (0, 4)
        gone = taken_in(engine, "default", f"{sftp}/nowhere")
        assert [failure.code for failure in gone.failures] == ["missing"]


def test_a_key_that_the_server_does_not_know(sftp: str, tmp_path: Path) -> None:
    (tmp_path / "home" / ".ssh" / "id_ecdsa").unlink()
    with open_fake(tmp_path / "library", workers=1, fetch_private_addresses=True) as engine:
        (failure,) = taken_in(engine, "default", f"{sftp}/photos").failures
    assert failure.code in ("network", "unreadable")
    assert "uthenti" in failure.reason
