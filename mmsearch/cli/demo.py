"""`mmsearch demo`: a small library of drawn pictures, spoken memos and notes, searched at once."""

from __future__ import annotations

import importlib.resources
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape

from indexer.runs import index_into
from mmsearch.cli import output
from mmsearch.demo.picturebook import write_library
from mmsearch.errors import LibraryError, MMSearchError
from mmsearch.search.engine import SearchEngine

PICTURES = 60
SEED = 2024
PROFILE = "nano"
MEMOS = 14
"""The first answer is to come within half a minute."""
MARKER = "made-by-mmsearch-demo.txt"


@dataclass(frozen=True, slots=True)
class Example:
    """A query of the demo, and what it is to show."""

    shows: str
    words: str
    modality: str | None = None


EXAMPLES = (
    Example("words find pictures", "a yellow bus on a beach", "image"),
    Example(
        "colours, places and the time of day count", "a brown penguin on a beach at night", "image"
    ),
    Example("the second in a recording", "print the picture for John", "speech"),
    Example("the passage in a note", "a meeting about the cover of a book", "text"),
    Example("everything at once", "guitars in the city at sunset"),
)


def default_folder() -> Path:
    """Where the demo's library is made if the user names no other place."""
    return Path.home() / ".cache" / "mmsearch" / "demo"


def write_files(folder: Path) -> Path:
    """The demo's pictures, notes and memos; the same every time."""
    write_library(folder, PICTURES, SEED)
    memos = folder / "memos"
    memos.mkdir()
    for name, content in _recordings():
        (memos / name).write_bytes(content)
    return folder


def _recordings() -> Iterator[tuple[str, bytes]]:
    """As many of the spoken memos that ship with the package as a newcomer will wait for."""
    place = importlib.resources.files("mmsearch.demo.picturebook") / "recordings"
    listing = place / "recordings.json"
    if listing.is_file():
        for entry in json.loads(listing.read_text("utf-8"))[:MEMOS]:
            yield entry["file"], (place / entry["file"]).read_bytes()


def _start_anew(library: Path) -> None:
    """The demo is made from nothing each time: other models may have come since.

    Only a folder that an earlier demo has marked as its own is emptied.
    """
    marker = library / MARKER
    if marker.exists():
        shutil.rmtree(library)
    elif library.exists() and any(library.iterdir()):
        raise LibraryError(
            f"{library} holds something that is not the demo's; name another folder with --library",
            param="library",
        )
    library.mkdir(parents=True, exist_ok=True)
    marker.write_text("Made by `mmsearch demo`, which empties this folder when it runs again.\n")


def _load_beside(engine: SearchEngine) -> None:
    """Load what needs no PyTorch while the main thread is busy importing it."""

    def load() -> None:
        # What goes wrong here is told to whoever reads the first picture.
        with suppress(MMSearchError):
            reader = engine.library.models(PROFILE).ocr
            if reader is not None:
                reader.read(np.zeros((64, 64, 3), np.uint8))

    engine.library.sandbox.warm()
    threading.Thread(target=load, name="demo-reader", daemon=True).start()


def build_demo(library: Path, port: int | None = None) -> SearchEngine:
    """Make the demo's library (again) and open it."""
    began = time.monotonic()
    _start_anew(library)
    engine = SearchEngine.open(library, create=True, profile=PROFILE, port=port)
    _load_beside(engine)
    files = write_files(library / "files")
    output.err.print(f"Drew a picture book into {files}")
    summary = index_into(engine.library, [files], prune=True)
    output.print_summary(summary)
    output.err.print(f"[dim]ready after {time.monotonic() - began:.1f} s[/]\n")
    return engine


def show_examples(engine: SearchEngine) -> list[dict[str, Any]]:
    """Ask the examples and print the answers; returns them in short."""
    shown = []
    for example in EXAMPLES:
        # Each is known to have an answer here: whether it has one is not to be doubted.
        result = engine.search(
            example.words,
            modality=example.modality,
            limit=3,
            min_score=engine.settings.min_score,
        )
        output.out.print(f"[bold]{escape(example.words)}[/]  [dim]{escape(example.shows)}[/]")
        output.print_result(result)
        output.out.print()
        shown.append(
            {
                "query": example.words,
                "modality": example.modality,
                "took_ms": round(result.took_ms, 3),
                "hits": [hit.source.path for hit in result.hits],
            }
        )
    return shown


NEXT = """\
These were drawn pictures and the small [bold]nano[/] models that come with mmsearch.
For your own files use real models (fetched once, about 2 GB):

  mmsearch index ~/Pictures ~/Recordings --library my-library --profile base
  mmsearch search "what you remember" --library my-library
  mmsearch serve --library my-library
"""
