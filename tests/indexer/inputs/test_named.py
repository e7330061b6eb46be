"""Everything that can be named: lists, shards, tables, URLs, sidecars, ready-made embeddings."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import threading
import tracemalloc
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.embeddings import import_embeddings
from indexer.inputs import tables
from indexer.inputs.named import Inputs, Named, check_named, read_list
from indexer.inputs.shards import ArchiveLimits, members
from indexer.runs import RunSummary, index_into
from mmsearch.errors import (
    DimensionError,
    MediaError,
    MissingDependencyError,
    NotFoundError,
    QueryError,
    SpaceMismatchError,
)
from mmsearch.search.engine import SearchEngine
from mmsearch.stores.places import content_of, is_url, local_path, member_uri, uri_of
from mmsearch.types import Source, SourceFile
from tests.support.fakes import a_picture, open_fake, some_files
from tests.support.files import Files, png, shard, shard_bytes


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    """One engine for all: starting decoding workers takes a while. Each test has a collection."""
    with open_fake(tmp_path_factory.mktemp("inputs") / "library", workers=1) as engine:
        yield engine


class Collection:
    """A collection of a test's own."""

    def __init__(self, engine: SearchEngine, name: str) -> None:
        self.engine, self.name = engine, name

    def index(self, *paths: Path | str, **options: Any) -> RunSummary:
        return index_into(self.engine.library, list(paths), collection=self.name, **options)

    def sources(self) -> dict[str, Source]:
        found = self.engine.library.store.sources.list(self.name, limit=1000)
        return {source.path.rpartition("/")[2]: source for source in found}

    def failures(self) -> dict[str, str]:
        return {
            name: source.failure.code
            for name, source in self.sources().items()
            if source.failure is not None
        }


@pytest.fixture
def collection(shared: SearchEngine, request: pytest.FixtureRequest) -> Collection:
    return Collection(shared, request.node.name[:150])


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


# ------------------------------------------------------------------ shards


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


# ------------------------------------------------------------------ tables


def test_a_table_that_needs_too_much_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many columns, a row group or some rows that are too large: refused."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["heron " * 1000] * 10, "id": list(range(10))}), path)
    assert len(list(tables.records(str(path)))) == 10
    for name, limit in (("MAX_COLUMNS", 1), ("MAX_ROW_GROUP", 100), ("MAX_ROWS_BYTES", 100)):
        with monkeypatch.context() as patched:
            patched.setattr(tables, name, limit)
            with pytest.raises(MediaError) as caught:
                list(tables.records(str(path)))
        assert caught.value.code == "too_large"


def test_json_lines(collection: Collection, tmp_path: Path) -> None:
    """A line is words, a file below the table, or an address; the rest is metadata."""
    a_picture(tmp_path / "pictures" / "red.png", "red")
    (tmp_path / "secret.txt").write_text("outside")
    table = tmp_path / "table" / "t.jsonl"
    table.parent.mkdir()
    a_picture(table.parent / "pictures" / "red.png", "red")
    (table.parent / "link.txt").symlink_to(tmp_path / "secret.txt")
    rows: list[dict[str, Any]] = [
        {"id": "tea", "text": "Boil fresh water.", "tags": ["kitchen"], "n": 3, "nan": None},
        {"text": str(tmp_path / "secret.txt")},
        {"text": "file:///etc/passwd", "id": 7},
        {"path": "pictures/red.png", "caption": "a scarlet square", "taken_at": "2024-05-01"},
        {"path": str(tmp_path / "secret.txt"), "id": "absolute"},
        {"path": "../secret.txt", "id": "parent"},
        {"path": "link.txt", "id": "link"},
        {"path": "pictures/\0.png", "id": "nul"},
        {"path": "https://example.org/x.png", "id": "url as path"},
        {"url": "http://127.0.0.1:1/x.png", "id": "inside"},
        {"url": "file:///etc/passwd", "id": "file"},
        {"id": "nothing"},
        {"id": "../../up", "text": "A name that leads nowhere."},
    ]
    lines = [json.dumps(row) for row in rows]
    table.write_text("\n".join([*lines[:3], "", "{not json", *lines[3:]]), "utf-8")
    summary = collection.index(table)
    found = collection.sources()
    texts = {
        segment.text
        for source in found.values()
        if source.status == "indexed"
        for segment in collection.engine.library.store.segments.of_source(source.id)
    }
    assert texts == {
        "Boil fresh water.",
        str(tmp_path / "secret.txt"),
        "file:///etc/passwd",
        "a scarlet square",
        "A name that leads nowhere.",
    }
    codes = {Path(f.path).name.partition("::")[2]: f.code for f in summary.failures}
    assert codes == {
        "5": "corrupt",
        "absolute": "refused",
        "parent": "refused",
        "link": "refused",
        "nul": "refused",
        "url as path": "refused",
        "inside": "refused",
        "file": "refused",
        "nothing": "empty",
    }
    red = found["red.png"]
    assert red.uri == uri_of(table.parent / "pictures" / "red.png")
    assert (red.metadata["caption"], red.metadata["taken_at"]) == ("a scarlet square", "2024-05-01")
    tea = found["t.jsonl::tea"]
    assert tea.metadata == {"tags": ["kitchen"], "n": 3, "key": "tea"}
    # What is not a file of its own is never served as one.
    for source in found.values():
        if source.id != red.id:
            assert content_of(source) is None
    again = collection.index(table).counts
    assert (again.indexed, again.unchanged) == (0, 5)
    rows[0]["n"] = 4
    table.write_text("\n".join(json.dumps(row) for row in rows[:4]), "utf-8")
    counts = collection.index(table, prune=True).counts
    assert collection.sources()["t.jsonl::tea"].metadata["n"] == 4
    assert counts.indexed == 1


def test_parquet_with_bytes_and_captions(collection: Collection, tmp_path: Path) -> None:
    """As img2dataset and the datasets library write it."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    flat = tmp_path / "00000.parquet"
    pq.write_table(
        pa.table(
            {
                "jpg": [png("red"), png("green"), b"\0\1\2\3" * 40],
                "caption": ["a red kite", None, "x"],
                "key": ["000", "001", "002"],
                "url": ["http://10.0.0.1/never-asked.jpg"] * 3,
                "score": [0.5, float("nan"), 1.0],
            }
        ),
        flat,
    )
    nested = tmp_path / "nested.parquet"
    pq.write_table(
        pa.table({"image": [{"bytes": png("blue"), "path": "b.png"}], "text": ["a blue kite"]}),
        nested,
    )
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 no table")
    summary = collection.index(flat, nested, broken)
    assert (summary.counts.indexed, summary.counts.failed) == (3, 2)
    found = collection.sources()
    assert found["00000.parquet::000"].metadata["caption"] == "a red kite"
    assert found["00000.parquet::000"].metadata["score"] == 0.5
    assert "score" not in found["00000.parquet::001"].metadata
    assert found["nested.parquet::0"].metadata["caption"] == "a blue kite"
    assert {f.code for f in summary.failures} == {"corrupt", "unsupported"}
    assert collection.index(flat).counts.unchanged == 2


def test_img2dataset_folders(collection: Collection, tmp_path: Path) -> None:
    """The tables beside a tar only describe it; a list of records in a folder is a text."""
    folder = tmp_path / "data"
    shard(folder / "00000.tar", {"0.png": png("red"), "0.txt": "red"})
    (folder / "00000.parquet").write_bytes(b"what img2dataset knows")
    (folder / "00000_stats.json").write_text("{}")
    (folder / "notes.jsonl").write_text('{"text": "hello"}\n')
    counts = collection.index(folder).counts
    assert (counts.seen, counts.failed) == (2, 0)
    assert sorted(collection.sources()) == ["00000.tar::0.png", "notes.jsonl"]


# ------------------------------------------------------------------ sidecars

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmp:Rating="4"><dc:subject><rdf:Bag><rdf:li>harbour</rdf:li><rdf:li>night</rdf:li></rdf:Bag>
 </dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"""


def test_what_stands_beside_a_file(collection: Collection, tmp_path: Path) -> None:
    """Sidecars add metadata and are no sources; a change in one is noticed."""
    folder = tmp_path / "files"
    picture = a_picture(folder / "a.png", "red")
    a_picture(folder / "b.png", "blue")
    a_picture(folder / "c.png", "green")
    (folder / "a.png.json").write_text('{"caption": "our red door", "tags": ["home"]}')
    (folder / "b.xmp").write_text(XMP)
    (folder / "c.json").write_text("[1, 2]")  # no object: somebody's data
    (folder / "lonely.json").write_text('{"title": "No picture"}')
    counts = collection.index(folder).counts
    assert (counts.indexed, counts.failed) == (5, 0)
    found = collection.sources()
    assert sorted(found) == ["a.png", "b.png", "c.json", "c.png", "lonely.json"]
    assert found["a.png"].metadata["caption"] == "our red door"
    assert found["a.png"].metadata["tags"] == ["home"]
    assert found["b.png"].metadata["keywords"] == ["harbour", "night"]
    assert found["b.png"].metadata["rating"] == 4
    hits = collection.engine.search("our red door", collection=collection.name).hits
    assert hits[0].source.path == str(picture)
    (folder / "a.png.json").write_text('{"tags": ["garden"]}')
    assert collection.index(folder).counts.indexed == 1
    metadata = collection.sources()["a.png"].metadata
    assert (metadata["tags"], "caption" in metadata) == (["garden"], False)
    (folder / "a.png.json").unlink()
    collection.index(folder)
    assert "tags" not in collection.sources()["a.png"].metadata


def test_a_sidecar_that_is_a_bomb(collection: Collection, tmp_path: Path) -> None:
    """Deep, long, or full of entities: left out, and the picture is taken in all the same."""
    entities = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>' + XMP
    bombs = {
        "deep.png.json": '{"a":' * 90_000 + "1" + "}" * 90_000,
        "long.png.json": json.dumps({"a": "x" * 2_000_000}),
        "many.png.json": json.dumps({str(n): "y" * 900 for n in range(900)}),
        "entities.xmp": entities,
        "junk.xmp": "\0\1\2<<<",
    }
    for name, content in bombs.items():
        a_picture(tmp_path / f"{name.split('.')[0]}.png", "red")
        (tmp_path / name).write_text(content)
    collection.index(*sorted(tmp_path.glob("*.png")))
    for source in collection.sources().values():
        assert source.status == "indexed"
        assert len(json.dumps(dict(source.metadata))) < 70_000
        assert "keywords" not in source.metadata


# ------------------------------------------------------------------ lists and URLs


@pytest.mark.parametrize("end", ["\n", "\0", "\r\n"])
def test_lists_of_names(collection: Collection, tmp_path: Path, end: str) -> None:
    """Files, folders and shards, one a line; what is missing is told."""
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
    """Told before a library is made."""
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


# ------------------------------------------------------------------ embeddings


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


def test_in_file_xmp(collection: Collection, tmp_path: Path) -> None:
    """A packet inside of the picture is read like EXIF."""
    from PIL import Image

    path = tmp_path / "x.webp"
    Image.new("RGB", (30, 30), "red").save(path, xmp=XMP.encode())
    collection.index(path)
    metadata = collection.sources()["x.webp"].metadata
    assert (metadata["keywords"], metadata["rating"]) == (["harbour", "night"], 4)


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
