"""What a user's words mean to full text: the little syntax that we have, and no other.

``"red boat"``  these words must stand there, side by side and in this order
``boat*``       every word that begins so
``-draft``      nothing that holds this word (also ``-"first draft"``)

Everything else is words, whatever signs are in it: there is no way to write a wrong query. A
sign that makes no sense where it stands (a single quote mark, a lone star, a query that only
excludes) is no sign.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mmsearch.stores.lexical.analysis import pieces, tokens
from mmsearch.types import WordUnit

_QUOTED = re.compile(r'(?<![\w"])(?P<minus>-?)(?:"(?P<plain>[^"]+)"|[“„](?P<curly>[^“”„]+)[“”])')
_EXCLUDED = re.compile(r"(?<!\S)-(?=\w)(?P<word>\S+)")
_PREFIX = re.compile(r"\w\w\*$")
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")


@dataclass(frozen=True, slots=True)
class Words:
    """A text as full text and the embedders take it."""

    plain: str
    """Without syntax and without what is excluded: what is embedded."""
    units: tuple[WordUnit, ...] = ()
    """What is looked for."""
    required: tuple[WordUnit, ...] = ()
    """Of these, every one must be there."""
    excluded: tuple[WordUnit, ...] = ()
    """None of these may be there."""


def parse_words(text: str, weight: float = 1.0) -> Words:
    """A user's text, read by the syntax above."""
    required: list[WordUnit] = []
    excluded: list[WordUnit] = []

    def quoted(match: re.Match[str]) -> str:
        unit = _phrase(match["plain"] or match["curly"], weight, quoted=True)
        if unit is not None:
            (excluded if match["minus"] else required).append(unit)
        return " "

    def left_out(match: re.Match[str]) -> str:
        unit = _phrase(match["word"].rstrip("*"), weight, prefix=_is_prefix(match["word"]))
        if unit is not None:
            excluded.append(unit)
        return " "

    outside = _EXCLUDED.sub(left_out, _QUOTED.sub(quoted, text))
    units = [*required, *_units(outside, weight)]
    if not units:
        # Nothing is asked for but what is left out: then the signs were none.
        return Words(text, units_of(text, weight))
    kept = _EXCLUDED.sub(" ", _QUOTED.sub(_without_quotes, text))
    plain = " ".join(word.rstrip("*") if _is_prefix(word) else word for word in kept.split())
    return Words(plain or text, tuple(units), tuple(required), tuple(excluded))


def units_of(text: str, weight: float = 1.0) -> tuple[WordUnit, ...]:
    """Words without any syntax: those that were heard, or found in a picture."""
    return tuple(_units(text.replace("*", " "), weight))


def _without_quotes(match: re.Match[str]) -> str:
    return " " if match["minus"] else f" {match['plain'] or match['curly']} "


def _units(text: str, weight: float) -> list[WordUnit]:
    found: list[WordUnit] = []
    for word in text.split():
        # "l'eau" and "John's" are two words, of which the single letters say nothing.
        parts = _APOSTROPHE.split(word)
        for part in parts:
            cut = pieces(part.rstrip("*"))
            for n, (some, is_beginning) in enumerate(cut):
                if len(parts) > 1 and len(some) == 1 and len(some[0]) == 1:
                    continue
                last = n == len(cut) - 1
                prefix = is_beginning or (last and _is_prefix(part))
                found.append(WordUnit(some, prefix, weight))
    return list(dict.fromkeys(found))


def _phrase(
    text: str, weight: float, *, prefix: bool = False, quoted: bool = False
) -> WordUnit | None:
    """Everything in `text`, side by side; None if there is no word in it."""
    words = tokens(text)
    if not words:
        return None
    last, is_beginning = pieces(text)[-1]
    if words[-1] != last[-1]:
        # The last character of a run stands alone after its pairs; here the run may go on.
        words.pop()
    return WordUnit(tuple(words), prefix or is_beginning, weight, quoted)


def _is_prefix(word: str) -> bool:
    return _PREFIX.search(word) is not None
