"""Which files go with a file: the subtitles of a film."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from mmsearch.media.languages import language_code

SUBTITLES = (".srt", ".vtt", ".ass", ".ssa")

_FORCED = frozenset(("forced", "foreign", "signs", "songs", "zwang", "erzwungen"))
_IMPAIRED = frozenset(("sdh", "cc", "hi", "hoh", "deaf", "impaired"))
_WORD = r"[A-Za-z-]{2,12}"
_NOTES = re.compile(rf"(\.{_WORD}){{1,4}}(\.\d{{1,2}})?")


@dataclass(frozen=True, slots=True)
class SubtitleLabel:
    """What the name or the title of a track of subtitles says about it."""

    language: str | None
    """Two letters (ISO 639-1)."""
    forced: bool
    """Signs and foreign words only."""
    impaired: bool
    """For the hearing impaired: with sounds and names of speakers."""


def subtitle_files(film: Path) -> list[Path]:
    """The subtitle files in the film's folder: `film.srt`, `film.vtt`, `film.en.srt` and so on,
    the shortest name first."""
    with suppress(OSError):
        files = list(film.parent.iterdir())
        others = [path.name for path in files if path.suffix.lower() not in SUBTITLES]
        paths = [
            path
            for path in files
            if path.suffix.lower() in SUBTITLES
            and belongs(path.stem, film.name)
            and not _belongs_to_another(path.stem, film.name, others)
        ]
        return sorted(paths, key=lambda path: (len(path.name), path.name))
    return []


def belongs(stem: str, film: str) -> bool:
    """Whether a subtitle file of this name, without its extension, goes with a film."""
    # Languages and notes behind the film's name: "film.en.forced", "film_german".
    names = (film, PurePath(film).stem)
    return any(stem == name or _is_note(stem[len(name) :]) for name in names if _begins(stem, name))


def label_of(notes: str) -> SubtitleLabel:
    """What "en.forced", "English [SDH]", "pt-BR" says."""
    words = [word for word in re.split(r"[^\w-]+|_", notes.lower()) if word]
    codes = [(word, language_code(word)) for word in words]
    languages = [code for word, code in codes if code and word not in _IMPAIRED]
    # "hi" alone is Hindi, and behind another language it stands for "hearing impaired".
    if not languages and "hi" in words:
        return SubtitleLabel("hi", not _FORCED.isdisjoint(words), False)
    parts = {part for word in words for part in word.split("-")}
    return SubtitleLabel(
        languages[0] if languages else None,
        not _FORCED.isdisjoint(parts),
        not _IMPAIRED.isdisjoint(parts),
    )


def notes_of(subtitle: str, film: str) -> str:
    """What a subtitle file's name says beyond that of its film: "en.forced"."""
    stem = PurePath(subtitle).stem
    names = [name for name in (film, PurePath(film).stem) if _begins(stem, name)]
    return stem[len(names[0]) :] if names else stem.partition(".")[2]


def _begins(stem: str, name: str) -> bool:
    return bool(name) and stem.lower().startswith(name.lower())


def _is_note(rest: str) -> bool:
    if _NOTES.fullmatch(rest):
        return True
    # With another sign in between only words that are known: "trip_two" is another film.
    words = [word for word in re.split(r"[^\w]+|_", rest.lower()) if word]
    known = (language_code(word) or word in _FORCED or word in _IMPAIRED for word in words)
    return bool(re.match(r"[ ._(\[-]", rest)) and 0 < len(words) < 5 and all(known)


def _belongs_to_another(stem: str, film: str, files: Iterable[str]) -> bool:
    """Whether a longer name than the film's fits: `film.en.srt` beside `film.en.mp4`."""
    own = len(PurePath(film).stem)
    return any(
        len(PurePath(name).stem) > own and belongs(stem, name)
        for name in files
        if name != film and _begins(stem, PurePath(name).stem)
    )
