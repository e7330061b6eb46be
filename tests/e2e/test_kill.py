"""kill -9 at any moment: the next run goes on, and the library is as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.fakes import a_picture, open_fake
from tests.support.library import contents, run_index

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Sixty pictures and twenty notes, each different."""
    folder = tmp_path / "files"
    rng = np.random.default_rng(0)
    for n in range(60):
        colour = tuple(int(c) for c in rng.integers(0, 255, 3))
        a_picture(folder / f"{n:02}.png", colour)  # type: ignore[arg-type]
    for n in range(20):
        (folder / f"{n:02}.txt").write_text(
            f"Note {n}. " + " ".join(f"word{n}x{k}" for k in range(80))
        )
    return folder


def heed_interrupts() -> None:
    """In the child: a shell that runs this in the background has SIGINT ignored, and we inherit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(library: Path, files: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.e2e.fake_index", str(library), str(files)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509  # no threads here
    )


def test_killed_twenty_times_the_library_equals_an_uninterrupted_one(
    tmp_path: Path, files: Path
) -> None:
    """Same sources, segments and vectors; verify finds nothing missing, nothing extra."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_index(whole, files)
    rng = random.Random(7)
    began = time.monotonic()
    start(tmp_path / "timing", files).communicate()
    full = time.monotonic() - began
    kills = 0
    while kills < 20:
        process = start(killed, files)
        time.sleep(rng.uniform(0.3, 0.95) * full)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
        if not (killed / "library.sqlite").exists():
            continue
        # What was committed is complete at every moment.
        with open_fake(killed) as engine:
            assert engine.library.store.status.problems() == []
            here = [source.id for source in engine.library.store.sources.list(limit=1000)]
            if len(here) == 80:  # nothing left to interrupt: let some go
                engine.library.store.sources.delete(here[::2] + here[1::4])
    run_index(killed, files)
    assert contents(killed) == contents(whole)
    with open_fake(killed) as engine:
        assert engine.library.status(verify=True)["verify"] == {"ok": True, "problems": []}


def test_ctrl_c_is_recorded_as_interrupted(tmp_path: Path, files: Path) -> None:
    """SIGINT ends the run between transactions; the run's row says so."""
    library = tmp_path / "library"
    process = start(library, files)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (library / "library.sqlite").exists():
            with open_fake(library) as engine:
                if engine.library.store.status.counts()["sources"] >= 4:
                    break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    with open_fake(library) as engine:
        assert engine.library.store.runs.get(1).state == "interrupted"
        assert 4 <= engine.library.store.status.counts()["sources"] < 80
        assert engine.library.status(verify=True)["verify"]["ok"]


def test_ctrl_c_on_the_command_line_says_that_nothing_is_lost(tmp_path: Path, data: Path) -> None:
    """Status 130, one sentence and no traceback; the next run goes on."""
    library = tmp_path / "library"
    command = [sys.executable, "-m", "mmsearch", "index", str(data / "images")]
    process = subprocess.Popen(
        [*command, "--library", str(library), "--profile", "nano", "--set", "commit_files=4"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509  # no threads here
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (library / "library.sqlite").exists():
            with open_fake(library) as engine:
                if engine.library.store.status.counts()["sources"] >= 4:
                    break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Interrupted." in told
    assert "Traceback" not in told
