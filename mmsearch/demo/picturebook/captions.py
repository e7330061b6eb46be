"""What people would write under a scene, from three words to a whole sentence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmsearch.demo.picturebook.lexicon import KINDS, NUMBERS, PLACE
from mmsearch.demo.picturebook.scene import Group, Scene

RELATION_PHRASES: dict[str, tuple[str, ...]] = {
    "left of": ("left of", "to the left of", "on the left of"),
    "right of": ("right of", "to the right of", "on the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "in front of": ("in front of",),
    "behind": ("behind",),
    "next to": ("next to", "beside"),
}

SKY_PHRASES: dict[tuple[str, str], tuple[str, ...]] = {
    ("day", "clear"): ("on a sunny day", "in bright sunshine"),
    ("day", "cloudy"): ("on a cloudy day", "under a cloudy sky"),
    ("day", "rain"): ("in the rain", "on a rainy day"),
    ("day", "snow"): ("in the snow", "on a snowy day"),
    ("day", "fog"): ("in the fog", "on a foggy day"),
    ("sunset", "clear"): ("at sunset",),
    ("sunset", "cloudy"): ("at sunset", "at sunset under clouds"),
    ("night", "clear"): ("at night under the stars", "on a starry night", "at night"),
    ("night", "snow"): ("on a snowy night", "at night in the snow"),
}

STYLE_PHRASES: dict[str, tuple[str, ...]] = {
    "poster": ("in poster style", "a poster of"),
    "comic": ("in comic style", "a comic drawing of"),
    "watercolour": ("in watercolour style", "a watercolour painting of"),
    "paper": ("in cut paper style", "a paper cut picture of"),
    "crayon": ("in crayon style", "a crayon drawing of"),
}


def article(phrase: str) -> str:
    """The phrase with "a" or "an" before it."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def describe(kind: str, colour: str | None = None, count: int = 1, size: str = "normal") -> str:
    """A noun phrase: "a big red boat", "two yellow ducks", "a man in green"."""
    noun = KINDS[kind].name if count == 1 else KINDS[kind].plural
    adjectives = [] if size == "normal" else [size]
    worn = KINDS[kind].category == "person" and colour is not None
    if colour is not None and not worn:
        adjectives.append(colour)
    phrase = " ".join([*adjectives, noun])
    phrase = article(phrase) if count == 1 else f"{NUMBERS[count]} {phrase}"
    return f"{phrase} in {colour}" if worn else phrase


def describe_group(group: Group, *, size: bool = True) -> str:
    """The noun phrase of a group, with its size where that is unusual."""
    return describe(group.kind, group.colour, group.count, group.size if size else "normal")


def subject(scene: Scene, rng: np.random.Generator, *, size: bool = True) -> str:
    """The objects of a scene as one phrase, with a relation where one holds."""
    groups = scene.groups
    names = [describe_group(group, size=size) for group in groups]
    if len(groups) == 1:
        return names[0]
    stated = [(i, r, j) for i, r, j in scene.relations if {i, j} == {0, 1}]
    if stated:
        i, relation, j = stated[int(rng.integers(len(stated)))]
        phrases = RELATION_PHRASES[relation]
        text = f"{names[i]} {phrases[int(rng.integers(len(phrases)))]} {names[j]}"
    else:
        text = f"{names[0]} and {names[1]}"
    if len(groups) > 2:
        text += f", with {names[2]}" if stated else f" with {names[2]}"
    return text


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def captions(scene: Scene) -> list[str]:
    """Captions from short to detailed; always the same ones for the same scene.

    The first names the main object, later ones add relations, the place, the weather and the
    style of the drawing.
    """
    rng = np.random.default_rng([scene.seed, 11])
    place = PLACE[scene.place]
    where = place.phrase
    sky = _pick(SKY_PHRASES[scene.time, scene.weather], rng)
    if place.indoors:
        sky = "at night" if scene.time == "night" else ""
    if place.floating:
        sky = ""
    out = [describe_group(scene.groups[0], size=False)]
    full = subject(scene, rng)
    if full != out[0]:
        out.append(full)
    out.append(f"{subject(scene, rng, size=False)} {where}")
    if sky:
        out.append(f"{subject(scene, rng)} {where} {sky}")
    body = " ".join(part for part in (subject(scene, rng), where, sky) if part)
    style = _pick(STYLE_PHRASES[scene.style], rng)
    out.append(f"{style} {body}" if style.endswith(" of") else f"{body}, {style}")
    return list(dict.fromkeys(out))
