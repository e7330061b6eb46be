"""`--prune`: deleted files leave the library, files of an absent disk do not."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from indexer.presence import RECORD
from indexer.runs import RunSummary, index_into
from indexer.watch import FolderWatch
from tests.support.fakes import open_fake
from tests.support.library import contents


def a_disk(mnt: Path, count: int = 5) -> Path:
    """`mnt/disk` with some notes, one in a folder below."""
    disk = mnt / "disk"
    (disk / "sub").mkdir(parents=True)
    for n in range(count - 1):
        (disk / f"{n}.txt").write_text(f"Note number {n} of the disk.")
    (disk / "sub" / "last.txt").write_text("The last note of the disk.")
    return disk


def items_kept(library: Path) -> list[str]:
    """The folders that the newest run has recorded as kept."""
    with open_fake(library) as engine:
        runs = engine.library.store.runs
        (newest,) = engine.library.store.jobs.list(limit=1)
        return [item.path for item in runs.items(newest.id) if item.outcome == "kept"]


def prune(library: Path, *roots: Path, empty: bool = False) -> RunSummary:
    with open_fake(library, workers=1) as engine:
        return index_into(engine.library, list(roots), prune=True, prune_empty=empty)


def unmount(disk: Path) -> Path:
    """As an unmounted disk looks: an empty folder. Returns where its files are."""
    away = disk.parent.parent / "away"
    disk.rename(away)
    disk.mkdir()
    return away


def remove_mount_point(disk: Path) -> None:
    unmount(disk)
    disk.rmdir()


def leave_empty_folders(disk: Path) -> None:
    unmount(disk)
    (disk / "sub").mkdir()
    (disk / ".mount-marker").touch()


def link_to_nowhere(disk: Path) -> None:
    unmount(disk)
    disk.rmdir()
    disk.symlink_to("/nowhere/at/all")


@pytest.mark.parametrize(
    "absent", [unmount, remove_mount_point, leave_empty_folders, link_to_nowhere]
)
@pytest.mark.parametrize("named", ["disk", "mnt"])
def test_an_absent_disk_keeps_its_sources(
    tmp_path: Path, absent: Callable[[Path], object], named: str
) -> None:
    """Nothing is removed, the summary says so, and what is mounted again is unchanged."""
    disk = a_disk(tmp_path / "mnt")
    root = disk if named == "disk" else disk.parent
    library = tmp_path / "library"
    other = tmp_path / "other"
    other.mkdir()
    (other / "here.txt").write_text("Another place.")
    prune(library, root, other)
    absent(disk)
    summary = prune(library, root, other)
    assert summary.counts.removed == 0
    assert len(contents(library)) == 6
    (warning,) = summary.warnings
    assert "5 of its sources" in warning
    assert summary.to_json()["warnings"] == [warning]
    (kept,) = items_kept(library)
    assert warning.startswith(kept)
    if disk.is_symlink():
        disk.unlink()
    shutil.rmtree(disk, ignore_errors=True)
    (tmp_path / "away").rename(disk)
    again = prune(library, root, other)
    assert (again.counts.unchanged, again.counts.removed, again.warnings) == (6, 0, ())


def test_the_user_may_confirm(tmp_path: Path) -> None:
    """`--prune-empty` removes what an emptied folder held."""
    disk = a_disk(tmp_path / "mnt")
    library = tmp_path / "library"
    prune(library, disk)
    unmount(disk)
    summary = prune(library, disk, empty=True)
    assert (summary.counts.removed, summary.warnings) == (5, ())
    assert contents(library) == {}


def test_what_was_deleted_is_removed(tmp_path: Path) -> None:
    """One of five files, then a folder whose parent shows other files."""
    disk = a_disk(tmp_path / "mnt")
    library = tmp_path / "library"
    prune(library, disk)
    (disk / "0.txt").unlink()
    assert prune(library, disk).counts.removed == 1
    shutil.rmtree(disk / "sub")
    summary = prune(library, disk)
    assert (summary.counts.removed, summary.warnings) == (1, ())


def test_another_disk_in_the_same_place(tmp_path: Path) -> None:
    """A folder on another device, with other files: nothing is removed. If it has the same files,
    the same disk was mounted again."""
    disk = a_disk(tmp_path / "mnt")
    library = tmp_path / "library"
    prune(library, disk.parent)
    recorded = json.loads((library / RECORD).read_text())
    assert recorded == {str(disk.parent): disk.parent.stat().st_dev}
    other_device = recorded[str(disk.parent)] + 1
    (library / RECORD).write_text(json.dumps({str(disk): other_device}))
    unmount(disk)
    (disk / "other.txt").write_text("A note of another disk.")
    summary = prune(library, disk.parent)
    assert summary.counts.removed == 0
    assert "another device" in summary.warnings[0]
    assert json.loads((library / RECORD).read_text())[str(disk)] == other_device
    shutil.rmtree(disk)
    (tmp_path / "away").rename(disk)
    (disk / "0.txt").unlink()
    assert prune(library, disk).counts.removed == 2  # and the other disk's note
    assert json.loads((library / RECORD).read_text())[str(disk)] == disk.stat().st_dev


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_folder_that_cannot_be_listed_keeps_its_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Not even `--prune-empty` removes what lies below it; elsewhere the run goes on."""
    disk = a_disk(tmp_path / "mnt")
    library = tmp_path / "library"
    prune(library, disk)
    (disk / "0.txt").unlink()
    (disk / "sub" / "last.txt").unlink()
    scandir = os.scandir

    def failing(path: str) -> object:
        if str(path).endswith("sub"):
            raise OSError(code, os.strerror(code))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    summary = prune(library, disk, empty=True)
    assert summary.counts.removed == 1
    assert "cannot be read" in summary.warnings[0]
    assert str(disk / "sub/last.txt") in contents(library)


def test_a_table_without_records_keeps_its_sources(tmp_path: Path) -> None:
    """A table that is read to its end and has no record any more is a place that is empty."""
    table = tmp_path / "notes.jsonl"
    lines = [json.dumps({"id": n, "text": f"record {n}"}) + "\n" for n in range(3)]
    table.write_text("".join(lines))
    library = tmp_path / "library"
    prune(library, table)
    table.write_text("")
    assert prune(library, table).counts.removed == 0
    table.write_text("".join(lines[:2]))
    assert prune(library, table).counts.removed == 1


def watched(library: Path, folder: Path, act: Callable[[], object] = lambda: None) -> set[str]:
    """The files in a library after it has followed a folder, in which something happened."""
    other = library.parent / "watched"
    other.mkdir()
    with open_fake(library, workers=1) as engine:
        runs: list[object] = []
        watch = FolderWatch(engine.library, [folder, other], settle_seconds=0.1, on_run=runs.append)
        thread = threading.Thread(target=watch.run)
        thread.start()
        end = time.monotonic() + 60
        while not runs and time.monotonic() < end:
            time.sleep(0.05)
        act()
        (other / "marker.txt").write_text("All changes before this file have been seen.")
        while len(runs) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        watch.end()
        thread.join(30)
        assert len(runs) >= 2
    return {Path(path).name for path in contents(library)}


@pytest.mark.parametrize("absent", [unmount, remove_mount_point, leave_empty_folders])
@pytest.mark.parametrize("named", ["disk", "mnt"])
def test_watching_does_not_empty_the_library(
    tmp_path: Path, absent: Callable[[Path], object], named: str
) -> None:
    """A disk that is absent when watching begins keeps its sources."""
    disk = a_disk(tmp_path / "mnt")
    root = disk if named == "disk" else disk.parent
    library = tmp_path / "library"
    prune(library, root)
    absent(disk)
    if not root.exists():
        root.mkdir()
    assert watched(library, root) >= {"0.txt", "1.txt", "2.txt", "3.txt", "last.txt"}


def test_a_disk_that_leaves_while_it_is_watched(tmp_path: Path) -> None:
    """Its folder disappears from an otherwise empty folder: its sources are kept."""
    disk = a_disk(tmp_path / "mnt")
    library = tmp_path / "library"
    files = watched(library, disk.parent, lambda: remove_mount_point(disk))
    assert files >= {"0.txt", "1.txt", "2.txt", "3.txt", "last.txt"}
