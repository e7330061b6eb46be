"""A library with fake models: everything is real but the vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from mmsearch.library import Library
from mmsearch.models.sets import ModelSet
from mmsearch.search.engine import SearchEngine
from mmsearch.testing import (
    FakeImageTextEmbedder,
    FakeOcr,
    FakeSoundEmbedder,
    FakeTextEmbedder,
    FakeTranscriber,
)


def fake_models(
    revision: str = "1", *, sounds: bool = False, read: Sequence[str] = ()
) -> Callable[[str], ModelSet]:
    """What `Library.open(models=...)` takes; another `revision` makes another space."""
    sets: dict[str, ModelSet] = {}

    def models(profile: str, chosen: Any = None, *, asked: bool = True) -> ModelSet:
        if profile not in sets:
            sets[profile] = ModelSet(
                profile,
                f"fake {revision}",
                lambda: FakeImageTextEmbedder(revision=revision),
                lambda: FakeTextEmbedder(revision=revision),
                FakeTranscriber,
                FakeSoundEmbedder if sounds else None,
                lambda: FakeOcr(read) if read else None,
            )
        return sets[profile]

    return models


def open_fake(
    library: Path,
    *,
    revision: str = "1",
    sounds: bool = False,
    read: Sequence[str] = (),
    **settings: Any,
) -> SearchEngine:
    """Open (or make) a library whose collections use fake models; `read`: what OCR reads."""
    models = fake_models(revision, sounds=sounds, read=read)
    return SearchEngine(
        Library.open(library, create=True, models=models, **({"profile": "nano"} | settings))
    )


def a_picture(path: Path, colour: str | tuple[int, int, int], size: int = 96) -> Path:
    """A picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), colour).save(path)
    return path


def some_files(folder: Path) -> Path:
    """Three pictures and two notes."""
    for colour in ("red", "green", "blue"):
        a_picture(folder / "pictures" / f"{colour}.png", colour)
    (folder / "boats.txt").write_text("We rowed the old boat across the lake. It leaked a little.")
    (folder / "tea.md").write_text("# Tea\n\nBoil fresh water and wait for four minutes.")
    return folder
