"""Lines of Arabic and Hebrew from the places of their letters.

A PDF holds glyphs at places, in whatever order its producer wrote them, and PDFium puts some
lines into reading order and others not. The places are the same in all: from left to right they
give the visual order, which is undone here (Unicode Standard Annex 9 the other way round).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_SPACE = 0.18
"""Gap between two letters, in font sizes, that is a space: half of a narrow one."""
_ALEFS = "\u0622\u0623\u0625\u0627"
_LAM = "\u0644"
_BRACKETS = ("()", "[]", "{}", "«»")
_IN_NUMBERS = ".,:/-+٫٬"


@dataclass(frozen=True, slots=True)
class Glyph:
    """A character and where it stands, in points."""

    text: str
    left: float
    right: float
    size: float


def is_right_to_left(code: int) -> bool:
    """Whether a code point is a letter that is written from right to left."""
    return (
        0x0590 <= code <= 0x08FF or 0xFB1D <= code <= 0xFDFF or 0xFE70 <= code <= 0xFEFC
    ) and not (0x0660 <= code <= 0x0669 or 0x06F0 <= code <= 0x06F9)


def logical_line(glyphs: Sequence[Glyph]) -> str:
    """The line in the order in which it is read."""
    placed = [glyph for glyph in glyphs if glyph.text.strip()]
    clusters = list(_with_spaces(_clusters(list(_joined(placed)))))
    kinds = [_kind(cluster) for cluster in clusters]
    order = _from_right if _begins_at_the_right(clusters, kinds) else _from_left
    ordered = order(clusters, kinds)
    return unicodedata.normalize("NFC", _with_paired_brackets("".join(ordered)))


def _begins_at_the_right(clusters: Sequence[str], kinds: Sequence[str]) -> bool:
    """By its ends, and by how many letters are of which kind."""
    strong = [kind for kind in kinds if kind in ("R", "L")]
    if not strong or strong[0] == strong[-1] == "R":
        return True
    right = sum(len(c) for c, kind in zip(clusters, kinds, strict=True) if kind == "R")
    left = sum(len(c) for c, kind in zip(clusters, kinds, strict=True) if kind == "L")
    # With Arabic or Hebrew at the right end, a quarter of it makes a sentence with foreign names.
    return right * (3 if strong[-1] == "R" else 1) >= left


def _with_paired_brackets(text: str) -> str:
    """Brackets are mirrored by some producers, by PDFium, by both or by neither."""
    for pair in _BRACKETS:
        opening, closing = pair[0], pair[1]
        count = text.count(opening) + text.count(closing)
        if count and count % 2 == 0:
            pieces = text.replace(closing, opening).split(opening)
            marks = (opening, closing) * (count // 2)
            text = "".join(piece + mark for piece, mark in zip(pieces, (*marks, ""), strict=True))
    return text


def _from_left(clusters: Sequence[str], kinds: Sequence[str]) -> list[str]:
    """A line that begins at the left, with stretches that are read from the right."""
    ordered: list[str] = []
    index = 0
    while index < len(clusters):
        if kinds[index] != "R":
            ordered.append(clusters[index])
            index += 1
            continue
        end = index + 1
        for at in range(index, len(clusters)):
            if kinds[at] == "L":
                break
            if kinds[at] == "R":
                end = at + 1
        ordered += _from_right(clusters[index:end], kinds[index:end])
        index = end
    return ordered


def _from_right(clusters: Sequence[str], kinds: Sequence[str]) -> list[str]:
    """A line that begins at the right, with stretches that are read from the left."""
    ordered: list[str] = []
    end = len(clusters)
    while end > 0:
        if kinds[end - 1] not in ("L", "N"):
            ordered.append(clusters[end - 1])
            end -= 1
            continue
        start = end - 1
        while True:
            before = _joined_before(clusters, kinds, start)
            if before is None:
                break
            start = before
        ordered += clusters[start:end]
        end = start
    return ordered


def _joined_before(clusters: Sequence[str], kinds: Sequence[str], start: int) -> int | None:
    """Where a stretch from the left goes on to the left of `start`, if it does."""
    at = start - 1
    while at >= 0 and kinds[at] == "-":
        at -= 1
    if at < 0 or kinds[at] == "R":
        return None
    if at == start - 1 or kinds[at] == "L":
        return at
    # Between a number and what follows it: only a sign inside of a number joins them.
    between = clusters[at + 1 : start]
    joined = kinds[start] == "N" and len(between) == 1 and between[0] in _IN_NUMBERS
    return at if joined else None


def _kind(cluster: str) -> str:
    """R, L, N (number) or - (neither)."""
    char = cluster[0]
    if is_right_to_left(ord(char)):
        return "R"
    bidirectional = unicodedata.bidirectional(char)
    if bidirectional in ("EN", "AN"):
        return "N"
    return "L" if bidirectional == "L" else "-"


def _clusters(glyphs: Sequence[Glyph]) -> Iterator[Glyph]:
    """From left to right; marks behind their letters."""
    letters: list[Glyph] = []
    marks: list[Glyph] = []
    for glyph in glyphs:
        text = unicodedata.normalize("NFKC", glyph.text) if _is_form(glyph.text) else glyph.text
        placed = Glyph(text, glyph.left, glyph.right, glyph.size)
        (marks if text and unicodedata.combining(text[0]) else letters).append(placed)
    letters.sort(key=lambda glyph: glyph.left)
    for mark in marks:
        centre = (mark.left + mark.right) / 2
        near = min(
            range(len(letters)),
            key=lambda at: (
                not letters[at].left <= centre <= letters[at].right,
                abs((letters[at].left + letters[at].right) / 2 - centre),
            ),
            default=None,
        )
        if near is not None:
            base = letters[near]
            letters[near] = Glyph(base.text + mark.text, base.left, base.right, base.size)
    yield from letters


def _joined(glyphs: Sequence[Glyph]) -> Iterator[Glyph]:
    """Letters at one place (ligatures, words that a producer gave as a whole) in one."""
    start = 0
    for index in range(1, len(glyphs) + 1):
        first = glyphs[start]
        if index < len(glyphs) and abs(glyphs[index].left - first.left) < 0.01 * first.size:
            continue
        together = glyphs[start:index]
        text = "".join(glyph.text for glyph in together)
        if len(together) > 1 and any(is_right_to_left(ord(char)) for char in text):
            # PDFium gives these in the same order as it gives the letters around them.
            before = glyphs[start - 1] if start else None
            after = glyphs[index] if index < len(glyphs) else None
            ascending = not (
                (before and _kind(before.text) == "R" and before.left > first.left)
                or (after and _kind(after.text) == "R" and after.left < first.left)
            )
            if ascending or (len(text) == 2 and text[0] in _ALEFS and text[1] == _LAM):
                text = text[::-1]
        right = max(glyph.right for glyph in together)
        yield Glyph(text, first.left, right, first.size)
        start = index


def _is_form(text: str) -> bool:
    return any(0xFB1D <= ord(char) <= 0xFDFF or 0xFE70 <= ord(char) <= 0xFEFC for char in text)


def _with_spaces(clusters: Iterator[Glyph]) -> Iterator[str]:
    end: float | None = None
    for glyph in clusters:
        if not glyph.text.strip():
            continue
        if end is not None and glyph.left - end > _SPACE * glyph.size:
            yield " "
        yield glyph.text
        end = glyph.right if end is None else max(end, glyph.right)
