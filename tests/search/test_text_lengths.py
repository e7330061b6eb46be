"""A long text is embedded in at most eight parts."""

from __future__ import annotations

import pytest

from mmsearch.errors import LimitError
from mmsearch.query import Term
from mmsearch.search.text_lengths import MAX_PIECES, check_pieces, within_pieces
from mmsearch.testing import FakeTextEmbedder


def test_more_than_eight_parts_are_refused() -> None:
    """The message says how many tokens fit."""
    embedder = FakeTextEmbedder(max_tokens=77)
    words = " ".join(["word"] * 1000)
    with pytest.raises(LimitError, match=f"{MAX_PIECES} parts of 77"):
        check_pieces([Term(text=words)], embedder)
    check_pieces([Term(text=" ".join(["word"] * 300))], embedder)


def test_a_transcript_is_searched_by_its_beginning() -> None:
    """It was not typed, so it is no error: what remains is accepted."""
    embedder = FakeTextEmbedder(max_tokens=77)
    words = " ".join(["word"] * 1000)
    spoken = within_pieces(words, [embedder])
    assert words.startswith(spoken)
    assert len(spoken) > 1000
    check_pieces([Term(text=spoken)], embedder)
    assert within_pieces("short", [embedder]) == "short"
