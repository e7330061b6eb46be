"""The demo library: its files, and example queries that have answers in it."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmsearch.demo.picturebook import write_library

PICTURES = 60
SEED = 2024
MEMOS = 14
"""How many of the packaged recordings the demo indexes. More would make its start slower."""


@dataclass(frozen=True, slots=True)
class Example:
    """A query of the demo and what it demonstrates."""

    shows: str
    words: str
    modality: str | None = None


EXAMPLES = (
    Example("pictures, by words", "a yellow bus on a beach", "image"),
    Example(
        "pictures, by colour, place and time of day", "a brown penguin on a beach at night", "image"
    ),
    Example("a time in a recording", "print the picture for John", "speech"),
    Example("a passage in a note", "a meeting about the cover of a book", "text"),
    Example("pictures, recordings and notes together", "guitars in the city at sunset"),
)


def default_folder() -> Path:
    """The folder of the demo library if the user names none."""
    return Path.home() / ".cache" / "mmsearch" / "demo"


def write_files(folder: Path) -> Path:
    """Write pictures, notes and voice memos to `folder`, the same bytes every time."""
    write_library(folder, PICTURES, SEED)
    memos = folder / "memos"
    memos.mkdir()
    for name, content in _recordings():
        (memos / name).write_bytes(content)
    return folder


def _recordings() -> Iterator[tuple[str, bytes]]:
    """Name and content of the first MEMOS recordings that ship with the package."""
    place = importlib.resources.files("mmsearch.demo.picturebook") / "recordings"
    listing = place / "recordings.json"
    if listing.is_file():
        for entry in json.loads(listing.read_text("utf-8"))[:MEMOS]:
            yield entry["file"], (place / entry["file"]).read_bytes()
