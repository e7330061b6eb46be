"""A disk that is really full: what was committed stays, and the error says what happened."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.runs import index_into
from mmsearch.errors import StorageError
from tests.support.fakes import open_fake


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        pytest.skip("there is no mount command")
    if os.geteuid() != 0 or done.returncode:
        pytest.skip("a file system can be mounted by root only")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_loses_nothing_that_was_committed(small_disk: Path, tmp_path: Path) -> None:
    """The run ends with StorageError; with more room the next one finishes the work."""
    files = tmp_path / "files"
    files.mkdir()
    rng = np.random.default_rng(0)
    for n in range(120):
        noise = rng.integers(0, 255, (160, 160, 3), np.uint8)
        Image.fromarray(noise).save(files / f"{n:03}.png")
    library = small_disk / "library"
    with (
        open_fake(library, commit_files=4) as engine,
        pytest.raises(StorageError, match=r"(?i)cannot be written.*(full|No space)"),
    ):
        index_into(engine.library, [files])
    with open_fake(library) as engine:
        before = engine.library.store.status.counts()["sources"]
        assert 0 < before < 120
        assert engine.library.store.status.problems() == []
        assert engine.search("noise").hits
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    with open_fake(library) as engine:
        counts = index_into(engine.library, [files]).counts
        assert (counts.seen, counts.unchanged) == (120, before)
        assert engine.library.status(verify=True)["verify"] == {"ok": True, "problems": []}
