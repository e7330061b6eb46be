"""Problems that SQL alone shows."""

from __future__ import annotations

from mmsearch.stores.rows import SourceWrite
from mmsearch.stores.store import SqlStore
from mmsearch.types import Modality, SegmentDraft
from tests.support.stored import a_file, a_write


def test_problems_name_segments_without_vectors(filled: tuple[SqlStore, int, int]) -> None:
    """A text segment without a CLIP vector is reported."""
    store, collection, space = filled
    store.sources.write(collection, [a_write(space)])
    assert store.status.problems() == []
    segments = (SegmentDraft(Modality.TEXT),)
    lacking = SourceWrite(a_file("b"), "t", "text/plain", "r", segments=segments)
    store.sources.write(collection, [lacking])
    assert store.status.problems() == ["1 segments have no vector in space 'clip'"]
