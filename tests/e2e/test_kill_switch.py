"""kill -9 in the middle of a switch to other models: search goes on, and so does the switch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from indexer.runs import index_into
from tests.e2e.test_kill import ROOT
from tests.support.fakes import a_picture
from tests.support.library import contents
from tests.support.two_profiles import NEW, OLD, open_two


def killed_at(library: Path, moment: str, times: int = 1) -> bool:
    """Run a switch, and kill it when it has said `moment` so many times; False if it ended."""
    command = [sys.executable, "-m", "tests.e2e.fake_switch", str(library)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            times -= line.startswith(moment)
            if times == 0:
                os.kill(process.pid, signal.SIGKILL)
                return True
    assert process.returncode == 0
    return False


def test_killed_again_and_again_it_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """At every moment one set of models answers, whole; vectors that were made are kept."""
    files = tmp_path / "files"
    rng = np.random.default_rng(0)
    for n in range(24):
        colour = tuple(int(c) for c in rng.integers(0, 255, 3))
        a_picture(files / f"{n:02}.png", colour)  # type: ignore[arg-type]
    for n in range(8):
        words = " ".join(f"word{n}x{k}" for k in range(80))
        (files / f"{n:02}.txt").write_text(f"Note {n}. {words}")
    library, fresh = tmp_path / "library", tmp_path / "fresh"
    for folder, profile in ((library, OLD), (fresh, NEW)):
        with open_two(folder, profile=profile) as engine:
            index_into(engine.library, [files])
    before = 0
    for times in (3, 4):
        assert killed_at(library, "made", times)
        with open_two(library) as engine:
            status = engine.library.status(verify=True)
            assert status["verify"] == {"ok": True, "problems": []}
            assert status["collections"] == {"default": OLD}
            built = status["switching"]["default"]["spaces"].values()
            made = sum(space["vectors"] for space in built)
            assert before < made < sum(space["of"] for space in built)
            before = made
            assert len(engine.search("red", modality="image", limit=50).hits) == 24
    assert killed_at(library, "removing", 2)
    with open_two(library) as engine:
        status = engine.library.status(verify=True)
        assert status["verify"] == {"ok": True, "problems": []}
        assert status["collections"] == {"default": NEW}
        assert status["switching"] == {}
        assert engine.library.store.spaces.retired()
        assert len(engine.search("red", modality="image", limit=50).hits) == 24
    assert contents(library) == contents(fresh)
    assert not killed_at(library, "never")
    with open_two(library) as engine:
        assert engine.library.store.spaces.retired() == []
        assert engine.library.status(verify=True)["verify"]["ok"]
    assert contents(library) == contents(fresh)
