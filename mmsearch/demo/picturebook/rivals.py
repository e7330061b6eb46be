"""Pictures that only their arrangement tells apart: what a search by words alone mixes up.

Each relational caption ("a red boat left of a green house") is true of one picture; its rivals
show the same things mirrored, in each other's colours, or in each other's places.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mmsearch.demo.picturebook.captions import describe_group
from mmsearch.demo.picturebook.scene import Box, Item, Scene, sample_scenes


def relational(n: int, seed: int) -> list[tuple[Scene, str]]:
    """Test scenes of two objects in a relation, each with its relational caption."""
    rng = np.random.default_rng(seed)
    found: list[tuple[Scene, str]] = []
    taken: set[str] = set()
    block = 0
    while len(found) < n:
        for scene in sample_scenes("test", 400, seed + block):
            pairs = [(i, r, j) for i, r, j in scene.relations if r != "next to"]
            if len(scene.groups) != 2 or not pairs or len(found) == n:
                continue
            i, relation, j = pairs[int(rng.integers(len(pairs)))]
            text = f"{describe_group(scene.groups[i], size=False)} {relation} "
            text += describe_group(scene.groups[j], size=False)
            if text not in taken:
                taken.add(text)
                found.append((scene, text))
        block += 1
    return found


def mirrored(scene: Scene) -> Scene:
    """The scene with left and right changed about."""
    items = tuple(
        replace(i, box=(1 - i.box[2], i.box[1], 1 - i.box[0], i.box[3])) for i in scene.items
    )
    return replace(scene, items=items)


def standing_at(item: Item, box: Box) -> Item:
    """The item, in its own size, where another one stands."""
    width, height = item.box[2] - item.box[0], item.box[3] - item.box[1]
    left = min(max(0.0, (box[0] + box[2] - width) / 2), 1 - width)
    bottom = max(box[3], height)
    return replace(item, box=(left, bottom - height, left + width, bottom))


def rivals(scene: Scene) -> list[Scene]:
    """Scenes with the same words in their captions: mirrored, colours changed about, places
    changed about."""
    a, b = scene.groups
    out = [mirrored(scene)]
    if a.colour != b.colour:
        swap = {a.colour: b.colour, b.colour: a.colour}
        dyed = replace(scene, items=tuple(replace(i, colour=swap[i.colour]) for i in scene.items))
        out += [dyed, mirrored(dyed)]
    if a.count == b.count == 1:
        x, y = scene.items
        out.append(replace(scene, items=(standing_at(x, y.box), standing_at(y, x.box))))
    return out


def true_of(scene: Scene, caption: str) -> bool:
    """Whether the caption "a R b" holds in the scene."""
    names = [describe_group(g, size=False) for g in scene.groups]
    return any(f"{names[i]} {r} {names[j]}" == caption for i, r, j in scene.relations)


def gallery(n: int, seed: int) -> tuple[list[Scene], list[tuple[str, int]]]:
    """Pictures of n relational scenes and their rivals; captions true of one picture only."""
    scenes: list[Scene] = []
    asked: list[tuple[str, int]] = []
    for scene, text in relational(n, seed):
        asked.append((text, len(scenes)))
        scenes.append(scene)
        scenes += [other for other in rivals(scene) if not true_of(other, text)]
    return scenes, asked
