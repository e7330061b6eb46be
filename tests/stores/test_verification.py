"""Every kind of fault that is planted in a library is found, and mended."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mmsearch.cli import main
from mmsearch.library import Library
from mmsearch.stores.rows import STALE_RECIPE
from tests.support.fakes import fake_models, open_fake
from tests.support.small_library import fill, note, photo

Plant = Callable[[sqlite3.Connection], object]


def sql(statement: str, *values: object) -> Plant:
    return lambda connection: connection.execute(statement, values)


def both(*plants: Plant) -> Plant:
    return lambda connection: [plant(connection) for plant in plants]


CLIP = "(SELECT id FROM spaces WHERE name = 'clip' AND collection_id = 1)"
TEXT = "(SELECT id FROM spaces WHERE name = 'text' AND collection_id = 1)"
SET_VECTOR = f"UPDATE vectors SET data = ? WHERE segment_id = 1 AND space_id = {CLIP}"
NAN = np.full(64, np.nan, np.float16).tobytes()
FIRST_WORD = "segment_id = (SELECT min(segment_id) FROM segment_words)"

FAULTS: dict[str, tuple[Plant, str]] = {
    "missing vector": (
        sql(f"DELETE FROM vectors WHERE segment_id = 1 AND space_id = {CLIP}"),
        "1 segments have no vector in space 'clip'",
    ),
    "vector of a wrong length": (sql(SET_VECTOR, b"123"), "1 vectors of space 'clip' have a wrong"),
    "zero vector": (sql(SET_VECTOR, bytes(128)), "1 vectors of space 'clip' are zero or not"),
    "vector that is not finite": (sql(SET_VECTOR, NAN), "1 vectors of space 'clip' are zero or"),
    "vector in a space of another collection": (
        sql(
            "INSERT INTO vectors SELECT (SELECT id FROM spaces WHERE name = 'clip' AND "
            f"collection_id = 2), segment_id, data FROM vectors WHERE segment_id = 1 AND "
            f"space_id = {CLIP}"
        ),
        "1 vectors of space 'clip' belong to segments of another collection",
    ),
    "vector in a space of another modality": (
        both(
            sql(
                "INSERT INTO spaces (collection_id, name, model, revision, fingerprint, dimension, "
                "metric, state) VALUES (1, 'sound', 'm', '1', 'f', 64, 'cosine', 'active')"
            ),
            sql(
                "INSERT INTO vectors SELECT (SELECT id FROM spaces WHERE name = 'sound'), "
                f"segment_id, data FROM vectors WHERE segment_id = 1 AND space_id = {CLIP}"
            ),
        ),
        "1 vectors of space 'sound' belong to segments of another collection or modality",
    ),
    "missing words": (
        sql(f"DELETE FROM segment_words WHERE {FIRST_WORD}"),
        "the words of 1 segments are missing",
    ),
    "words of another collection": (
        sql(f"UPDATE segment_words SET collection_id = 2 WHERE {FIRST_WORD}"),
        "the words of 1 segments are stored for another collection",
    ),
    "missing row of FTS": (
        sql(
            "INSERT INTO segment_fts (segment_fts, rowid, words) SELECT 'delete', segment_id, "
            f"words FROM segment_words WHERE {FIRST_WORD}"
        ),
        "full text differs",
    ),
    "missing filter value": (
        sql("DELETE FROM source_values WHERE key = 'camera' AND source_id = 1"),
        "the filter values of 1 sources",
    ),
    "wrong filter value": (
        sql("UPDATE source_values SET text = 'other' WHERE key = 'camera' AND source_id = 1"),
        "the filter values of 1 sources",
    ),
    "metadata that is no JSON": (
        sql("UPDATE sources SET metadata = '{broken' WHERE id = 1"),
        "1 rows of sources have broken JSON in metadata",
    ),
    "metadata that is no object": (
        sql("UPDATE sources SET metadata = '[1]' WHERE id = 1"),
        "1 rows of sources have broken JSON in metadata",
    ),
    "a segment's metadata": (
        sql("UPDATE segments SET metadata = 'x' WHERE id = 1"),
        "1 rows of segments have broken JSON in metadata",
    ),
    "settings of a collection": (
        sql("UPDATE collections SET settings = 'x' WHERE id = 1"),
        "1 rows of collections have broken JSON in settings",
    ),
    "a broken time": (
        sql("UPDATE sources SET indexed_at = 'yesterday' WHERE id = 1"),
        "1 rows of sources have a broken time in indexed_at",
    ),
    "an unknown modality": (
        sql("UPDATE segments SET modality = 'smell' WHERE id = 1"),
        "1 segments have an unknown modality",
    ),
    "vector without segment": (
        sql("INSERT INTO vectors SELECT space_id, 999, data FROM vectors LIMIT 1"),
        "1 rows of vectors have no row of segments",
    ),
    "words without segment": (
        sql("INSERT INTO segment_words VALUES (999, 1, 'text', 1, 'word')"),
        "1 rows of segment_words have no row of segments",
    ),
    "filter value without source": (
        sql("INSERT INTO source_values (source_id, key, place, kind, text) "
            "VALUES (999, 'camera', 0, 'text', 'x')"),
        "1 rows of source_values have no row of sources",
    ),
    "segments without source": (
        sql("DELETE FROM sources WHERE id = 1"),
        "1 rows of segments have no row of sources",
    ),
    "source without collection": (
        sql("UPDATE sources SET collection_id = 77 WHERE id = 1"),
        "1 rows of sources have no row of collections",
    ),
}  # fmt: skip


NOT_SEARCHED = {"an unknown modality"}
"""Such a segment cannot be a hit."""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    with open_fake(folder) as engine:
        fill(
            engine,
            [
                photo("/red.jpg", "a red boat", camera="x"),
                note("/note.txt", "buy bread", "walk", camera="y"),
            ],
        )
        fill(engine, [photo("/other.jpg", "blue")], "other")
        assert engine.library.verify() == {"ok": True, "problems": []}
    return folder


def plant(library: Path, fault: Plant) -> None:
    connection = sqlite3.connect(library / "library.sqlite", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = OFF")
    fault(connection)
    connection.close()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_mended(library: Path, name: str) -> None:
    """One library for each kind. Searching, listing and reindexing go on with the fault in it."""
    fault, message = FAULTS[name]
    plant(library, fault)
    with open_fake(library) as engine:
        if name not in NOT_SEARCHED:
            engine.search("boat", collection="default", facets=["mime"], min_score=0)
            engine.search("boat", collection="default", filter={"camera": "x"}, min_score=0)
        engine.library.store.sources.list()
        problems = engine.library.verify()["problems"]
        assert any(problem.startswith(message) for problem in problems), problems
    with Library.open(library, models=fake_models()) as opened:
        opened.reindex()
        report = opened.status(verify=True, repair=True)
        assert report["verify"]["ok"], report["verify"]
    with open_fake(library) as engine:
        assert engine.library.verify()["ok"]
        engine.search("boat", collection="default", filter={"camera": "x"}, min_score=0)


def test_a_bad_vector_costs_its_row_and_marks_its_source(library: Path) -> None:
    """The others are searched, also while the index is built from SQL."""
    plant(library, sql(SET_VECTOR, b"123"))
    for path in (library / "indexes").rglob("*"):
        if path.is_file():
            path.unlink()
    with open_fake(library) as engine:
        hits = engine.search("bread", collection="default", min_score=0).hits
        assert any(hit.source.path == "/note.txt" for hit in hits)
        known = engine.library.store.sources.by_uri(1, ["file:///red.jpg", "file:///note.txt"])
        assert known["file:///red.jpg"].recipe == STALE_RECIPE
        assert known["file:///note.txt"].recipe != STALE_RECIPE


def test_quick_check_is_run(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SQLite itself says about its file is reported; an index that lacks rows, for example."""
    connection = sqlite3.connect(library / "library.sqlite", isolation_level=None)
    [(root,)] = connection.execute(
        "SELECT rootpage FROM sqlite_master WHERE name = 'ix_sources_content'"
    )
    [(page,)] = connection.execute("PRAGMA page_size")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with (library / "library.sqlite").open("r+b") as file:
        file.seek((root - 1) * page + 3)
        file.write(b"\x00\x00")  # the number of cells in the index's root page
    with open_fake(library) as engine:
        problems = engine.library.verify()["problems"]
    assert any("database file is damaged" in problem for problem in problems), problems


def test_the_command_repairs(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`status --verify` exits with 1, with --repair with 0."""
    plant(library, both(*(FAULTS[name][0] for name in ("missing words", "a broken time"))))

    def run(*options: str) -> int | str | None:
        with pytest.raises(SystemExit) as ended:
            main(["status", *options, "--library", str(library)])
        return ended.value.code

    assert run("--verify") == 1
    assert "broken time" in capsys.readouterr().out
    assert run("--repair") == 2
    assert run("--verify", "--repair") == 0
    assert "repaired" in capsys.readouterr().out
    assert run("--verify") == 0
