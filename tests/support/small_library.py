"""A library written straight into SQL, with vectors of the fake models: no file, no worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsearch.search.engine import SearchEngine
from mmsearch.stores.rows import SourceWrite
from mmsearch.testing import FakeImageTextEmbedder, FakeTextEmbedder
from mmsearch.types import Modality, Place, SegmentDraft, SourceFile

CLIP = FakeImageTextEmbedder()
TEXT = FakeTextEmbedder()


@dataclass(frozen=True)
class Piece:
    """A segment: what it shows is a caption, as which the fake of CLIP sees it."""

    modality: Modality
    shows: str = ""
    text: str | None = None
    place: Place = field(default_factory=Place)


@dataclass(frozen=True)
class Thing:
    """A source with its segments; equal `content` makes copies."""

    path: str
    pieces: Sequence[Piece]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    content: str | None = None
    mime: str = "image/jpeg"


def photo(path: str, shows: str, content: str | None = None, **metadata: Any) -> Thing:
    """A picture of what a caption says."""
    return Thing(path, (Piece(Modality.IMAGE, shows),), metadata, content)


def note(path: str, *passages: str, **metadata: Any) -> Thing:
    """A text of some passages."""
    pieces = [Piece(Modality.TEXT, one, one) for one in passages]
    return Thing(path, pieces, metadata, None, "text/plain")


def fill(engine: SearchEngine, things: Sequence[Thing], collection: str = "default") -> list[int]:
    """Write the things in one transaction; returns the ids of their sources."""
    store = engine.library.store
    engine.library.refresh()  # what is written below needs no index snapshot yet
    owner = store.collections.get_or_create(collection, "nano").id
    clip, text = (store.spaces.get_or_create(owner, model.space).id for model in (CLIP, TEXT))
    pieces = [piece for thing in things for piece in thing.pieces]
    seen = CLIP.encode_texts([piece.shows or piece.text or "" for piece in pieces], "document")
    said = TEXT.encode_texts([piece.text or "" for piece in pieces], "document")
    writes: list[SourceWrite] = []
    at = 0
    for thing in things:
        count = len(thing.pieces)
        with_text = np.array([i for i in range(count) if thing.pieces[i].text], np.int64)
        vectors: dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]] = {
            clip: (np.arange(count), seen[at : at + count].astype(np.float16))
        }
        if len(with_text):
            vectors[text] = (with_text, said[at + with_text].astype(np.float16))
        writes.append(
            SourceWrite(
                SourceFile(f"file://{thing.path}", thing.path, 1000 + at, 1_700_000_000 * 10**9),
                thing.content or thing.path,
                thing.mime,
                "fake",
                metadata=dict(thing.metadata),
                segments=tuple(SegmentDraft(p.modality, p.place, p.text) for p in thing.pieces),
                vectors=vectors,
            )
        )
        at += count
    ids = store.sources.write(owner, writes)
    engine.library.indexes.refresh(save=True)
    return ids
