"""Tar shards: members, metadata beside them, and hostile ones."""

from __future__ import annotations

import io
import json
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from indexer.inputs.named import Inputs, Named
from indexer.inputs.shards import ArchiveLimits, members
from mmsearch.stores.places import content_of, uri_of
from mmsearch.types import SourceFile
from tests.indexer.inputs.conftest import Collection
from tests.support.fakes import open_fake
from tests.support.files import Files, png, shard

WEBDATASET: Files = {
    "000/0001.png": png("red"),
    "000/0001.txt": "a red boat",
    "000/0001.json": json.dumps({"caption": "ignored: the .txt is nearer", "licence": "CC0"}),
    "000/0002.png": png("blue"),
    "000/0002.json": json.dumps({"caption": "a blue door", "width": 40}),
    "notes.txt": "A note by itself is content.",
    "broken.jpg": b"\xff\xd8\xff nothing",
    ".hidden.png": png("green"),
}


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_webdataset_shard(collection: Collection, tmp_path: Path, mode: str) -> None:
    """Members are sources with captions and metadata; a second run finds them unchanged."""
    path = shard(tmp_path / ("a.tar" if mode == "w" else "a.tar.gz"), WEBDATASET, mode)
    counts = collection.index(path).counts
    assert (counts.indexed, counts.failed) == (3, 1)
    found = collection.sources()
    red = found["0001.png"]
    assert red.uri == f"{uri_of(path)}::000/0001.png"
    assert red.path == f"{path}::000/0001.png"
    assert red.metadata["caption"] == "a red boat"
    assert red.metadata["licence"] == "CC0"
    assert found["0002.png"].metadata["caption"] == "a blue door"
    assert collection.failures() == {f"{path.name}::broken.jpg": "corrupt"}
    hits = collection.engine.search("a blue door", collection=collection.name).hits
    assert hits[0].source.id == found["0002.png"].id
    again = collection.index(path).counts
    assert (again.unchanged, again.failed, again.vectors) == (3, 1, 0)
    content = content_of(red)
    if mode == "w":
        assert content is not None
        data = path.read_bytes()[content.offset :][: content.size]
        assert data == WEBDATASET["000/0001.png"]
    else:
        assert content is None


def test_a_changed_shard_loses_and_gains_members(collection: Collection, tmp_path: Path) -> None:
    """With prune, members that are not in it any more go; an old offset is never trusted."""
    path = shard(tmp_path / "files/a.tar", WEBDATASET)
    collection.index(tmp_path / "files")
    old = collection.sources()["0002.png"]
    shard(path, {"000/0001.png": png("red"), "000/0003.png": png("cyan")})
    assert content_of(old) is None
    counts = collection.index(tmp_path / "files", prune=True).counts
    assert counts.removed == 3
    assert sorted(collection.sources()) == ["0001.png", "0003.png"]


def test_what_lies_in_a_hostile_shard(collection: Collection, tmp_path: Path) -> None:
    """Links, devices and names that lead out are names only; nothing is unpacked anywhere."""
    path = tmp_path / "files" / "evil.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        for name, kind in (("link", tarfile.SYMTYPE), ("pipe", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        info = tarfile.TarInfo("../../../../escaped.txt")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"text"))
    before = sorted(tmp_path.rglob("*"))
    collection.index(path)
    assert list(collection.sources()) == ["escaped.txt"]
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent / "escaped.txt").exists()


def test_a_shard_that_is_a_bomb(tmp_path: Path) -> None:
    """Too much unpacked, too many members, a header that announces gigabytes."""
    bomb = shard(tmp_path / "bomb.tar.gz", {"a.txt": b"x", "b.txt": b"\0" * 5_000_000}, "w:gz")
    many = shard(tmp_path / "many.tar", {f"{n}.txt": "x" for n in range(50)})
    lying = tmp_path / "lying.tar"
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 8 * 2**30
    lying.write_bytes(info.tobuf() + b"x" * 1024)
    cut = tmp_path / "cut.tar"
    cut.write_bytes(shard(tmp_path / "whole.tar", WEBDATASET).read_bytes()[:1000])
    problems: dict[str, str] = {}
    with open_fake(tmp_path / "library", max_archive_mb=1, max_archive_members=10) as engine:
        inputs = Inputs(engine.settings, lambda p: problems.__setitem__(Path(p.path).name, p.code))
        items = list(inputs.items(Named((bomb, many, lying, cut))))
    assert problems == {
        "bomb.tar.gz": "too_large",
        "many.tar": "too_large",
        "lying.tar": "corrupt",
        "cut.tar": "corrupt",
    }
    assert len(items) >= 10


@pytest.mark.parametrize(
    ("count", "size"),
    [(200, 2**20), (40, 8 * 2**20), (5000, 2**14)],
    ids=["many", "large", "small"],
)
def test_a_group_of_members_is_bounded(tmp_path: Path, count: int, size: int) -> None:
    """However many members share a key, few of them are in memory at once."""
    path = shard(tmp_path / "a.tar.gz", {f"a.{n}.bin": b"\0" * size for n in range(count)}, "w:gz")
    file = SourceFile(uri_of(path), str(path), 1, 1)
    tracemalloc.start()
    try:
        total = 0
        for item in members(str(path), ArchiveLimits(10**6, 2**40), file, stays=True):
            total += 1
            del item
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == count
    assert peak < 100 * 2**20
