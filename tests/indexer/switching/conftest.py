"""Libraries to switch from a profile to another."""

from __future__ import annotations

from pathlib import Path

import pytest

from indexer.runs import index_into
from mmsearch.search.engine import SearchEngine
from tests.support.fakes import a_picture, some_files
from tests.support.two_profiles import TwoProfiles, open_two


def made_with(profile: str, library: Path, *paths: Path, models: TwoProfiles | None = None) -> Path:
    with open_two(library, models, profile=profile) as engine:
        index_into(engine.library, list(paths))
    return library


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = some_files(tmp_path / "files")
    for n in range(12):
        a_picture(folder / "more" / f"{n:02}.png", (20 * n, 255 - 20 * n, 90))
    return folder


def spaces(engine: SearchEngine) -> dict[str, int]:
    return {one.space.name: one.space.dimension for one in engine.library.store.spaces.active()}


def verified(engine: SearchEngine) -> bool:
    return bool(engine.library.status(verify=True)["verify"] == {"ok": True, "problems": []})
