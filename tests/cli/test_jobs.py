"""Jobs, workers and failures on the command line, as their users see them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from indexer.jobs import Worker
from indexer.runs import index_into
from mmsearch.errors import FAILURES
from tests.support.command import called
from tests.support.fakes import open_fake, some_files


@pytest.fixture
def library(tmp_path: Path, migrated: Path) -> Path:
    """An empty library with a collection."""
    folder = tmp_path / "library"
    folder.mkdir()
    shutil.copy(migrated, folder / "library.sqlite")
    return folder


def test_the_life_of_a_job(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, library: Path
) -> None:
    """Added, listed, paused, resumed, worked off, shown; wrong wishes are told in a sentence."""
    files = some_files(tmp_path / "files")
    (files / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    options = ("--library", library)
    status, out, _ = called(capsys, "jobs", "list", *options)
    assert (status, out) == (0, "There are no jobs.\n")
    status, out, _ = called(
        capsys, "jobs", "add", files, *options, "--profile", "nano", "--priority", 3, "--json"
    )
    job = json.loads(out)["job"]
    assert (status, job["state"], job["priority"]) == (0, "queued", 3)
    number = job["id"]
    assert called(capsys, "jobs", "pause", number, *options)[1] == f"Job {number} is paused.\n"
    assert called(capsys, "jobs", "resume", number, *options)[1] == f"Job {number} is queued.\n"
    with open_fake(library, workers=1) as engine:
        assert Worker(engine.library).run(once=True) == 1
    status, out, _ = called(capsys, "jobs", "show", number, *options, "--json")
    shown = json.loads(out)["job"]
    assert (shown["state"], shown["progress"]["done"], len(shown["items"])) == ("done", 6, 6)
    status, out, _ = called(capsys, "jobs", "show", number, *options)
    assert "bad.jpgcorrupt:" in "".join(out.split())  # wrapped at any width
    status, out, _ = called(capsys, "jobs", "list", *options, "--state", "done")
    assert "6/6" in out
    status, _, err = called(capsys, "jobs", "cancel", number, *options)
    assert (status, "has ended already (done)" in err) == (2, True)
    status, _, err = called(capsys, "jobs", "show", 99, *options)
    assert (status, "there is no job 99" in err) == (2, True)
    status, _, err = called(capsys, "jobs", "add", tmp_path / "nope", *options)
    assert (status, "does not exist" in err) == (2, True)


def test_failures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """By code, with what can be done about it."""
    files = some_files(tmp_path / "files")
    (files / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    (files / "empty.txt").write_bytes(b"")
    library = tmp_path / "library"
    with open_fake(library, workers=1) as engine:
        index_into(engine.library, [files])
    status, out, _ = called(capsys, "failures", "--library", library, "--json")
    assert status == 0
    failures = {Path(f["path"]).name: f for f in json.loads(out)["failures"]}
    assert {name: f["code"] for name, f in failures.items()} == {
        "bad.jpg": "corrupt",
        "empty.txt": "empty",
    }
    assert failures["bad.jpg"]["help"] == FAILURES["corrupt"]
    status, out, _ = called(capsys, "failures", "--library", library)
    plain = " ".join(out.split())
    assert FAILURES["empty"] in plain
    status, _, err = called(capsys, "failures", "--library", tmp_path / "nope")
    assert (status, "there is no mmsearch library" in err) == (2, True)


def test_a_list_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, err = called(
        capsys, "index", "--from-list", tmp_path / "no", "--library", tmp_path / "l"
    )
    assert (status, "cannot be read" in err) == (2, True)
    status, _, err = called(capsys, "index", "--library", tmp_path / "l2")
    assert (status, "at least one" in err) == (2, True)
    status, _, err = called(capsys, "index", "gopher://x/", "--library", tmp_path / "l2")
    assert (status, "gopher: URLs are not supported" in err) == (2, True)
