"""`mmsearch demo`: build the demo library, run the example queries, serve it."""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from indexer.runs import index_into
from mmsearch.cli import output
from mmsearch.cli.printable import escape
from mmsearch.demo.contents import EXAMPLES, write_files
from mmsearch.errors import LibraryError, MMSearchError
from mmsearch.search.engine import SearchEngine

PROFILE = "nano"
MARKER = "made-by-mmsearch-demo.txt"


def _empty_folder(library: Path) -> None:
    """Empty the demo's folder: the last demo may have used other models.

    Only a folder with the marker of an earlier demo is emptied.
    """
    marker = library / MARKER
    if marker.exists():
        shutil.rmtree(library)
    elif library.exists() and any(library.iterdir()):
        raise LibraryError(
            f"{library} contains files that are not the demo's. "
            "Name another folder with --library.",
            param="library",
        )
    library.mkdir(parents=True, exist_ok=True)
    marker.write_text("Made by `mmsearch demo`, which empties this folder when it runs again.\n")


def _load_ocr(engine: SearchEngine) -> None:
    """Load OCR in a thread while the main thread imports PyTorch."""

    def load() -> None:
        # An error here comes again, and is reported, when the first picture is read.
        with suppress(MMSearchError):
            reader = engine.library.models(PROFILE).ocr
            if reader is not None:
                reader.read(np.zeros((64, 64, 3), np.uint8))

    engine.library.sandbox.warm()
    threading.Thread(target=load, name="demo-reader", daemon=True).start()


def build_demo(library: Path, port: int | None = None) -> SearchEngine:
    """Build the demo library from scratch and open it."""
    started = time.monotonic()
    _empty_folder(library)
    engine = SearchEngine.open(library, create=True, profile=PROFILE, port=port)
    _load_ocr(engine)
    files = write_files(library / "files")
    output.err.print(f"Drew a picture book into {files}")
    summary = index_into(engine.library, [files], prune=True)
    output.print_summary(summary)
    output.err.print(f"[dim]ready after {time.monotonic() - started:.1f} s[/]\n")
    return engine


def show_examples(engine: SearchEngine) -> list[dict[str, Any]]:
    """Run the example queries and print their results. Returns queries, times and paths."""
    results = []
    for example in EXAMPLES:
        result = engine.search(example.words, modality=example.modality, limit=3)
        output.out.print(f"[bold]{escape(example.words)}[/]  [dim]({escape(example.shows)})[/]")
        output.print_result(result)
        output.out.print()
        results.append(
            {
                "query": example.words,
                "modality": example.modality,
                "took_ms": round(result.took_ms, 3),
                "hits": [hit.source.path for hit in result.hits],
            }
        )
    return results


NEXT = """\
The demo uses drawn pictures and the small [bold]nano[/] models that ship with mmsearch.
For your own files use a larger profile (downloaded once, about 2 GB):

  mmsearch index ~/Pictures ~/Recordings --library my-library --profile base
  mmsearch search "what you remember" --library my-library
  mmsearch serve --library my-library
"""
