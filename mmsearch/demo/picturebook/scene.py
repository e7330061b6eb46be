"""Scenes: what is in a picture, where, and which statements about it are true.

`sample_scenes` makes them from a seed: groups of objects are chosen so that every combination
belongs to the asked split, then laid out by rejection sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mmsearch.demo.picturebook.lexicon import (
    COLOURS,
    KINDS,
    OBJECTS,
    PLACE,
    PLACES,
    RELATIONS,
    SKIES,
    STYLES,
)
from mmsearch.demo.picturebook.splits import (
    Split,
    allowed_in,
    colour_split,
    place_split,
    relation_split,
)

Box = tuple[float, float, float, float]
"""Left, top, right, bottom as shares of the picture, 0..1, y down."""

_SIZE_FACTOR = {"small": 0.62, "normal": 1.0, "big": 1.5}
_COUNT_FACTOR = {1: 1.0, 2: 0.92, 3: 0.84, 4: 0.76, 5: 0.7}
_CROWD_FACTOR = {1: 1.45, 2: 1.22, 3: 1.12}
"""How much larger objects are drawn where the picture holds few groups."""
_LAYOUTS = ("single", "count", "pair", "pair", "pair", "mixed", "trio")


@dataclass(frozen=True)
class Item:
    """One drawn object."""

    kind: str
    colour: str
    size: str
    box: Box
    flip: bool
    group: int


@dataclass(frozen=True)
class Group:
    """Objects of one kind and colour that a caption names together."""

    kind: str
    colour: str
    size: str
    count: int
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Scene:
    """One picture, complete: drawing it takes nothing else.

    `items` are in drawing order, farthest first; `seed` settles the details (clouds, hills).
    """

    place: str
    time: str
    weather: str
    style: str
    items: tuple[Item, ...]
    split: Split
    seed: int

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The groups, the first one being what the picture is mainly about."""
        numbers = sorted({item.group for item in self.items})
        out = []
        for number in numbers:
            items = tuple(item for item in self.items if item.group == number)
            first = items[0]
            out.append(Group(first.kind, first.colour, first.size, len(items), items))
        return tuple(out)

    @cached_property
    def relations(self) -> tuple[tuple[int, str, int], ...]:
        """True statements (group index, relation, group index), both directions."""
        groups = self.groups
        return tuple(
            (i, relation, j)
            for i in range(len(groups))
            for j in range(len(groups))
            if i != j
            for relation in RELATIONS
            if related(groups[i].items, relation, groups[j].items)
        )


def _overlap(a: Box, b: Box) -> float:
    """The shared area as a part of the smaller box."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return w * h / smaller


def _holds(a: Box, relation: str, b: Box) -> bool | None:
    dx = (b[0] + b[2] - a[0] - a[2]) / 2
    dy = (b[1] + b[3] - a[1] - a[3]) / 2
    gap_x = max(a[0], b[0]) - min(a[2], b[2])
    gap_y = max(a[1], b[1]) - min(a[3], b[3])
    match relation:
        case "left of":
            if gap_x > -0.02 and dx > 0.14 and dx > abs(dy) * 0.6:
                return True
            return False if dx < 0.05 else None
        case "above":
            if gap_y > -0.02 and dy > 0.16 and dy > abs(dx) * 0.6:
                return True
            return False if dy < 0.05 else None
        case "in front of":
            if _overlap(a, b) > 0.12 and a[3] > b[3] + 0.04:
                return True
            return False if gap_x > 0.04 or gap_y > 0.04 or a[3] < b[3] - 0.02 else None
        case "next to":
            if -0.02 < gap_x < 0.07 and abs(a[3] - b[3]) < 0.1:
                return True
            return False if gap_x > 0.16 or gap_y > 0.12 or _overlap(a, b) > 0.12 else None
        case "right of":
            return _holds(b, "left of", a)
        case "below":
            return _holds(b, "above", a)
        case "behind":
            return _holds(b, "in front of", a)
    raise ValueError(f"unknown relation: {relation}")


def related(a: Sequence[Item], relation: str, b: Sequence[Item]) -> bool | None:
    """Whether every item of a stands so to every item of b; None where people would differ."""
    answers = {_holds(x.box, relation, y.box) for x in a for y in b}
    if answers == {True}:
        return True
    return False if True not in answers and None not in answers else None


# -- sampling ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wish:
    """A group before it has a place in the picture."""

    kind: str
    colour: str
    size: str
    count: int


def _band(kind: str, place: str, *, shelf: bool) -> tuple[float, float]:
    """The range for the bottom edge of an object."""
    where = PLACE[place]
    if where.floating:
        return 0.25, 0.95
    if where.indoors:
        return (0.375, 0.38) if shelf else (0.76, 0.95)
    match KINDS[kind].habitat:
        case "sky":
            return 0.24, 0.46
        case "water":
            return 0.58, 0.73
        case "ground":
            return (0.8, 0.96) if where.water else (0.64, 0.95)


def _place_box(
    wish: _Wish, place: str, rng: np.random.Generator, shrink: float, *, shelf: bool
) -> Box:
    kind = KINDS[wish.kind]
    factor = _SIZE_FACTOR[wish.size] * _COUNT_FACTOR[wish.count] * float(rng.uniform(0.94, 1.06))
    height = kind.scale * factor * shrink
    width = height * kind.aspect
    limit = min(1.0, 0.62 / width, 0.7 / height)
    height, width = height * limit, width * limit
    low, high = _band(wish.kind, place, shelf=shelf)
    if shelf:
        height, width = min(height, 0.24), min(height, 0.24) * kind.aspect
        x = float(rng.uniform(0.52, max(0.53, 0.94 - width)))
    elif wish.count == 1 and shrink > 1.3:
        middle = (0.97 - width) / 2
        x = float(rng.uniform(middle - 0.2, middle + 0.2)) if middle > 0.2 else middle
    else:
        x = float(rng.uniform(0.03, max(0.031, 0.97 - width)))
    bottom = max(float(rng.uniform(low, high)), height + 0.03)
    return x, bottom - height, x + width, bottom


def _beside(box: Box, other: Box, rng: np.random.Generator, *, near: bool) -> Box:
    """The box moved next to another one (or in front of it)."""
    w, h = box[2] - box[0], box[3] - box[1]
    if near:
        gap = float(rng.uniform(0.0, 0.05))
        x = other[2] + gap if rng.random() < 0.5 else other[0] - gap - w
        bottom = other[3] + float(rng.uniform(-0.02, 0.02))
    else:
        x = (other[0] + other[2] - w) / 2 + float(rng.uniform(-0.12, 0.12))
        bottom = other[3] + float(rng.uniform(0.05, 0.1))
    return x, bottom - h, x + w, bottom


def _fits(box: Box) -> bool:
    return box[0] >= 0.015 and box[2] <= 0.985 and box[1] >= 0.015 and box[3] <= 0.975


def _layout(
    wishes: Sequence[_Wish], place: str, rng: np.random.Generator, shrink: float
) -> list[Item] | None:
    """One attempt to place all groups, or None where something does not fit."""
    where = PLACE[place]
    trick = float(rng.random())
    shelf_group = -1
    if where.indoors and len(wishes) > 1 and rng.random() < 0.4:
        shelf_group = int(rng.integers(len(wishes)))
        if KINDS[wishes[shelf_group].kind].scale > 0.25 or wishes[shelf_group].count > 1:
            shelf_group = -1
    items: list[Item] = []
    for number, wish in enumerate(wishes):
        shelf = number == shelf_group
        flip = bool(rng.random() < 0.5)
        for index in range(wish.count):
            for _ in range(12):
                box = _place_box(wish, place, rng, shrink, shelf=shelf)
                allow = 0.0
                same_band = (
                    number == 1
                    and len(items) == 1
                    and wish.count == 1
                    and not shelf
                    and shelf_group < 0
                    and KINDS[wish.kind].habitat == KINDS[wishes[0].kind].habitat
                )
                if same_band and trick < 0.25:
                    box = _beside(box, items[0].box, rng, near=True)
                elif same_band and trick < 0.5 and KINDS[wish.kind].habitat != "sky":
                    height = items[0].box[3] - items[0].box[1]
                    if box[3] - box[1] <= height * 1.1:
                        box = _beside(box, items[0].box, rng, near=False)
                        allow = 0.5
                elif wish.count > 1 and index > 0 and rng.random() < 0.7:
                    # Members of a group stand roughly in a row.
                    bottom = items[-1].box[3] + float(rng.uniform(-0.05, 0.05))
                    box = box[0], bottom - (box[3] - box[1]), box[2], bottom
                if not _fits(box):
                    continue
                if all(_overlap(box, other.box) <= allow for other in items):
                    items.append(Item(wish.kind, wish.colour, wish.size, box, flip, number))
                    break
            else:
                return None
    return sorted(items, key=lambda item: (round(item.box[3], 4), item.group))


def _allowed_pairs(items: Sequence[Item], split: Split) -> bool:
    """Whether every relation between two groups belongs to the split."""
    groups: dict[int, list[Item]] = {}
    for item in items:
        groups.setdefault(item.group, []).append(item)
    numbers = sorted(groups)
    for i in numbers:
        for j in numbers:
            if i >= j:
                continue
            for relation in RELATIONS:
                a, b = groups[i], groups[j]
                if related(a, relation, b) and (
                    relation_split(a[0].kind, relation, b[0].kind) != split
                ):
                    return False
    return True


def _wishes(layout: str, place: str, split: Split, rng: np.random.Generator) -> list[_Wish] | None:
    kinds = [
        kind
        for kind in OBJECTS
        if allowed_in(kind, PLACE[place]) and place_split(kind.name, place) == split
    ]
    if not kinds:
        return None
    counts = {
        "single": [1],
        "count": [int(rng.integers(2, 6))],
        "pair": [1, 1],
        "mixed": [1, int(rng.integers(2, 4))],
        "trio": [1, 1, 1],
    }[layout]
    wishes: list[_Wish] = []
    for count in counts:
        kind = kinds[int(rng.integers(len(kinds)))].name
        colours = [c for c in COLOURS if colour_split(kind, c) == split]
        if layout == "pair" and wishes and rng.random() < 0.12:
            kind = wishes[0].kind
            colours = [
                c for c in COLOURS if colour_split(kind, c) == split and c != wishes[0].colour
            ]
        elif layout in ("pair", "trio") and wishes and rng.random() < 0.12:
            same = [c for c in colours if c == wishes[0].colour]
            colours = same or colours
        size = "normal"
        if count == 1 and rng.random() < 0.3:
            size = "big" if rng.random() < 0.5 and KINDS[kind].scale < 0.34 else "small"
        wish = _Wish(kind, colours[int(rng.integers(len(colours)))], size, count)
        if any(w.kind == wish.kind and w.colour == wish.colour for w in wishes):
            return None
        if any(w.kind == wish.kind for w in wishes) and (
            wish.count > 1 or any(w.count > 1 for w in wishes)
        ):
            return None
        wishes.append(wish)
    return wishes


def _sample(split: Split, rng: np.random.Generator) -> Scene:
    style = STYLES[int(rng.integers(len(STYLES)))]
    time, weather = SKIES[int(rng.integers(len(SKIES)))]
    layout = _LAYOUTS[int(rng.integers(len(_LAYOUTS)))]
    seed = int(rng.integers(2**31))
    while True:
        place = PLACES[int(rng.integers(len(PLACES)))].name
        wishes = _wishes(layout, place, split, rng)
        if wishes is None:
            continue
        for attempt in range(8):
            scale = _CROWD_FACTOR[len(wishes)] if layout != "count" else 1.2
            items = _layout(wishes, place, rng, scale * (1.0 - 0.06 * attempt))
            if items is not None and _allowed_pairs(items, split):
                if PLACE[place].floating:
                    time, weather = "day", "clear"
                return Scene(place, time, weather, style, tuple(items), split, seed)


def sample_scenes(split: Split, n: int, seed: int) -> list[Scene]:
    """n scenes of a split; the same arguments give the same scenes, and a longer list begins
    with the shorter one.

    Raises ValueError for an unknown split or a negative n.
    """
    if split not in ("train", "test"):
        raise ValueError(f"unknown split: {split}")
    if n < 0:
        raise ValueError("n must not be negative")
    stream = 0 if split == "train" else 1
    return [_sample(split, np.random.default_rng([seed, stream, i])) for i in range(n)]
