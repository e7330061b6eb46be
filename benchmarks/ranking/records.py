"""Notes that are looked for by the very words in them: invoices, orders, people, appliances.

A vector of a text says little about its numbers and names; whoever types "invoice 4711" wants
that one. Half of the queries are such words, the other half say what a record is about.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np

_FIRST = ("Emma", "Anna", "Tom", "Ben", "Lucy", "Max", "Paul", "Laura", "Peter", "Mary", "John",
          "Sara", "David", "Julia", "Leo", "Nina")  # fmt: skip
_LAST = ("Hartmann", "Okafor", "Lindqvist", "Moreau", "Tanaka", "Kowalski", "Brennan",
         "Rossi", "Dvořák", "Ferreira", "Novak", "Whitfield", "Øster", "Yılmaz", "Quinn",
         "Zimmer")  # fmt: skip
_THINGS = (
    ("washing machine", "The drum makes a noise and the door does not close."),
    ("bicycle", "New brakes and two new tyres, the chain was cleaned."),
    ("heating", "The boiler loses pressure; the valve was replaced."),
    ("dishwasher", "It does not drain; the pump was changed."),
    ("car", "Oil change, winter wheels and a new battery."),
    ("laptop", "The screen stays dark after an update; the battery is weak."),
    ("piano", "Tuned, and two keys that stuck were repaired."),
    ("garden fence", "Six metres of wood, painted green, with a gate."),
    ("kitchen lamp", "It flickers; the transformer was replaced."),
    ("roof", "Four tiles were broken by the storm, the gutter is clean."),
    ("coffee machine", "Descaled, and a new seal for the water tank."),
    ("tent", "A torn seam was sewn, one pole is missing."),
)  # fmt: skip
_KINDS = (
    "Invoice {number} of {day}. {Thing} for {name}. {detail} Total {price} euros, due in 14 days.",
    "Order {code}: {thing} for {name}, to be picked up on {day}. {detail}",
    "Call with {name} about the {thing}. {detail} Reference {code}.",
    "Warranty of the {thing}, serial {code}, bought on {day} by {name}. {detail}",
)
_DAYS = ("3 May", "17 June", "9 September", "28 February", "12 November", "30 August", "1 April")


@dataclass(frozen=True)
class Record:
    """A note, the words that name it alone, and what it is about."""

    text: str
    words: str
    about: str
    name: str
    """The family name, in small letters and without accents, as people type it."""


def records(n: int, seed: int) -> list[Record]:
    """n records; no two share a number or a code, many share a thing, a name or a day."""
    rng = np.random.default_rng([seed, 41])
    numbers = rng.permutation(9000)[: 2 * n] + 1000
    found = []
    for i in range(n):
        kind, what = int(rng.integers(len(_KINDS))), int(rng.integers(len(_THINGS)))
        thing, detail = _THINGS[what]
        letters = "".join(chr(65 + int(c)) for c in rng.integers(26, size=2))
        code = f"{letters}-{numbers[2 * i + 1]}"
        last = _LAST[int(rng.integers(len(_LAST)))]
        text = _KINDS[kind].format(
            number=numbers[2 * i],
            code=code,
            thing=thing,
            Thing=thing.capitalize(),
            detail=detail,
            name=f"{_FIRST[int(rng.integers(len(_FIRST)))]} {last}",
            day=_DAYS[int(rng.integers(len(_DAYS)))],
            price=int(rng.integers(20, 900)),
        )
        words = f"invoice {numbers[2 * i]}" if kind == 0 else code.lower()
        about = ("bill for the {}", "order of a {}", "phone call about the {}", "guarantee of a {}")
        found.append(Record(text, words, about[kind].format(thing), _typed(last)))
    return found


def _typed(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.lower().replace("ø", "o").replace("ı", "i"))
    return "".join(c for c in plain if not unicodedata.combining(c))
