"""Tables of records: JSON lines, Parquet, img2dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from indexer.inputs import tables
from mmsearch.errors import (
    MediaError,
)
from mmsearch.stores.places import content_of, uri_of
from tests.indexer.inputs.conftest import Collection
from tests.support.fakes import a_picture
from tests.support.files import png, shard


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
