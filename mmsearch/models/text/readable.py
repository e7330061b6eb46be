"""Which texts a model can read.

A tokenizer maps words that it does not know to one unknown token, so all texts in unknown words
have the same vector, and match each other whatever they say. Such texts get no vector; full text
still finds them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

MIN_KNOWN = 0.5
"""Least share of a text's letters and digits that stand in known words."""

Mask = npt.NDArray[np.bool_]


def without_surrogates(texts: Sequence[str]) -> list[str]:
    """Texts with U+FFFD in place of lone surrogates, which tokenizers refuse."""
    return [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]


def has_content(texts: Sequence[str]) -> Mask:
    """Texts with a letter, a digit or a symbol; shape (len(texts),).

    The others are empty, or consist of white space, control characters or punctuation.
    """
    return np.array([any(map(_is_content, text)) for text in texts], np.bool_)


def by_tokenizer(tokenizer: Any, texts: Sequence[str]) -> Mask:
    """Texts of which the tokenizer knows enough; shape (len(texts),).

    `tokenizer` is a `tokenizers.Tokenizer` or a tokenizer of transformers. One without an unknown
    token (byte-level BPE) knows every text that has content.
    """
    texts = without_surrogates(texts)
    readable = has_content(texts)
    rows = np.flatnonzero(readable)
    unknown, encodings = _encodings(tokenizer, [texts[row] for row in rows])
    if unknown is None:
        return readable
    for row, encoding in zip(rows, encodings, strict=True):
        readable[row] = _knows(texts[row], encoding, unknown)
    return readable


def in_latin_script(texts: Sequence[str]) -> Mask:
    """Texts of which enough is in Latin letters or digits; shape (len(texts),).

    For models that were trained on English with a byte-level tokenizer: it has a token for every
    byte, but those of other scripts were never trained.
    """
    return np.array([_is_latin(text) for text in texts], np.bool_)


def _encodings(tokenizer: Any, texts: list[str]) -> tuple[int | None, list[Any]]:
    """The id of the unknown token, None if there is no such token, and the texts' encodings."""
    if hasattr(tokenizer, "encode_batch"):
        name = getattr(tokenizer.model, "unk_token", None)
        unknown = None if name is None else tokenizer.token_to_id(name)
        if unknown is not None:
            return unknown, tokenizer.encode_batch(texts, add_special_tokens=False)
    elif texts and getattr(tokenizer, "is_fast", False):
        unknown = tokenizer.unk_token_id
        if unknown is not None:
            options = {"add_special_tokens": False, "truncation": False, "padding": False}
            return unknown, tokenizer(texts, verbose=False, **options).encodings
    return None, []


def _knows(text: str, encoding: Any, unknown: int) -> bool:
    known = [0, 0]
    total = [0, 0]
    for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        part = text[start:end]
        counts = (sum(map(str.isalnum, part)), sum(map(_is_content, part)))
        for n, count in enumerate(counts):
            total[n] += count
            known[n] += count if token != unknown else 0
    # Symbols only count where there is nothing else: quotes and bullets are often unknown.
    n = 0 if total[0] else 1
    return known[n] > 0 and known[n] >= MIN_KNOWN * total[n]


def _is_latin(text: str) -> bool:
    letters = [character for character in text if character.isalnum()]
    latin = sum(
        character.isascii() or unicodedata.name(character, "").startswith("LATIN ")
        for character in letters
    )
    return latin > 0 and latin >= MIN_KNOWN * len(letters)


def _is_content(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNS"
