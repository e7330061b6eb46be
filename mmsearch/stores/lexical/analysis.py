"""Splits text into the tokens that full-text search compares, the same on every database.

Case, accents and Unicode variants are folded: "Ångström", "ANGSTROM" and "angstrom" are one
word. Letters and digits part ("IMG4711" is "img", "4711"). Scripts that are written without
spaces (Chinese, Japanese, Korean, Thai, ...) become overlapping pairs of characters, with the
last character of a run alone after them, so that a single character can be found as a prefix.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

BREAK = "¦"
"""A token that no query has: a phrase does not match across it."""

MAX_TOKEN = 64
"""Characters of a token; longer ones (base64, hashes) are truncated."""

MAX_TOKENS = 15_000
"""Tokens of one segment: PostgreSQL knows no position beyond 16,383."""

NAMED_IN = ("title", "description", "caption", "keywords", "tags", "subject", "artist",
            "author", "album", "genre", "headline", "people", "location", "city", "state",
            "country", "camera", "lens", "composer", "creator")  # fmt: skip
"""Metadata that names or describes a source; it is searched like its file name."""

_UNSPACED = (
    r"\u1100-\u11ff\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003fffd"  # Han, Kana, Hangul
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
)
# The vowel signs of Indic and Tibetan scripts are marks, not letters, but part of the word.
_MARKED = r"\u0900-\u0963\u0970-\u0dff\u0f40-\u0fbc\u200d"
_TOKEN = re.compile(
    rf"(?P<digits>[0-9]+)|(?P<run>[{_UNSPACED}]+)|"
    rf"(?P<letters>(?:(?![{_UNSPACED}])[^\W\d_]|[{_MARKED}])+)"
)
_LATIN_MARKS = re.compile(r"[\u0300-\u036f]")
_UNDECOMPOSED = {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "ı": "i",
                 "þ": "th", "ħ": "h", "ŧ": "t"}  # fmt: skip


class _Folds(dict[int, str]):
    """What each character becomes; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        folded = self[code] = _fold_character(chr(code))
        return folded


def _fold_character(character: str) -> str:
    if unicodedata.decimal(character, None) is not None:
        return str(unicodedata.decimal(character))
    if "\u0591" <= character <= "\u061a" or "\u064b" <= character <= "\u0670":
        # Hebrew and Arabic vowel points are marks that most people leave out.
        return "" if unicodedata.category(character) == "Mn" else character
    lower = character.casefold()
    apart = unicodedata.normalize("NFKD", lower)
    if _LATIN_MARKS.search(apart):
        return unicodedata.normalize("NFC", _LATIN_MARKS.sub("", apart))
    return "".join(_UNDECOMPOSED.get(character, character) for character in lower)


_FOLDS = _Folds()


def fold(text: str) -> str:
    """Case, accents, width and other variants taken away."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text).translate(_FOLDS)


def tokens(text: str) -> list[str]:
    """The tokens of a text, in order."""
    return [token for token, _, _ in _split(fold(text))]


def tokens_with_places(text: str) -> list[tuple[str, int, int]]:
    """(token, start, end) with places in `text` itself, for highlighting.

    A word of which folding changes the length is placed as a whole.
    """
    placed: list[tuple[str, int, int]] = []
    folded = ""
    origin: list[int] = []
    for start, end in _clusters(text):
        piece = fold(text[start:end])
        folded += piece
        origin += [start] * len(piece)
    origin.append(len(text))
    ends = [*origin[1:], len(text)]
    for token, start, end in _split(folded):
        last = end - 1
        # The end of a cluster is where the next one begins.
        after = next((place for place in ends[last:] if place > origin[last]), len(text))
        placed.append((token, origin[start], after))
    return placed


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Spans of a character with the combining marks after it."""
    start = 0
    for place in range(1, len(text) + 1):
        if place == len(text) or not unicodedata.combining(text[place]):
            if start < place:
                yield start, place
            start = place


def _split(folded: str) -> Iterator[tuple[str, int, int]]:
    for match in _TOKEN.finditer(folded):
        start, end = match.span()
        if match.lastgroup != "run":
            yield match[0][:MAX_TOKEN], start, end
            continue
        for place in range(start, end - 1):
            yield folded[place : place + 2], place, place + 2
        yield folded[end - 1], end - 1, end


def pieces(text: str) -> list[tuple[tuple[str, ...], bool]]:
    """The units that a query's text is searched by: (adjacent tokens, is a prefix).

    Words without a space between them ("invoice-4711") are one unit. Pairs of characters of a
    script without spaces are units of their own, since nobody knows where its words end.
    """
    parts: list[tuple[tuple[str, ...], bool]] = []
    together: list[str] = []
    after = -1
    for match in _TOKEN.finditer(fold(text)):
        run = match.lastgroup == "run"
        apart = run or " " in match.string[max(after, 0) : match.start()]
        if together and apart:
            parts.append((tuple(together), False))
            together = []
        after = match.end()
        if not run:
            together.append(match[0][:MAX_TOKEN])
        elif len(match[0]) == 1:
            parts.append(((match[0],), True))
        else:
            parts += [((match[0][i : i + 2],), False) for i in range(len(match[0]) - 1)]
    if together:
        parts.append((tuple(together), False))
    return parts


def name_tokens(path: str, metadata: Mapping[str, Any]) -> list[str]:
    """The names of a source: its file name, its folder, its title and so on.

    "HolidayPhoto_01.jpg" is found as "holiday photo 01" and as "holidayphoto".
    """
    parts = [part for part in re.split(r"[/\\]", path) if part]
    named: list[str] = []
    for name in reversed(parts[-2:]):
        apart = tokens(_split_camel(name))
        joined = [token for token in tokens(name) if token not in apart]
        named += [*apart, BREAK, *([*joined, BREAK] if joined else [])]
    values = {key.lower(): value for key, value in metadata.items()}
    for key in NAMED_IN:
        for text in _texts(values.get(key)):
            named += [*tokens(text), BREAK]
    return named


def _texts(value: Any) -> Iterator[str]:
    """The texts of a metadata value: itself, those of a list, the names of objects."""
    for element in value if isinstance(value, list) else [value]:
        text = element.get("name") if isinstance(element, dict) else element
        if isinstance(text, str) and text:
            yield text


def segment_tokens(text: str | None, named: list[str]) -> list[str]:
    """All tokens of a segment: its own words, then the names of its source."""
    named = named[: MAX_TOKENS // 2]
    return [*(tokens(text) if text else [])[: MAX_TOKENS - len(named) - 1], BREAK, *named]


def _split_camel(name: str) -> str:
    """A space between "aB" and before the last capital of "ABc"."""
    parts: list[str] = []
    for i, character in enumerate(name):
        after_lower = i > 0 and name[i - 1].islower()
        ends_capitals = i > 0 and name[i - 1].isupper() and name[i + 1 : i + 2].islower()
        if character.isupper() and (after_lower or ends_capitals):
            parts.append(" ")
        parts.append(character)
    return "".join(parts)
