"""Which combinations a split may show: `test` combinations never occur in `train`.

Every combination belongs to exactly one split, by a hash of its own text, so the division is the
same on every machine and does not move when scenes are sampled differently.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Literal

from mmsearch.demo.picturebook.lexicon import COLOURS, KINDS, PLACES, ObjectKind, Place

Split = Literal["train", "test"]

_TEST_COLOURS = 2
"""Colours of each object that only `test` shows, of ten."""
_TEST_PLACE_SHARE = 0.25
_TEST_RELATION_PERCENT = 30

INVERSE: dict[str, str] = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "in front of": "behind",
    "behind": "in front of",
    "next to": "next to",
}


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def allowed_in(kind: ObjectKind, place: Place) -> bool:
    """Whether an object may be drawn in a place at all."""
    if place.floating:
        return True
    if place.indoors:
        return kind.indoors
    return kind.habitat != "water" or place.water


@cache
def _test_colours(kind: str) -> frozenset[str]:
    ranked = sorted(COLOURS, key=lambda colour: _hash(f"colour:{kind}:{colour}"))
    return frozenset(ranked[:_TEST_COLOURS])


@cache
def _test_places(kind: str) -> frozenset[str]:
    names = [place.name for place in PLACES if allowed_in(KINDS[kind], place)]
    ranked = sorted(names, key=lambda name: _hash(f"place:{kind}:{name}"))
    return frozenset(ranked[: max(1, round(len(names) * _TEST_PLACE_SHARE))])


@cache
def colour_split(kind: str, colour: str) -> Split:
    """The split that shows this object in this colour."""
    return "test" if colour in _test_colours(kind) else "train"


@cache
def place_split(kind: str, place: str) -> Split:
    """The split that shows this object in this place."""
    return "test" if place in _test_places(kind) else "train"


@cache
def relation_split(a: str, relation: str, b: str) -> Split:
    """The split that shows `a relation b`; the inverse statement belongs to the same one."""
    if a > b:
        a, relation, b = b, INVERSE[relation], a
    elif a == b and relation > INVERSE[relation]:
        relation = INVERSE[relation]
    test = _hash(f"relation:{a}:{relation}:{b}") % 100 < _TEST_RELATION_PERCENT
    return "test" if test else "train"
