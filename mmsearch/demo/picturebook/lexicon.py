"""The closed world of the picture book: its objects, colours, places, weather and words.

Everything a scene can hold is listed here once; sampling, drawing, captions, questions and the
speech vocabulary all derive from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Category = Literal["animal", "vehicle", "building", "plant", "food", "household", "person", "toy"]
Habitat = Literal["ground", "water", "sky"]

COLOURS: tuple[str, ...] = (
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white",
)  # fmt: skip

NUMBERS: tuple[str, ...] = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
    "hundred",
)  # fmt: skip

RELATIONS: tuple[str, ...] = (
    "left of", "right of", "above", "below", "in front of", "behind", "next to",
)  # fmt: skip

SIZES: tuple[str, ...] = ("small", "normal", "big")

STYLES: tuple[str, ...] = ("poster", "comic", "watercolour", "paper", "crayon")

TIMES: tuple[str, ...] = ("day", "sunset", "night")
WEATHERS: tuple[str, ...] = ("clear", "cloudy", "rain", "snow", "fog")

# Which weather is drawn at which time; what is missing would be hard to tell apart.
SKIES: tuple[tuple[str, str], ...] = (
    ("day", "clear"), ("day", "cloudy"), ("day", "rain"), ("day", "snow"), ("day", "fog"),
    ("sunset", "clear"), ("sunset", "cloudy"), ("night", "clear"), ("night", "snow"),
)  # fmt: skip


@dataclass(frozen=True)
class ObjectKind:
    """One kind of object.

    `aspect` is width over height of its drawing, `scale` its usual height as a share of the
    picture's height, `indoors` whether it may stand in a room.
    """

    name: str
    plural: str
    category: Category
    habitat: Habitat
    aspect: float
    scale: float
    indoors: bool


def _kind(
    name: str,
    category: Category,
    aspect: float = 1.0,
    scale: float = 0.26,
    *,
    plural: str = "",
    habitat: Habitat = "ground",
    indoors: bool = False,
) -> ObjectKind:
    return ObjectKind(name, plural or name + "s", category, habitat, aspect, scale, indoors)


OBJECTS: tuple[ObjectKind, ...] = (
    _kind("dog", "animal", 1.25, 0.24, indoors=True),
    _kind("cat", "animal", 0.95, 0.25, indoors=True),
    _kind("horse", "animal", 1.2, 0.31),
    _kind("cow", "animal", 1.4, 0.26),
    _kind("sheep", "animal", 1.3, 0.23, plural="sheep"),
    _kind("pig", "animal", 1.35, 0.22),
    _kind("rabbit", "animal", 0.8, 0.24, indoors=True),
    _kind("elephant", "animal", 1.35, 0.32),
    _kind("giraffe", "animal", 0.75, 0.42),
    _kind("bear", "animal", 0.85, 0.3),
    _kind("penguin", "animal", 0.7, 0.26),
    _kind("owl", "animal", 0.75, 0.24),
    _kind("frog", "animal", 1.25, 0.19),
    _kind("turtle", "animal", 1.55, 0.18),
    _kind("snail", "animal", 1.4, 0.18),
    _kind("duck", "animal", 1.2, 0.2, habitat="water"),
    _kind("fish", "animal", 1.6, 0.17, plural="fish", habitat="water"),
    _kind("whale", "animal", 1.7, 0.24, habitat="water"),
    _kind("bird", "animal", 1.3, 0.18, habitat="sky"),
    _kind("butterfly", "animal", 1.15, 0.18, plural="butterflies", habitat="sky"),
    _kind("car", "vehicle", 1.9, 0.19),
    _kind("bus", "vehicle", 1.75, 0.26, plural="buses"),
    _kind("truck", "vehicle", 1.7, 0.25),
    _kind("bicycle", "vehicle", 1.5, 0.22),
    _kind("train", "vehicle", 1.7, 0.24),
    _kind("tractor", "vehicle", 1.3, 0.26),
    _kind("boat", "vehicle", 1.05, 0.28, habitat="water"),
    _kind("ship", "vehicle", 1.6, 0.26, habitat="water"),
    _kind("plane", "vehicle", 1.8, 0.18, habitat="sky"),
    _kind("balloon", "vehicle", 0.72, 0.32, habitat="sky"),
    _kind("rocket", "vehicle", 0.6, 0.34, habitat="sky"),
    _kind("house", "building", 1.1, 0.34),
    _kind("castle", "building", 1.15, 0.38),
    _kind("tower", "building", 0.5, 0.42),
    _kind("windmill", "building", 0.85, 0.4),
    _kind("tent", "building", 1.4, 0.25),
    _kind("barn", "building", 1.15, 0.32),
    _kind("tree", "plant", 0.8, 0.38),
    _kind("flower", "plant", 0.62, 0.25, indoors=True),
    _kind("cactus", "plant", 0.75, 0.28, plural="cacti", indoors=True),
    _kind("mushroom", "plant", 0.95, 0.2),
    _kind("apple", "food", 0.95, 0.16, indoors=True),
    _kind("pear", "food", 0.72, 0.19, indoors=True),
    _kind("cake", "food", 1.15, 0.2, indoors=True),
    _kind("pumpkin", "food", 1.2, 0.17, indoors=True),
    _kind("cherry", "food", 0.95, 0.17, plural="cherries", indoors=True),
    _kind("chair", "household", 0.7, 0.28, indoors=True),
    _kind("lamp", "household", 0.6, 0.3, indoors=True),
    _kind("clock", "household", 0.9, 0.2, indoors=True),
    _kind("cup", "household", 1.1, 0.16, indoors=True),
    _kind("vase", "household", 0.6, 0.24, indoors=True),
    _kind("teapot", "household", 1.35, 0.18, indoors=True),
    _kind("umbrella", "household", 1.1, 0.26, indoors=True),
    _kind("book", "household", 1.2, 0.17, indoors=True),
    _kind("suitcase", "household", 1.1, 0.21, indoors=True),
    _kind("guitar", "household", 0.5, 0.33, indoors=True),
    _kind("hat", "household", 1.5, 0.15, indoors=True),
    _kind("ball", "toy", 1.0, 0.16, indoors=True),
    _kind("kite", "toy", 0.8, 0.28, habitat="sky"),
    _kind("present", "toy", 1.0, 0.19, indoors=True),
    _kind("man", "person", 0.42, 0.36, plural="men", indoors=True),
    _kind("woman", "person", 0.5, 0.35, plural="women", indoors=True),
    _kind("girl", "person", 0.55, 0.28, indoors=True),
    _kind("boy", "person", 0.5, 0.28, indoors=True),
)

KINDS: dict[str, ObjectKind] = {kind.name: kind for kind in OBJECTS}


@dataclass(frozen=True)
class Place:
    """One background: its name in a caption ("on a beach") and what may be in it."""

    name: str
    phrase: str
    """A prepositional phrase: "on a beach"."""
    noun: str
    """A noun phrase: "a beach"."""
    indoors: bool = False
    water: bool = False
    floating: bool = False
    """Objects stand freely anywhere, as on a sticker sheet."""


PLACES: tuple[Place, ...] = (
    Place("beach", "on a beach", "a beach", water=True),
    Place("meadow", "in a meadow", "a meadow"),
    Place("street", "on a city street", "a city street"),
    Place("mountains", "in the mountains", "mountains"),
    Place("lake", "by a lake", "a lake", water=True),
    Place("desert", "in the desert", "a desert"),
    Place("forest", "in a forest", "a forest"),
    Place("farm", "on a farm", "a farm"),
    Place("park", "in a park", "a park"),
    Place("harbour", "in a harbour", "a harbour", water=True),
    Place("kitchen", "in a kitchen", "a kitchen", indoors=True),
    Place("living room", "in a living room", "a living room", indoors=True),
    Place("bedroom", "in a bedroom", "a bedroom", indoors=True),
    Place("plain", "on a plain background", "a plain background", floating=True),
)

PLACE: dict[str, Place] = {place.name: place for place in PLACES}
