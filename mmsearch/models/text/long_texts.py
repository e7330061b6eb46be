"""Texts longer than a model's context: encoded in pieces and averaged instead of truncated.

The libraries truncate such texts silently, so the end of a long query would be ignored. Here a
long text is split into pieces of about equal length that fit, and its vector is the normalised
mean of the pieces' unit vectors. Texts within the limit are encoded by the library unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from mmsearch.types import Vectors

LONG_TEXT_RULE = "pieces-mean/1"
"""Part of the fingerprints of spaces: change it when the rule changes."""

Count = Callable[[Sequence[str]], list[int]]


def split_to_fit(text: str, limit: int, count: Count) -> list[str]:
    """Pieces of `text`, in order, each of at most `limit` tokens by `count`.

    It is split at white space where possible, else between characters. A text that fits is
    the only piece.
    """
    tokens = count([text])[0]
    if tokens <= limit or len(text) < 2:
        return [text]
    parts = max(2, math.ceil(tokens / max(1, limit - 2)))
    bounds = _bounds(text, min(parts, len(text)))
    return [
        piece
        for start, end in pairwise(bounds)
        for piece in split_to_fit(text[start:end].strip() or text[start:end], limit, count)
    ]


def _bounds(text: str, parts: int) -> list[int]:
    """Ascending offsets from 0 to len(text), about evenly spaced, at nearby white space."""
    step = len(text) / parts
    bounds = [0]
    for part in range(1, parts):
        target = round(part * step)
        floor = bounds[-1] + max(1, int(step / 2))
        spaces = (text.rfind(c, floor, target + 1) for c in " \n\t")
        space = max(spaces, default=-1)
        if space < 0:
            after = (text.find(c, target, target + max(2, round(step))) for c in " \n\t")
            space = min((place for place in after if place >= 0), default=-1)
        offset = space + 1 if space >= 0 else target
        if bounds[-1] < offset < len(text):
            bounds.append(offset)
    return [*bounds, len(text)]


def encode_with_pieces(
    texts: Sequence[str],
    limit: int,
    count: Count,
    encode: Callable[[list[str]], Vectors],
) -> Vectors:
    """`encode` for texts of any length; shape (len(texts), dimension), unit rows.

    `encode` is called once, with texts of at most `limit` tokens.
    """
    lengths = count(texts)
    if all(length <= limit for length in lengths):
        return encode(list(texts))
    pieces = [
        split_to_fit(text, limit, count) if length > limit else [text]
        for text, length in zip(texts, lengths, strict=True)
    ]
    vectors = encode([piece for group in pieces for piece in group])
    ends = np.cumsum([len(group) for group in pieces])
    return np.stack(
        [
            unit_mean(vectors[end - len(group) : end])
            for group, end in zip(pieces, ends, strict=True)
        ]
    )


def unit_mean(vectors: Vectors) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The normalised mean of unit rows; the first row if they cancel out."""
    if len(vectors) == 1:
        return vectors[0]
    mean = vectors.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    return (mean / length).astype(np.float32) if length > 1e-6 else vectors[0]
