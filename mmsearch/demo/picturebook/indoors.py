"""The rooms of the picture book, and its plain ground."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmsearch.demo.picturebook.pen import Rgb, from_hex, mix
from mmsearch.demo.picturebook.scene import Scene
from mmsearch.demo.picturebook.sky import Weather, fall, ridge, sky
from mmsearch.demo.picturebook.stage import Stage


def _room(
    s: Stage, scene: Scene, rng: np.random.Generator, wall: str, floor: str, board: str
) -> Weather:
    """Wall, floor, window with the weather in it, and a shelf on the right."""
    w = Weather(scene)
    indoor = _dusk(scene)
    s.gradient([mix(from_hex(wall), (255, 255, 255), 0.16), from_hex(wall)], 0.0, 0.68)
    s.rect(0.06, 0.08, 0.42, 0.44, "#fbf7ee")
    inner = Stage(max(8, round(s.size * 0.31)), s.style, scene.seed)
    sky(inner, scene, rng, 0.8)
    inner.shape(ridge(rng, 0.84, 0.1, 2), w.ground("#a9cf92"))
    if scene.weather in ("rain", "snow", "fog"):
        fall(inner, scene, rng)
    s.image.paste(inner.image, (round(s.size * 0.085), round(s.size * 0.105)))
    s.rect(0.232, 0.1, 0.245, 0.42, "#fbf7ee")
    s.rect(0.08, 0.255, 0.4, 0.267, "#fbf7ee")
    s.rect(0.04, 0.43, 0.44, 0.452, "#f1e9da")
    s.rect(0.5, 0.38, 0.97, 0.402, board)
    s.rect(0.5, 0.402, 0.97, 0.412, (60, 40, 40), 50)
    s.gradient([mix(from_hex(floor), (0, 0, 0), 0.06), from_hex(floor)], 0.68, 1.0)
    s.rect(0, 0.655, 1, 0.685, "#f6f0e4")
    if indoor is not None:
        s.veil(indoor, 0.22)
    return w


def _dusk(scene: Scene) -> Rgb | None:
    """The tint of a room after dark."""
    if scene.time == "night":
        return 40, 44, 92
    return (250, 150, 90) if scene.time == "sunset" else None


def _kitchen(s: Stage, scene: Scene, rng: np.random.Generator) -> None:
    _room(s, scene, rng, "#dfeee6", "#d9c3a5", "#b98a5c")
    for k in range(5):
        for j in range(3):
            if (k + j) % 2:
                s.shape([(0.2 * k, 0.685 + 0.105 * j), (0.2 * k + 0.2, 0.685 + 0.105 * j),
                         (0.2 * k + 0.2, 0.79 + 0.105 * j), (0.2 * k, 0.79 + 0.105 * j)],
                        "#c8ae8c", outline=False)  # fmt: skip
    s.rect(0.5, 0.52, 1.0, 0.68, "#8fb3a6")
    s.rect(0.48, 0.5, 1.0, 0.525, "#f0e6d4")
    for x in (0.66, 0.83):
        s.rect(x, 0.53, x + 0.006, 0.67, "#7a9d91")
    for x in (0.58, 0.75, 0.92):
        s.rect(x - 0.02, 0.555, x + 0.02, 0.565, "#f0e6d4")
    s.rect(0.06, 0.56, 0.4, 0.655, "#e9ddc6")
    s.rect(0.04, 0.545, 0.42, 0.565, "#b98a5c")


def _living_room(s: Stage, scene: Scene, rng: np.random.Generator) -> None:
    _room(s, scene, rng, "#f3dcc3", "#b78a63", "#8a5f42")
    for k in range(6):
        s.rect(0, 0.7 + 0.05 * k, 1, 0.703 + 0.05 * k, "#a27850")
    s.shape([(0.53, 0.66), (0.53, 0.55), (0.57, 0.5), (0.9, 0.5), (0.94, 0.55), (0.94, 0.66)],
            "#a9b7a2")  # fmt: skip
    s.shape([(0.49, 0.7), (0.49, 0.58), (0.55, 0.58), (0.55, 0.63), (0.92, 0.63), (0.92, 0.58),
             (0.98, 0.58), (0.98, 0.7)], "#95a68f")  # fmt: skip
    s.disc(0.45, 0.87, 0.4, 0.085, "#e8d3b9")
    s.disc(0.45, 0.87, 0.33, 0.067, "#dcc09f")


def _bedroom(s: Stage, scene: Scene, rng: np.random.Generator) -> None:
    _room(s, scene, rng, "#dcd9ee", "#c9b29b", "#a98c78")
    for k in range(10):
        s.rect(0.1 * k + 0.045, 0, 0.1 * k + 0.05, 0.04, "#cfcbe6")
    s.rect(0.47, 0.5, 0.52, 0.72, "#8d6f5c")
    s.shape([(0.5, 0.58), (1.03, 0.58), (1.03, 0.72), (0.5, 0.72)], "#f4eee6")
    s.shape([(0.66, 0.57), (1.03, 0.57), (1.03, 0.73), (0.66, 0.73)], "#b7c6dd")
    s.shape([(0.53, 0.55), (0.65, 0.55), (0.66, 0.6), (0.53, 0.6)], "#ffffff")
    s.disc(0.4, 0.88, 0.34, 0.07, "#e4d8e6")


def _plain(s: Stage, _scene: Scene, rng: np.random.Generator) -> None:
    paper = ("#f7efe0", "#e6f0ee", "#f4e8ec", "#e9edf6", "#f1f2e2")[int(rng.integers(5))]
    base = from_hex(paper)
    s.gradient([mix(base, (255, 255, 255), 0.3), base])
    match int(rng.integers(3)):
        case 0:
            for i in range(9):
                for j in range(9):
                    s.disc(
                        (i + 0.5 * (j % 2)) / 8,
                        j / 8,
                        0.008,
                        0.008,
                        mix(base, (150, 140, 150), 0.16),
                    )
        case 1:
            s.disc(0.5, 0.5, 0.44, 0.44, mix(base, (255, 255, 255), 0.45))
        case _:
            pass


ROOMS: dict[str, Callable[[Stage, Scene, np.random.Generator], None]] = {
    "kitchen": _kitchen,
    "living room": _living_room,
    "bedroom": _bedroom,
    "plain": _plain,
}
