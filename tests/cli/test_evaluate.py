"""`mmsearch eval` and `mmsearch compare` as their users see them, with fake models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import called
from tests.support.fakes import a_picture, fake_models


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures and three notes, asked for by colour."""
    monkeypatch.setattr("mmsearch.build.models_of", lambda _settings: fake_models())
    rows: list[dict[str, object]] = []
    for colour in ("red", "green", "blue"):
        a_picture(tmp_path / "files" / f"{colour}.png", colour)
        rows.append({"item": f"{colour}.png"})
        rows.append({"item": f"{colour} note", "text": f"We flew the {colour} kite."})
        relevant = [f"{colour}.png", f"{colour} note"]
        rows.append({"query": colour, "text": f"{colour} kite", "relevant": relevant})
    path = tmp_path / "files" / "kites.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_a_data_set_is_measured_told_and_written(
    capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path
) -> None:
    """A table, a page, runs; then a second run is compared with the first one's file."""
    library, report = tmp_path / "library", tmp_path / "report"
    status, out, err = called(
        capsys, "eval", dataset, "--library", library, "--profile", "nano", "--without", "clip",
        "--measure", "nDCG@10", "--measure", "R@1", "--exact", "--out", report, "--json",
    )  # fmt: skip
    assert status == 0
    assert "6 indexed" in err
    assert "without clip against fused" in out
    told = json.loads(out.splitlines()[-1])
    assert told["runs"]["fused"]["figures"]["nDCG@10"] == {
        "mean": 1.0, "low": 1.0, "high": 1.0, "queries": 3}  # fmt: skip
    assert told["approximation"]["clip:image"] == 1.0
    assert (report / "index.html").exists()

    saved = report / "runs" / "kites-fused.json"
    status, out, err = called(
        capsys, "eval", dataset, "--library", library, "--against", saved, "--measure", "R@1",
    )  # fmt: skip
    assert status == 0
    assert "6 unchanged" in err
    assert "fused against saved: fused" in out

    other = report / "runs" / "kites-without-clip.json"
    status, out, _ = called(capsys, "compare", saved, other, "--json")
    assert status == 0
    assert "kites: without clip against fused" in out
    compared = json.loads(out.splitlines()[-1])
    assert compared["measures"]["nDCG@10"]["first"] == 1.0
    assert compared["measures"]["nDCG@10"]["difference"]["mean"] < 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--without", "magic"], "there is no channel 'magic'"),
        (["--measure", "nDGC"], "unknown measure 'nDGC'"),
        (["--format", "csv"], "Formats: jsonl"),
        (["--against", "no.json"], "no.json cannot be read"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_indexed(
    capsys: pytest.CaptureFixture[str],
    dataset: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    """Exit 2, one sentence, no library."""
    library = tmp_path / "library"
    status, _, err = called(capsys, "eval", dataset, "--library", library, *arguments)
    assert status == 2
    assert message in err
    assert not library.exists()


def test_two_files_that_are_no_runs(capsys: pytest.CaptureFixture[str], dataset: Path) -> None:
    """The file is named."""
    status, _, err = called(capsys, "compare", dataset, dataset)
    assert status == 2
    assert "kites.jsonl is not a run that mmsearch saved" in err
