"""Sources to write into a store, with vectors that no model made."""

from __future__ import annotations

import numpy as np

from mmsearch.stores.rows import SourceWrite
from mmsearch.types import Modality, Place, SegmentDraft, SourceFile, Space

CLIP = Space("clip", "fake", "1", "f" * 16, 4)


def a_file(name: str = "a.jpg", size: int = 1) -> SourceFile:
    """A file that does not exist."""
    return SourceFile(uri=f"file:///{name}", path=f"/{name}", size=size, mtime_ns=7)


def a_write(
    space_id: int, name: str = "a.jpg", *, segments: int = 2, sha256: str = "s"
) -> SourceWrite:
    """A source of short texts, each with a vector of dimension 4 in the space."""
    drafts = tuple(
        SegmentDraft(Modality.TEXT, Place(char_start=n, char_end=n + 1), f"text {n}")
        for n in range(segments)
    )
    vectors = np.arange(segments * 4, dtype=np.float16).reshape(segments, 4)
    return SourceWrite(
        file=a_file(name),
        sha256=sha256,
        mime="text/plain",
        recipe="r",
        metadata={"tags": ["x"]},
        segments=drafts,
        vectors={space_id: (np.arange(segments), vectors)},
    )
