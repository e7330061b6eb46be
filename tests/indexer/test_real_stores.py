"""Stores elsewhere through the libraries that reach them: S3 and SFTP servers on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from indexer.runs import RunSummary, index_into
from mmsearch import SearchEngine
from tests.fakes import open_fake
from tests.indexer.test_inputs import png, shard_bytes

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
    return index_into(engine, list(urls), collection=name, **options)


def addresses(engine: SearchEngine, name: str) -> list[str]:
    return sorted(source.uri for source in engine.store.sources(name, limit=100))


# ------------------------------------------------------------------ S3


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an S3 server that s3fs finds by the environment, with a filled bucket."""
    server_of = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    import boto3  # type: ignore[import-not-found,import-untyped,unused-ignore]
    import s3fs  # type: ignore[import-not-found,import-untyped,unused-ignore]

    server = server_of.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="archive")
    for name, content in FILES.items():
        client.put_object(Bucket="archive", Key=name, Body=content)
    s3fs.S3FileSystem.clear_instance_cache()
    yield client
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_a_bucket(shared: SearchEngine, bucket: Any) -> None:
    """Everything below a prefix, a glob, one object; what changed and what went is noticed."""
    counts = taken_in(shared, "bucket", "s3://archive/photos").counts
    assert (counts.indexed, counts.failed) == (4, 0)
    assert addresses(shared, "bucket") == [
        "s3://archive/photos/notes.txt",
        "s3://archive/photos/red.png",
        "s3://archive/photos/shard.tar::m.txt",
        "s3://archive/photos/trip/sea%20%26%20sand/blue.png",
    ]
    again = taken_in(shared, "bucket", "s3://archive/photos").counts
    assert (again.indexed, again.unchanged) == (0, 4)
    assert taken_in(shared, "bucket", "s3://archive/*/*.png").counts.indexed == 1
    hit = shared.search("we rowed to the island", collection="bucket").hits[0]
    assert hit.source.uri == "s3://archive/photos/notes.txt"

    bucket.put_object(Bucket="archive", Key="photos/notes.txt", Body=b"we walked instead, all day")
    bucket.delete_object(Bucket="archive", Key="photos/red.png")
    changed = taken_in(shared, "bucket", "s3://archive/photos", prune=True).counts
    assert (changed.indexed, changed.removed) == (1, 1)


def test_a_bucket_that_is_not_there(shared: SearchEngine, bucket: Any) -> None:
    summary = taken_in(shared, "no bucket", "s3://nowhere/x.png")
    assert summary.counts.failed == 1
    assert [failure.code for failure in summary.failures] == ["missing"]


# ------------------------------------------------------------------ SFTP


@pytest.fixture
def sftp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an SSH server over FILES, which takes the key in this test's home only."""
    paramiko = pytest.importorskip("paramiko")
    from tests.indexer.sftp_server import serve

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
