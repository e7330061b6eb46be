"""`mmsearch models switch`: what is told before, during and after it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from indexer.runs import index_into
from tests.support.command import called
from tests.support.fakes import some_files
from tests.support.two_profiles import NEW, OLD, TwoProfiles, open_two


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures and two notes, made with fakes, which the commands use too."""
    monkeypatch.setattr("mmsearch.build.models_of", lambda _settings: TwoProfiles())
    monkeypatch.setenv("MMSEARCH_WORKERS", "1")
    with open_two(tmp_path / "library", profile=OLD) as engine:
        index_into(engine.library, [some_files(tmp_path / "files")])
    return tmp_path / "library"


def test_a_switch_says_what_it_will_do_and_has_done(
    capsys: pytest.CaptureFixture[str], library: Path
) -> None:
    """The plan first; a dry run ends there, the real one tells what was made and removed."""
    command = ["models", "switch", "--library", library, "--profile", NEW]
    status, out, err = called(capsys, *command, "--dry-run")
    assert (status, out) == (0, "")
    assert "goes from profile nano to profile small." in err
    assert "clip: fake-clip nano -> fake-clip small: 5 vectors" in err
    assert "text: fake-text nano -> fake-text small: 2 vectors" in err
    assert "until all vectors are written" in err
    status, out, err = called(capsys, *command, "--json")
    assert status == 0
    assert "7 vectors made" in err
    assert "Collection 'default' now uses profile small; 7 old vectors removed." in err
    summary = json.loads(out)
    assert (summary["switched"], summary["made"], summary["removed"]) == (True, 7, 7)
    assert summary["spaces"]["clip"]["vectors"] == 5
    assert summary["to"] == {"profile": "small", "models": {}}
    status, _, err = called(capsys, *command)
    assert status == 0
    assert "already uses profile small." in err


def test_files_that_are_gone_stop_it(
    capsys: pytest.CaptureFixture[str], library: Path, tmp_path: Path
) -> None:
    """They are listed, with what can be done; status says how far it is; it can be dropped."""
    (tmp_path / "files/pictures/red.png").unlink()
    command = ["models", "switch", "--library", library]
    status, out, err = called(capsys, *command, "--profile", NEW, "--json")
    assert status == 1
    assert "red.png: There is no such file" in err
    assert "Not switched: 1 files cannot be decoded again" in err
    assert "--allow-missing" in err
    assert json.loads(out)["failures"][0]["code"] == "missing"
    status, out, _ = called(capsys, "status", "--library", library)
    told = " ".join(out.split())
    assert "switching default to profile small: clip 4 of 5 vectors, text 2 of 2 vectors" in told
    status, _, err = called(capsys, *command, "--profile", "base")
    assert status == 2
    assert "on its way to profile small" in err
    status, _, err = called(capsys, *command, "--abort", "--profile", NEW)
    assert (status, "--abort goes with" in err) == (2, True)
    status, out, err = called(capsys, *command, "--abort", "--json")
    assert (status, json.loads(out)) == (0, {"aborted": True})
    assert "Dropped" in err
    status, _, err = called(capsys, *command, "--profile", NEW, "--allow-missing")
    assert status == 0
    assert "1 segments of those files have no vector now" in err
    status, out, _ = called(capsys, "status", "--library", library, "--verify")
    assert status == 0
    assert "1 segments have no vector in space 'clip'" in " ".join(out.split())
