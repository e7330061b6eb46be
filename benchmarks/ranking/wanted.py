"""Queries about scenes whose truth is known: of which pictures, notes and memos they are true.

A query is asked about one scene, in the words of a caption, and then every scene of the set is
looked at: another one that shows the same is just as right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmsearch.demo.picturebook import Scene
from mmsearch.demo.picturebook.captions import RELATION_PHRASES, SKY_PHRASES, describe
from mmsearch.demo.picturebook.lexicon import PLACE
from mmsearch.demo.picturebook.scene import Group

Mention = tuple[str, str, int]
"""Kind, colour and number of a group of objects."""

LEVELS = ("object", "place", "relation", "detailed")

# Snow by day and by night are both "in the snow", and so on: a phrase may be true of several.
_SKIES_OF: dict[str, set[tuple[str, str]]] = {}
for _sky, _phrases in SKY_PHRASES.items():
    for _phrase in _phrases:
        _SKIES_OF.setdefault(_phrase, set()).add(_sky)
_SKIES_OF["at night"] = {("night", "clear"), ("night", "snow")}
_SKIES_OF["at sunset"] = {("sunset", "clear"), ("sunset", "cloudy")}


@dataclass(frozen=True)
class Wanted:
    """A description with its meaning."""

    text: str
    level: str
    mentions: tuple[Mention, ...]
    relation: str | None = None
    """Of the first mention to the second."""
    place: str | None = None
    sky: str | None = None
    """The phrase, which several skies may answer."""

    def shown_by(self, scene: Scene) -> bool:
        """Whether the picture shows it."""
        if self.place is not None and scene.place != self.place:
            return False
        if self.sky is not None and (scene.time, scene.weather) not in _SKIES_OF[self.sky]:
            return False
        where = [i for i, g in enumerate(scene.groups) if mention(g) in self.mentions]
        if {mention(scene.groups[i]) for i in where} != set(self.mentions):
            return False
        return self.relation is None or any(
            mention(scene.groups[i]) == self.mentions[0]
            and mention(scene.groups[j]) == self.mentions[1]
            and relation == self.relation
            for i, relation, j in scene.relations
        )

    def told_by(self, scene: Scene) -> bool:
        """Whether what is written or said about the scene tells it: only its two main groups."""
        told = {mention(group) for group in scene.groups[:2]}
        return set(self.mentions) <= told and self.shown_by(scene)


def mention(group: Group) -> Mention:
    """What a caption says of a group."""
    return group.kind, group.colour, group.count


def wanted(scene: Scene, level: str, rng: np.random.Generator) -> Wanted | None:
    """A description of the scene at a level, from three words up; None if it offers none."""
    groups = scene.groups
    main = mention(groups[0])
    name = describe(*main)
    if level == "object":
        group = groups[int(rng.integers(min(2, len(groups))))]
        return Wanted(describe(*mention(group)), level, (mention(group),))
    place = PLACE[scene.place]
    if level == "place":
        return Wanted(f"{name} {place.phrase}", level, (main,), place=scene.place)
    relations = [r for i, r, j in scene.relations if (i, j) == (0, 1)]
    if not relations or main == mention(groups[1]):
        return None
    relation = relations[int(rng.integers(len(relations)))]
    phrases = RELATION_PHRASES[relation]
    both = (main, mention(groups[1]))
    text = f"{name} {phrases[int(rng.integers(len(phrases)))]} {describe(*both[1])}"
    if level == "relation":
        return Wanted(text, level, both, relation)
    sky: str | None = None
    if not place.indoors and not place.floating:
        choice = SKY_PHRASES[scene.time, scene.weather]
        sky = choice[int(rng.integers(len(choice)))]
    words = " ".join(part for part in (text, place.phrase, sky) if part)
    return Wanted(words, level, both, relation, scene.place, sky)


def asked(scenes: list[Scene], level: str, n: int, seed: int) -> list[tuple[int, Wanted]]:
    """n different descriptions at a level, each with the number of the scene it was made from."""
    rng = np.random.default_rng([seed, LEVELS.index(level)])
    found: dict[str, tuple[int, Wanted]] = {}
    for number in rng.permutation(len(scenes)).tolist():
        one = wanted(scenes[number], level, rng)
        if one is not None:
            found.setdefault(one.text, (number, one))
        if len(found) == n:
            break
    return list(found.values())
