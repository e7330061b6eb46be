"""Lists of names, URLs, and ready-made embeddings."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.embeddings import import_embeddings
from indexer.inputs.named import Named, check_named, read_list
from indexer.runs import RunSummary, index_into
from mmsearch.errors import (
    DimensionError,
    MissingDependencyError,
    NotFoundError,
    QueryError,
    SpaceMismatchError,
)
from mmsearch.stores.places import content_of, is_url, local_path, member_uri, uri_of
from tests.indexer.inputs.conftest import Collection
from tests.support.fakes import a_picture, open_fake, some_files
from tests.support.files import png, shard, shard_bytes


@pytest.mark.parametrize("end", ["\n", "\0", "\r\n"])
def test_lists_of_names(collection: Collection, tmp_path: Path, end: str) -> None:
    """Files, folders and shards, one a line; what is missing is reported."""
    folder = some_files(tmp_path / "files")
    path = shard(tmp_path / "a.tar", {"x.txt": "in a shard"})
    names = [
        str(folder / "tea.md"),
        str(folder / "pictures"),
        str(path),
        str(tmp_path / "gone"),
        "",
    ]
    stream = io.BytesIO(end.join(names).encode())
    summary = collection.index(listed=read_list(stream))
    assert summary.counts.indexed == 5
    assert [f.code for f in summary.failures] == ["missing"]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def website(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "site"
    a_picture(folder / "red.png", "red")
    (folder / "note.txt").write_text("A note from elsewhere.")
    shard(folder / "s.tar", {"m.txt": "Inside of a shard elsewhere.", "0.png": png("cyan")})

    def handler(*given: Any) -> _Quiet:
        return _Quiet(*given, directory=str(folder))

    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_web_addresses(tmp_path: Path, website: str) -> None:
    """Refused by default; with the setting, fetched, and fetched again only if they changed."""
    urls = [f"{website}/{name}" for name in ("red.png", "note.txt", "s.tar", "gone.txt")]
    library = tmp_path / "library"
    with open_fake(library, workers=1) as engine:
        summary = index_into(engine.library, urls)
        assert {f.code for f in summary.failures} == {"refused"}
        assert summary.counts.failed == 4
    with open_fake(library, workers=1, fetch_private_addresses=True) as engine:
        summary = index_into(engine.library, urls, retry_failed=True)
        assert summary.counts.indexed == 4
        assert [f.code for f in summary.failures] == ["missing"]
        assert engine.search("note from elsewhere").hits[0].source.uri == urls[1]
        sources = {source.uri: source for source in engine.library.store.sources.list(limit=10)}
        assert content_of(sources[urls[0]]) is None
        assert sources[f"{urls[2]}::m.txt"].status == "indexed"
        again = index_into(engine.library, urls[:3]).counts
        assert (again.unchanged, again.indexed) == (4, 0)
        assert list((library / "spool").iterdir()) == []


def test_stores_by_fsspec(collection: Collection) -> None:
    """Files, folders and globs of any file system that fsspec knows; here one in memory."""
    import fsspec

    memory = fsspec.filesystem("memory")
    for name, content in {
        "a/red.png": png("red"),
        "a/b/n.txt": b"words",
        "a/.x.txt": b"no",
    }.items():
        memory.pipe(f"/bucket/{name}", content)
    memory.pipe("/bucket/a/s.tar", shard_bytes({"m.txt": "in the store's shard"}))
    assert collection.index("memory://bucket/a").counts.indexed == 3
    assert sorted(s.uri for s in collection.sources().values()) == [
        "memory://bucket/a/b/n.txt",
        "memory://bucket/a/red.png",
        "memory://bucket/a/s.tar::m.txt",
    ]
    again = collection.index("memory://bucket/a/*.png", "memory://bucket/gone").counts
    assert (again.unchanged, again.failed) == (1, 1)
    memory.rm("/bucket/a/b/n.txt")
    assert collection.index("memory://bucket/a", prune=True).counts.removed == 1


def test_urls_that_nothing_can_read(tmp_path: Path) -> None:
    """Reported before a library is made."""
    for url in ("gopher://x/y", "simplecache::http://x/", "ftp://x/y"):
        with pytest.raises((QueryError, NotFoundError)):
            check_named(Named((url,)))
    with pytest.raises((MissingDependencyError, QueryError), match="s3"):
        check_named(Named(("s3x://bucket/x",)))
    assert is_url("s3://a/b")
    assert not is_url("/a/b")
    assert not is_url("file:///a")
    assert Named(("file:///a%20b",)).local == ["/a b"]


def test_members_have_names_of_their_own(tmp_path: Path) -> None:
    """A file whose name looks like a member's cannot be taken for one."""
    odd = tmp_path / "a.tar::b"
    odd.write_text("x")
    assert "::" not in uri_of(odd)
    assert local_path(uri_of(odd)) == str(odd)
    inside = member_uri(uri_of(tmp_path / "a.tar"), "b")
    with pytest.raises(ValueError, match="not the URI"):
        local_path(inside)


def test_ready_made_embeddings(collection: Collection, tmp_path: Path) -> None:
    """Found by words and by likeness like any picture; another model's are refused."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    engine = collection.engine
    clip = engine.library.models("nano").clip
    colours = ["red", "green", "blue"]
    vectors = clip.encode_texts([f"a {colour} picture" for colour in colours], "document") * 3
    for folder in ("img_emb", "metadata"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "img_emb" / "img_emb_0.npy", vectors.astype(np.float16))
    table = pa.table(
        {
            "image_path": ["/etc/passwd", "/data/green.jpg", "blue.png"],
            "caption": ["a scarlet barn", None, "the sea"],
            "key": ["r", "g", "b"],
        }
    )
    pq.write_table(table, tmp_path / "metadata" / "metadata_0.parquet")
    name = clip.space.model

    def run(model: str) -> RunSummary:
        return import_embeddings(engine.library, tmp_path, model, collection=collection.name)

    with pytest.raises(SpaceMismatchError, match="do not compare"):
        run("ViT-L-14")
    assert run(name).counts.indexed == 3
    assert run(clip.space.fingerprint).counts.unchanged == 3
    found = collection.sources()
    assert {source.mime for source in found.values()} == {"", "image/jpeg", "image/png"}
    assert all(content_of(source) is None for source in found.values())
    words = engine.search("the sea", collection=collection.name).hits
    assert words[0].source.id == found["metadata_0.parquet::b"].id
    colour = engine.search(image=png("green"), collection=collection.name).hits
    assert colour[0].source.id == found["metadata_0.parquet::g"].id
    np.save(tmp_path / "img_emb" / "img_emb_0.npy", vectors[:, :16])
    with pytest.raises(DimensionError, match="64 dimensions"):
        run(name)
    np.save(tmp_path / "img_emb" / "img_emb_0.npy", vectors[:2])
    with pytest.raises(QueryError, match="2 rows"):
        run(name)
    np.save(tmp_path / "img_emb" / "img_emb_0.npy", np.array([{}] * 3, object), allow_pickle=True)
    with pytest.raises(QueryError, match="cannot be read"):
        run(name)
    with pytest.raises(QueryError, match="holds no img_emb"):
        import_embeddings(engine.library, tmp_path / "metadata", name, collection=collection.name)


def test_failed_files_are_tried_again_on_request(collection: Collection, tmp_path: Path) -> None:
    """Only then, or when the recipe has changed; what has been repaired meanwhile comes in."""
    folder = some_files(tmp_path / "files")
    (folder / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    shard(folder / "s.tar", {"bad.png": b"\x89PNG\r\n\x1a\n", "n.txt": "good"})
    assert collection.index(folder).counts.failed == 2
    first = {s.path: s.indexed_at for s in collection.sources().values() if s.failure}
    assert collection.index(folder).counts.failed == 2
    assert {s.path: s.indexed_at for s in collection.sources().values() if s.failure} == first
    summary = collection.index(retry_failed=True)
    assert (summary.counts.failed, summary.counts.seen) == (2, 3)  # the shard's good one too
    again = {s.path: s.indexed_at for s in collection.sources().values() if s.failure}
    assert all(again[path] > first[path] for path in first)


def test_base64_is_text(collection: Collection, tmp_path: Path) -> None:
    """A picture in a text column stays text."""
    table = tmp_path / "t.jsonl"
    table.write_text(
        json.dumps({"text": "data:image/png;base64," + base64.b64encode(png("red")).decode()})
    )
    collection.index(table)
    (source,) = collection.sources().values()
    assert source.mime == "text/plain"


def test_what_systems_add_to_a_shard_is_left_out(collection: Collection, tmp_path: Path) -> None:
    """As in a folder: resource forks of macOS, bins, thumbnails, hidden folders."""
    names = ("__MACOSX/._note.txt", "@eaDir/x.txt", "a/.git/config.txt", "a/._note.txt",
             "$RECYCLE.BIN/x.txt", "./one.txt", "../a/two.txt")  # fmt: skip
    path = shard(tmp_path / "a.tar", {name: f"Words of {name}." for name in names})
    collection.index(path)
    assert sorted(collection.sources()) == ["one.txt", "two.txt"]
