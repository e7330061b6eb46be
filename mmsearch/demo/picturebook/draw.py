"""Draws a scene: background, objects from far to near, weather, style."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image

from mmsearch.demo.picturebook import animals, things, vehicles
from mmsearch.demo.picturebook.backgrounds import background
from mmsearch.demo.picturebook.lexicon import KINDS, PLACE
from mmsearch.demo.picturebook.pen import Pen, Polygon
from mmsearch.demo.picturebook.scene import Scene
from mmsearch.demo.picturebook.sky import fall
from mmsearch.demo.picturebook.stage import Stage


@cache
def shape_of(kind: str) -> tuple[Polygon, ...]:
    """The polygons of an object, in units of its height."""
    draw_kind: Callable[[Pen], None] | None = None
    for module in (animals, vehicles, things):
        draw_kind = draw_kind or getattr(module, kind, None)
    if draw_kind is None:
        raise ValueError(f"nobody has drawn a {kind} yet")
    pen = Pen()
    draw_kind(pen)
    return tuple(pen.polygons)


def draw(scene: Scene, size: int = 256) -> Image.Image:
    """The picture of a scene: RGB, size x size pixels, the same bytes on every run.

    Raises ValueError for a size under 16 pixels.
    """
    if size < 16:
        raise ValueError("a picture needs at least 16 pixels a side")
    stage = Stage(size * 2, scene.style, scene.seed)
    rng = np.random.default_rng([scene.seed, 5])
    light = background(stage, scene, rng)
    floating = PLACE[scene.place].floating
    for item in scene.items:
        kind = KINDS[item.kind]
        if kind.habitat == "ground" and not floating and scene.style != "paper":
            stage.shadow(item.box)
        elif kind.habitat == "water" and not floating:
            stage.disc((item.box[0] + item.box[2]) / 2, item.box[3] - 0.004,
                       (item.box[2] - item.box[0]) * 0.55, 0.012, (255, 255, 255), 110)  # fmt: skip
        stage.figure(shape_of(item.kind), item.box, item.colour, flip=item.flip, light=light)
    if not PLACE[scene.place].indoors and not floating:
        fall(stage, scene, rng)
    return stage.finish(size)
