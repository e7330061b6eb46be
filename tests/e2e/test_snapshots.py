"""The FAISS files are a cache: whatever happens to them, the answers stay the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from indexer.runs import index_into
from mmsearch.query import SearchResult
from tests.e2e.test_kill import ROOT
from tests.support.fakes import a_picture, open_fake, some_files

QUERIES = ("something red", "a blue thing", "an old boat", "water for tea")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    made = tmp_path / "library"
    with open_fake(made) as engine:
        index_into(engine.library, [some_files(tmp_path / "files")])
    return made


def answers(library: Path) -> tuple[list[list[tuple[int, float]]], list[str]]:
    """Ids and scores of the hits of every query, and the warnings."""
    with open_fake(library) as engine:
        results: list[SearchResult] = [engine.search(query) for query in QUERIES]
    hits = [[(hit.segment.id, round(hit.score, 6)) for hit in result.hits] for result in results]
    return hits, [warning for result in results for warning in result.warnings]


def snapshots(library: Path) -> list[Path]:
    return sorted((library / "indexes").glob("*.index"))


def test_a_whole_library_warns_of_nothing(library: Path) -> None:
    """The reference for all that follows: snapshots are there, and loaded as they are."""
    assert len(snapshots(library)) >= 3
    hits, warnings = answers(library)
    assert all(hits)
    assert warnings == []


def test_deleting_every_snapshot_changes_no_answer(library: Path) -> None:
    """They are built again from SQL, and the user is told."""
    before, _ = answers(library)
    for path in snapshots(library):
        path.unlink()
    after, warnings = answers(library)
    assert after == before
    assert any("no index snapshot" in warning for warning in warnings)


def test_a_truncated_snapshot_is_refused_and_rebuilt(library: Path) -> None:
    """The warning says what was wrong with it."""
    before, _ = answers(library)
    for path in snapshots(library):
        path.write_bytes(path.read_bytes()[:-7])
    after, warnings = answers(library)
    assert after == before
    assert any("refused and rebuilt" in warning for warning in warnings)


def test_every_client_is_warned_of_a_refused_snapshot(library: Path) -> None:
    """Neither a search nor the status takes the warning away from others."""
    for path in snapshots(library):
        path.write_bytes(path.read_bytes()[:-7])
    with open_fake(library) as engine:
        warnings = engine.library.status()["warnings"]
        assert len(warnings) == len(snapshots(library))
        for query in QUERIES:
            assert engine.search(query).warnings == tuple(warnings)
        assert engine.library.status()["warnings"] == warnings


def test_a_snapshot_of_another_model_is_refused(library: Path, tmp_path: Path) -> None:
    """Swapped in from a library made with other weights."""
    before, _ = answers(library)
    other = tmp_path / "other"
    with open_fake(other, revision="2") as engine:
        index_into(engine.library, [tmp_path / "files"])
    for path in snapshots(library):
        shutil.copy(other / "indexes" / path.name, path)
    after, warnings = answers(library)
    assert after == before
    assert any("refused" in warning for warning in warnings)


def test_a_snapshot_ahead_of_the_database_is_refused(library: Path, tmp_path: Path) -> None:
    """The database was restored from a backup: newer snapshots know rows that are gone."""
    backup = tmp_path / "backup.sqlite"
    shutil.copy(library / "library.sqlite", backup)
    before, _ = answers(library)
    a_picture(tmp_path / "files/pictures/new.png", "red")
    with open_fake(library) as engine:
        index_into(engine.library, [tmp_path / "files"])
    for name in ("library.sqlite", "library.sqlite-wal", "library.sqlite-shm"):
        (library / name).unlink(missing_ok=True)
    shutil.copy(backup, library / "library.sqlite")
    after, warnings = answers(library)
    assert after == before
    assert any("ahead of the database" in warning for warning in warnings)


def test_reindex_builds_and_publishes_anew(library: Path) -> None:
    """`mmsearch reindex` counts the generation up and changes no answer."""
    before, _ = answers(library)
    with open_fake(library) as engine:
        old = engine.library.status()["index"]["clip"]["generation"]
        engine.library.reindex()
        assert engine.library.status()["index"]["clip"]["generation"] == old + 1
    assert answers(library)[0] == before


def test_another_process_is_followed_within_a_second(library: Path, tmp_path: Path) -> None:
    """A run of another process shows up in an engine that follows, and so does a delete."""
    new = tmp_path / "new"
    a_picture(new / "purple.png", "purple")
    command = [sys.executable, "-m", "tests.e2e.fake_index", str(library), str(new)]
    with open_fake(library, follow_seconds=0.1) as engine, open_fake(library) as other:
        engine.start_following()
        committed = threading.Event()
        seen_after: list[float] = []

        def watch() -> None:
            """Note how long after the commit the engine's index has the new picture."""
            size = engine.library.status()["index"]["clip"]["size"]
            while engine.library.indexes.stats()["clip"]["size"] == size:
                if committed.is_set():
                    seen_after.append(time.monotonic())
                time.sleep(0.02)
            seen_after.append(time.monotonic())

        before = other.library.store.changes.last_id()
        watcher = threading.Thread(target=watch)
        watcher.start()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        while other.library.store.changes.last_id() == before:
            time.sleep(0.01)
        committed.set()
        at = time.monotonic()
        process.wait(timeout=60)
        watcher.join(timeout=10)
        assert seen_after[-1] - at < 1.0
        hit = engine.search("purple", modality="image").hits[0]
        assert hit.source.path.endswith("purple.png")
        other.library.delete_source(hit.source.id)
        deadline = time.monotonic() + 1.0
        while engine.library.indexes.problems() and time.monotonic() < deadline:
            time.sleep(0.02)
        hits = engine.search("purple", modality="image").hits
        assert all(not h.source.path.endswith("purple.png") for h in hits)


def test_a_deleted_source_is_gone_at_once(library: Path) -> None:
    """Delete, search: no hit of it, not even as the only candidate."""
    with open_fake(library) as engine:
        hit = engine.search("red", modality="image").hits[0]
        engine.library.delete_source(hit.source.id)
        left = engine.search("red", modality="image", limit=100).hits
    assert hit.segment.id not in {one.segment.id for one in left}
    assert len(left) == 2
