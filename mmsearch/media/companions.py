"""Which files go with a file: the subtitles of a film."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path, PurePath

SUBTITLES = (".srt", ".vtt")


def subtitle_files(film: Path) -> list[Path]:
    """The subtitle files in the film's folder: `film.srt`, `film.vtt`, `film.en.srt` and so on,
    the shortest name first."""
    with suppress(OSError):
        paths = [
            path
            for path in film.parent.iterdir()
            if path.suffix.lower() in SUBTITLES and belongs(path.stem, film.name)
        ]
        return sorted(paths, key=lambda path: (len(path.name), path.name))
    return []


def belongs(stem: str, film: str) -> bool:
    """Whether a subtitle file of this name, without its extension, goes with a film."""
    # At most a language and a note behind the film's name: "film.en.forced".
    names = (PurePath(film).stem, film)
    return any(
        stem == name or re.fullmatch(r"(\.[A-Za-z-]{2,12}){1,2}", stem.removeprefix(name))
        for name in names
        if stem.startswith(name)
    )
