"""`mmsearch collections`: listed, renamed, removed after a confirmation."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from mmsearch.cli import main
from tests.support.fakes import open_fake
from tests.support.small_library import fill, photo


def run(library: Path, *arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(["collections", *arguments, "--library", str(library)])
    return ended.value.code


def test_collections(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal and without --yes nothing is removed."""
    library = tmp_path / "library"
    with open_fake(library) as engine:
        fill(engine, [photo("/a.jpg", "red")], "photos")
        fill(engine, [photo("/b.jpg", "red")], "other")
    saved = set((library / "indexes").rglob("*.*"))
    assert run(library, "rename", "photos", "pictures") == 0
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run(library, "remove", "pictures") == 1
    capsys.readouterr()
    assert run(library, "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)["collections"]
    assert [(c["name"], c["sources"]) for c in listed] == [("other", 1), ("pictures", 1)]
    assert run(library, "remove", "pictures", "--yes") == 0
    assert run(library, "remove", "pictures", "--yes") == 2
    capsys.readouterr()
    assert run(library, "list") == 0
    assert "pictures" not in capsys.readouterr().out
    # Its saved indexes are deleted, too.
    assert set((library / "indexes").rglob("*.*")) < saved
