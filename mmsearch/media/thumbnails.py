"""The folder of thumbnails: JPEG files named by the content that they show."""

from __future__ import annotations

from pathlib import Path

FOLDER = "thumbnails"


def thumbnails_of(library: Path, sha256: str) -> list[Path]:
    """The thumbnails of some content: the whole, its pages, its frames."""
    folder = library / FOLDER / sha256[:2]
    return sorted(path for path in folder.glob("*.jpg") if path.name.startswith(sha256))
