"""What was said before and after the speech of a hit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mmsearch.query import Context, Hit
from mmsearch.stores.store import SqlStore
from mmsearch.types import Modality


def with_context(hits: Sequence[Hit], store: SqlStore) -> tuple[Hit, ...]:
    """The hits, those of speech with the texts of the segments before and after."""
    spoken = [hit.segment.id for hit in hits if hit.segment.modality is Modality.SPEECH]
    neighbours = store.segments.neighbour_texts(spoken) if spoken else {}
    return tuple(
        replace(hit, context=Context(*neighbours[hit.segment.id]))
        if hit.segment.id in neighbours
        else hit
        for hit in hits
    )
