"""Yes-or-no questions about a scene, hard ones included, as many true as false of every kind.

A question only mentions combinations of the scene's own split (see `splits`): otherwise a model
trained on `train` would learn that a combination it never saw is always a "no".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from mmsearch.demo.picturebook.captions import RELATION_PHRASES, describe
from mmsearch.demo.picturebook.lexicon import COLOURS, KINDS, OBJECTS, PLACE, PLACES, RELATIONS
from mmsearch.demo.picturebook.scene import Group, Scene, related
from mmsearch.demo.picturebook.splits import (
    INVERSE,
    allowed_in,
    colour_split,
    place_split,
    relation_split,
)

_T = TypeVar("_T")

QuestionKind = Literal["object", "colour", "count", "place", "weather", "relation", "size"]
QUESTION_KINDS: tuple[QuestionKind, ...] = (
    "object", "colour", "count", "place", "weather", "relation", "size",
)  # fmt: skip

_SKY: tuple[tuple[tuple[str, ...], frozenset[str], frozenset[str]], ...] = (
    # phrases, skies they are true of, skies nobody could agree about ("time/weather")
    (("a sunny day", "bright sunshine"), frozenset({"day/clear"}), frozenset({"sunset/clear"})),
    (("rain", "a rainy day"), frozenset({"day/rain"}), frozenset()),
    (("fog", "a foggy day"), frozenset({"day/fog"}), frozenset()),
    (("snow", "a snowy scene"), frozenset({"day/snow", "night/snow"}), frozenset()),
    (("a sunset", "the evening sky at sunset"), frozenset({"sunset/clear", "sunset/cloudy"}),
     frozenset()),
    (("a night scene", "the night sky"), frozenset({"night/clear", "night/snow"}), frozenset()),
    (("a starry night", "the moon"), frozenset({"night/clear"}), frozenset({"night/snow"})),
    (("a cloudy sky", "a cloudy day"), frozenset({"day/cloudy"}),
     frozenset({"day/rain", "sunset/cloudy", "sunset/clear", "night/snow", "day/snow", "day/fog"})),
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    """`text` describes something ("a red boat left of a green house"); `answer` says whether
    the picture shows it."""

    text: str
    answer: bool
    kind: QuestionKind


@dataclass(frozen=True)
class _Thing:
    """A mention of an object, with or without its colour."""

    kind: str
    colour: str | None
    count: int = 1

    def matches(self, group: Group) -> bool:
        return (
            group.kind == self.kind
            and self.colour in (None, group.colour)
            and group.count == self.count
        )

    def text(self) -> str:
        return describe(self.kind, self.colour, self.count)


class _Asker:
    """Makes the questions about one scene."""

    def __init__(self, scene: Scene, rng: np.random.Generator) -> None:
        self.scene, self.rng, self.split = scene, rng, scene.split
        self.groups = scene.groups
        self.kinds = {group.kind for group in scene.groups}
        self.others = [
            kind.name
            for kind in OBJECTS
            if allowed_in(kind, PLACE[scene.place])
            and place_split(kind.name, scene.place) == self.split
            and kind.name not in self.kinds
        ]

    def pick(self, options: Sequence[_T]) -> _T:
        return options[int(self.rng.integers(len(options)))]

    def colours(self, kind: str) -> list[str]:
        return [c for c in COLOURS if colour_split(kind, c) == self.split]

    def shown(self, kind: str, colour: str | None = None) -> bool:
        return any(g.kind == kind and colour in (None, g.colour) for g in self.groups)

    def relation(self, a: _Thing, relation: str, b: _Thing) -> bool | None:
        """Whether the picture shows `a relation b`; None where people would differ."""
        answers = [
            related(x.items, relation, y.items)
            for x in self.groups
            for y in self.groups
            if x is not y and a.matches(x) and b.matches(y)
        ]
        if True in answers:
            return True
        return None if None in answers else False

    def allowed(self, a: _Thing, relation: str, b: _Thing) -> bool:
        """Whether a relation may be mentioned in this split."""
        return relation_split(a.kind, relation, b.kind) == self.split and all(
            x.colour is None or colour_split(x.kind, x.colour) == self.split for x in (a, b)
        )

    # -- one true or false text of each kind; None where the scene offers none -------------------

    def object(self, answer: bool) -> str | None:
        if answer:
            group = self.pick(self.groups)
            return describe(group.kind, count=1)
        if not self.others:
            return None
        like = KINDS[self.pick(self.groups).kind].category
        near = [k for k in self.others if KINDS[k].category == like]
        return describe(self.pick(near if near and self.rng.random() < 0.5 else self.others))

    def colour(self, answer: bool) -> str | None:
        group = self.pick(self.groups)
        if answer:
            if len(self.groups) > 1 and self.rng.random() < 0.3:
                other = self.pick([g for g in self.groups if g is not group])
                return f"{_name(group)} and {_name(other)}"
            return describe(group.kind, group.colour)
        if len(self.groups) > 1 and self.rng.random() < 0.3:
            # Both objects and both colours are there, but the wrong way round.
            other = self.pick([g for g in self.groups if g is not group])
            a = _Thing(group.kind, other.colour, group.count)
            b = _Thing(other.kind, group.colour, other.count)
            fits = all(
                t.colour in self.colours(t.kind) and not self.shown(t.kind, t.colour)
                for t in (a, b)
            )
            if fits and group.kind != other.kind:
                return f"{a.text()} and {b.text()}"
        used = {g.colour for g in self.groups}
        options = [c for c in self.colours(group.kind) if not self.shown(group.kind, c)]
        near = [c for c in options if c in used]
        if not options:
            return None
        if near and self.rng.random() < 0.6:
            options = near
        return describe(group.kind, self.pick(options))

    def count(self, answer: bool) -> str | None:
        group = self.pick(self.groups)
        colour = group.colour if self.rng.random() < 0.6 else None
        total = sum(
            g.count for g in self.groups if g.kind == group.kind and colour in (None, g.colour)
        )
        wrong = [n for n in range(1, 6) if n != total]
        near = [n for n in wrong if abs(n - total) == 1]
        number = total if answer else self.pick(near if self.rng.random() < 0.5 else wrong)
        if number == 1:
            return "one " + describe(group.kind, colour).split(" ", 1)[1]
        return describe(group.kind, colour, number) if number <= 5 else None

    def place(self, answer: bool) -> str | None:
        group = self.pick(self.groups)
        here = PLACE[self.scene.place]
        places = [here] if answer else [p for p in PLACES if p is not here]
        if self.rng.random() < 0.5:
            return self.pick(places).noun
        kind = KINDS[group.kind]
        places = [
            p
            for p in places
            if allowed_in(kind, p) and place_split(kind.name, p.name) == self.split
        ]
        if not places:
            return None
        return f"{describe(group.kind, group.colour)} {self.pick(places).phrase}"

    def weather(self, answer: bool) -> str | None:
        place = PLACE[self.scene.place]
        if place.indoors or place.floating:
            return None
        here = f"{self.scene.time}/{self.scene.weather}"
        options = [
            phrases
            for phrases, true, unsure in _SKY
            if here not in unsure and (here in true) == answer
        ]
        return self.pick(self.pick(options)) if options else None

    def size(self, answer: bool) -> str | None:
        groups = [g for g in self.groups if g.size != "normal"]
        groups = [g for g in groups if sum(o.kind == g.kind for o in self.groups) == 1]
        if not groups:
            return None
        group = self.pick(groups)
        wrong = {"big": "small", "small": "big"}[group.size]
        colour = group.colour if self.rng.random() < 0.6 else None
        return describe(group.kind, colour, 1, group.size if answer else wrong)

    def _things(self, i: int, j: int, coloured: float) -> tuple[_Thing, _Thing]:
        a, b = self.groups[i], self.groups[j]
        with_colour = self.rng.random() < coloured or a.kind == b.kind
        return (
            _Thing(a.kind, a.colour if with_colour else None, a.count),
            _Thing(b.kind, b.colour if with_colour else None, b.count),
        )

    def relations(self, answer: bool) -> str | None:
        if not self.scene.relations:
            return None
        i, relation, j = self.pick(self.scene.relations)
        a, b = self._things(i, j, 0.75)
        if not answer:
            wrong = next(self._wrong(a, relation, b), None)
            if wrong is None:
                return None
            a, relation, b = wrong
        return f"{a.text()} {self.pick(RELATION_PHRASES[relation])} {b.text()}"

    def _wrong(self, a: _Thing, relation: str, b: _Thing) -> Iterator[tuple[_Thing, str, _Thing]]:
        """False variants of a true statement, in random order with the hard ones first."""
        flips = [(a, INVERSE[relation], b), (b, relation, a)]
        turns = [(a, r, b) for r in RELATIONS if r not in (relation, INVERSE[relation])]
        dyed = []
        if a.colour is not None and b.colour is not None and a.colour != b.colour:
            dyed.append((_Thing(a.kind, b.colour, a.count), relation,
                         _Thing(b.kind, a.colour, b.count)))  # fmt: skip
        if b.colour is not None:
            others = [c for c in self.colours(b.kind) if c != b.colour]
            dyed += [(a, relation, _Thing(b.kind, colour, b.count)) for colour in others]
        swapped = [
            (a, relation, _Thing(kind, b.colour, b.count))
            for kind in self.others
            if b.colour is None or b.colour in self.colours(kind)
        ]
        families = [flips, turns, dyed, swapped]
        weights = np.array([0.5, 0.2, 0.18, 0.12])
        order = self.rng.choice(4, size=4, replace=False, p=weights)
        for family in order:
            options = families[int(family)]
            for index in self.rng.permutation(len(options)):
                x, name, y = options[int(index)]
                if self.allowed(x, name, y) and self.relation(x, name, y) is False:
                    yield x, name, y


def _name(group: Group) -> str:
    return describe(group.kind, group.colour, group.count)


def questions(scene: Scene, seed: int, rounds: int = 1) -> list[Question]:
    """Questions about a scene: in every round at most one true and one false text of each kind.

    A kind without both a true and a false text (weather in a room, size where all is of normal
    size) is left out of the round, so every kind stays balanced. The same arguments give the
    same questions.
    """
    asker = _Asker(scene, np.random.default_rng([scene.seed, seed, 13]))
    makers: dict[QuestionKind, Callable[[bool], str | None]] = {
        "object": asker.object,
        "colour": asker.colour,
        "count": asker.count,
        "place": asker.place,
        "weather": asker.weather,
        "relation": asker.relations,
        "size": asker.size,
    }
    out: list[Question] = []
    for _ in range(rounds):
        for kind in QUESTION_KINDS:
            true, false = makers[kind](True), makers[kind](False)
            if true is not None and false is not None:
                out += [Question(true, True, kind), Question(false, False, kind)]
    return out
