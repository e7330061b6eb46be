"""`mmsearch demo`: it searches at once, again and again, and harms nobody's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import called


def test_the_demo_finds_things_and_can_be_run_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Pictures, memos and notes come in; a library of other models before is no obstacle."""
    library = tmp_path / "demo"
    status, out, err = called(capsys, "demo", "--no-serve", "--library", library, "--json")
    assert status == 0, err
    examples = json.loads(out.splitlines()[-1])["examples"]
    assert all(example["hits"] for example in examples)
    kinds = {Path(hit).parent.name for example in examples for hit in example["hits"]}
    assert kinds == {"pictures", "memos", "notes"}
    (library / "library.sqlite").unlink()
    status, _, err = called(capsys, "demo", "--no-serve", "--library", library)
    assert status == 0, err


def test_a_folder_of_somebody_elses_is_left_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Only a folder that the demo has made itself is emptied."""
    (tmp_path / "letter.txt").write_text("Dear Ada")
    status, _, err = called(capsys, "demo", "--no-serve", "--library", tmp_path)
    assert status == 2
    assert "not the demo's" in err
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
