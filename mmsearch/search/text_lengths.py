"""How long a query's texts may be: embedding one costs a model call for each part of it."""

from __future__ import annotations

from collections.abc import Sequence

from mmsearch.errors import LimitError
from mmsearch.protocols import TextEmbedder
from mmsearch.query import Term

MAX_PIECES = 8
"""Parts of a long text that a model embeds for one query."""
LONG_TEXT = 200
"""Characters below which no text is longer than a model reads."""


def check_pieces(terms: Sequence[Term], embedder: TextEmbedder) -> None:
    """Raise LimitError if a text would be embedded in more than `MAX_PIECES` parts."""
    for term in terms:
        text = term.text or ""
        tokens = embedder.count_tokens([text])[0] if len(text) >= LONG_TEXT else 0
        if tokens > MAX_PIECES * embedder.max_tokens:
            raise LimitError(
                f"A text of the query has {tokens} tokens. The {embedder.space.name} model reads "
                f"at most {MAX_PIECES} parts of {embedder.max_tokens}: shorten it.",
                param="text",
            )


def within_pieces(text: str, embedders: Sequence[TextEmbedder]) -> str:
    """The beginning of a text, as long as `check_pieces` allows for each model."""
    for embedder in embedders:
        most = MAX_PIECES * embedder.max_tokens
        while len(text) >= LONG_TEXT and (tokens := embedder.count_tokens([text])[0]) > most:
            text = text[: len(text) * most // (tokens + 1)]
    return text


def length_warnings(text: str, embedder: TextEmbedder) -> list[str]:
    """A warning if a text is longer than the model reads. Nothing of it is left out."""
    if len(text) < LONG_TEXT:
        return []
    tokens = embedder.count_tokens([text])[0]
    if tokens <= embedder.max_tokens:
        return []
    warning = (
        f"the words are longer than the {embedder.space.name} model reads at once ({tokens} "
        f"tokens, {embedder.max_tokens} fit): it searches by the mean of their parts"
    )
    return [warning]
