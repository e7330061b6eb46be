"""Libraries with the real nano models, made once for all tests that only read them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from indexer import RunSummary, index


@dataclass(frozen=True, slots=True)
class NanoLibrary:
    """A library of real photos, recordings and texts, and what is known about the photos."""

    folder: Path
    files: Path
    summary: RunSummary
    captions: dict[str, list[str]]
    """Five human captions by file name."""


@pytest.fixture(scope="session")
def nano(data: Path, tmp_path_factory: pytest.TempPathFactory) -> NanoLibrary:
    """150 photos with human captions, a dozen recordings, the plain-text documents."""
    place = tmp_path_factory.mktemp("nano")
    files = place / "files"
    files.mkdir()
    rows = [json.loads(line) for line in (data / "images/captions.jsonl").read_text().splitlines()]
    photos = [row for row in rows if row["caption_kind"] == "human"][:150]
    for row in photos:
        shutil.copy(data / "images" / row["file"], files)
    for path in sorted((data / "audio").glob("LJ001-000*")):
        shutil.copy(path, files)
    for name in ("sonnet_001.txt", "test_blog.html", "test.json"):
        shutil.copy(data / "documents" / name, files)
    summary = index(files, place / "library", profile="nano")
    captions = {Path(row["file"]).name: row["captions"] for row in photos}
    return NanoLibrary(place / "library", files, summary, captions)
