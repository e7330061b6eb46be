"""What the words of a text mean to full text and to the embedders.

The syntax is that of `mmsearch.search.parse.language`. Here fields are words like any others:
`mmsearch.search.parse.reading` has taken out those that are filters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mmsearch.search.parse.language import (
    Alternatives,
    FieldValue,
    Phrase,
    Word,
    parse,
    source_of,
)
from mmsearch.stores.lexical.analysis import pieces, tokens
from mmsearch.types import WordUnit

_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")


@dataclass(frozen=True, slots=True)
class Words:
    """A text as full text and the embedders take it."""

    plain: str
    """Without syntax and without what is excluded, alternatives side by side: what is embedded."""
    units: tuple[WordUnit, ...] = ()
    """What full text searches for."""
    required: tuple[WordUnit, ...] = ()
    """Of these, each must appear."""
    excluded: tuple[WordUnit, ...] = ()
    """None of these may appear."""


def parse_words(text: str, weight: float = 1.0) -> Words:
    """A text of the query language whose filters have been taken out."""
    required: list[WordUnit] = []
    excluded: list[WordUnit] = []
    others: list[WordUnit] = []
    plain: list[str] = []
    for item in parse(text):
        members = item.items if isinstance(item, Alternatives) else (item,)
        if item.excluded:
            excluded += [unit for member in members if (unit := _unit(member, weight)) is not None]
            continue
        plain += [_text(member) for member in members]
        if isinstance(item, Alternatives):
            unit = _either([_unit(member, weight) for member in members])
            if unit is not None:
                required_all = all(isinstance(member, Phrase) for member in members)
                (required if required_all else others).append(unit)
        elif isinstance(item, Phrase):
            unit = _unit(item, weight)
            if unit is not None:
                required.append(unit)
        else:
            others += _units(_text(item), weight, isinstance(item, Word) and item.prefix)
    units = [*required, *dict.fromkeys(others)]
    if not units:
        # A query cannot consist of exclusions only: then the signs are part of the words.
        return Words(text, units_of(text, weight))
    return Words(
        " ".join(" ".join(plain).split()) or text,
        tuple(units),
        tuple(required),
        tuple(excluded),
    )


def units_of(text: str, weight: float = 1.0) -> tuple[WordUnit, ...]:
    """Words without any syntax: those that were recognised in a recording or a picture."""
    return tuple(dict.fromkeys(unit for word in text.split() for unit in _units(word, weight)))


def _text(item: Word | Phrase | FieldValue) -> str:
    return source_of(item) if isinstance(item, FieldValue) else item.text


def _units(word: str, weight: float, prefix: bool = False) -> list[WordUnit]:
    """The units of one word, which may be several: "l'eau" is two, of which "l" says nothing."""
    units: list[WordUnit] = []
    parts = _APOSTROPHE.split(word)
    for part in parts:
        runs = pieces(part)
        for n, (run, is_beginning) in enumerate(runs):
            if len(parts) > 1 and len(run) == 1 and len(run[0]) == 1:
                continue
            is_last = part is parts[-1] and n == len(runs) - 1
            units.append(WordUnit(run, is_beginning or (prefix and is_last), weight))
    return units


def _unit(item: Word | Phrase | FieldValue, weight: float) -> WordUnit | None:
    """The whole item as words side by side; None if there is no word in it."""
    text = _text(item)
    words = tokens(text)
    if not words:
        return None
    last, is_beginning = pieces(text)[-1]
    if words[-1] != last[-1]:
        # The last character of a run stands alone after its pairs; here the run may go on.
        words.pop()
    prefix = is_beginning or (isinstance(item, Word) and item.prefix)
    return WordUnit(tuple(words), prefix, weight, isinstance(item, Phrase))


def _either(units: Sequence[WordUnit | None]) -> WordUnit | None:
    """One unit that stands for several; None if none of them has a word."""
    distinct = list(dict.fromkeys(unit for unit in units if unit is not None))
    if not distinct:
        return None
    return replace(distinct[0], alternatives=tuple(distinct[1:]))
