"""What rerankers are shown of a segment: its picture, or its text with what surrounds it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from mmsearch.search.pictures import Pictures
from mmsearch.stores.store import SqlStore
from mmsearch.types import VISUAL, Modality, RerankCandidate, Segment, Source

CONTEXT_CHARACTERS = 240
"""Of the speech before and after a stretch of speech."""


def candidates_of(
    rows: Sequence[tuple[Segment, Source]], store: SqlStore, pictures: Pictures, pixels: int
) -> list[RerankCandidate]:
    """One candidate per row; pictures have at most `pixels`."""
    spoken = [segment.id for segment, _ in rows if segment.modality is Modality.SPEECH]
    neighbours = store.segments.neighbour_texts(spoken) if spoken else {}
    return [
        _visual(segment, source, pictures, pixels)
        if segment.modality in VISUAL
        else _textual(segment, *neighbours.get(segment.id, (None, None)))
        for segment, source in rows
    ]


def _visual(segment: Segment, source: Source, pictures: Pictures, pixels: int) -> RerankCandidate:
    place = segment.place
    content = digest(
        "picture", source.sha256, segment.modality.value, pixels,
        place.page, place.start, place.end, place.box,
    )  # fmt: skip
    return RerankCandidate(
        segment.id,
        segment.modality,
        content,
        text=segment.text,
        load_picture=lambda most: pictures.jpeg(segment, source, min(pixels, most or pixels)),
    )


def _textual(segment: Segment, before: str | None, after: str | None) -> RerankCandidate:
    parts = [
        before[-CONTEXT_CHARACTERS:] if before else "",
        segment.text or "",
        after[:CONTEXT_CHARACTERS] if after else "",
    ]
    text = "\n".join(part for part in parts if part)
    return RerankCandidate(segment.id, segment.modality, digest("text", text), text=text)


def digest(*parts: object) -> str:
    """A key of saved scores: SHA-256 of the parts."""
    text = json.dumps(parts, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
