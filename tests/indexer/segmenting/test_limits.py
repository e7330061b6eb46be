"""A file has no more segments than the setting allows, and says so where it would have more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from indexer.runs import index_into
from mmsearch.types import Modality
from tests.support.audio import silence, tone, wav
from tests.support.documents import a_pdf
from tests.support.fakes import open_fake

SENTENCE = "The heron stands in the shallow water and waits for the fish to come nearer. "


def a_text(folder: Path) -> Path:
    path = folder / "long.txt"
    path.write_text("\n\n".join(f"{n}. {SENTENCE * 8}" for n in range(12)))
    return path


def a_table(folder: Path) -> Path:
    path = folder / "rows.csv"
    rows = [f"{n},{SENTENCE * 4}" for n in range(30)]
    path.write_text("\n".join(["number,text", *rows]))
    return path


def a_recording(folder: Path) -> Path:
    path = folder / "talk.wav"
    path.write_bytes(wav(*[piece for _ in range(8) for piece in (tone(2, 440), silence(3))]))
    return path


def a_book(folder: Path) -> Path:
    path = folder / "book.pdf"
    path.write_bytes(a_pdf([f"Page {n}. The heron stands." for n in range(6)]))
    return path


@pytest.mark.parametrize("make", [a_text, a_table, a_recording, a_book])
def test_a_file_has_at_most_so_many_segments(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """The first are kept; the others are left out, and the metadata of the file says so."""
    path = make(tmp_path)
    with open_fake(tmp_path / "all", workers=1) as engine:
        total = index_into(engine.library, [path]).counts.segments
    assert total > 3
    with open_fake(tmp_path / "library", workers=1, max_segments=3) as engine:
        summary = index_into(engine.library, [path])
        assert (summary.counts.indexed, summary.counts.segments) == (1, 3)
        store = engine.library.store
        (source,) = store.sources.list()
        assert "first 3 segments" in source.metadata["warning"]
        assert all(s.modality in Modality for s in store.segments.of_source(source.id))
        assert engine.library.status(verify=True)["verify"]["ok"]
    with open_fake(tmp_path / "exact", workers=1, max_segments=total) as engine:
        index_into(engine.library, [path])
        (source,) = engine.library.store.sources.list()
        assert "warning" not in source.metadata
