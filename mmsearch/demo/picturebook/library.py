"""Writes a small library of pictures and notes, the one that `mmsearch demo` searches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmsearch.demo.picturebook.captions import captions
from mmsearch.demo.picturebook.draw import draw
from mmsearch.demo.picturebook.lexicon import KINDS
from mmsearch.demo.picturebook.stories import Story, stories


@dataclass(frozen=True)
class LibraryEntry:
    """One story on disk: its picture and, for some, the file of its note."""

    story: Story
    picture: Path
    note: Path | None


def write_library(folder: Path, n_pictures: int, seed: int, size: int = 512) -> list[LibraryEntry]:
    """Writes `pictures/*.jpg` and, for every third picture, `notes/*.txt` or `*.md`.

    Files are numbered and named after the main object only, so a name gives little away. The same
    arguments write the same bytes. Memos are left to whoever can speak: their texts are in the
    returned entries.

    Raises ValueError for a negative number of pictures.
    """
    if n_pictures < 0:
        raise ValueError("n_pictures must not be negative")
    pictures, notes = folder / "pictures", folder / "notes"
    pictures.mkdir(parents=True, exist_ok=True)
    notes.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 19])
    entries = []
    for i, story in enumerate(stories(n_pictures, seed)):
        group = story.scene.groups[0]
        kind = KINDS[group.kind]
        name = kind.name if group.count == 1 else kind.plural
        path = pictures / f"{i + 1:03d}-{name}.jpg"
        draw(story.scene, size).save(path, quality=90, subsampling=0)
        note: Path | None = None
        if i % 3 == 0:
            if rng.random() < 0.5:
                note = notes / f"note-{i + 1:03d}.txt"
                note.write_text(story.note + "\n", encoding="utf-8")
            else:
                note = notes / f"note-{i + 1:03d}.md"
                title = captions(story.scene)[0].split(" ", 1)[1].capitalize()
                note.write_text(f"# {title}\n\n{story.note}\n", encoding="utf-8")
        entries.append(LibraryEntry(story, path, note))
    return entries
