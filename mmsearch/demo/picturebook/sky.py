# ruff: noqa: E501 -- a drawing reads best one shape per line
"""Sky and weather of the picture book."""

from __future__ import annotations

import math

import numpy as np

from mmsearch.demo.picturebook.pen import Rgb, from_hex, mix
from mmsearch.demo.picturebook.scene import Scene
from mmsearch.demo.picturebook.stage import Stage

_SKY: dict[tuple[str, str], tuple[str, ...]] = {
    ("day", "clear"): ("#62b1e8", "#a9d9f4", "#e4f5fb"),
    ("day", "cloudy"): ("#9fb0be", "#c3ced6", "#e3e8ea"),
    ("day", "rain"): ("#6c7c8e", "#8f9dab", "#b7c1c9"),
    ("day", "snow"): ("#aebdd0", "#cbd6e3", "#eaf0f6"),
    ("day", "fog"): ("#c6ced2", "#d8dddf", "#e8ebeb"),
    ("sunset", "clear"): ("#5a4a92", "#d8657e", "#f99a5a", "#fddc90"),
    ("sunset", "cloudy"): ("#6b5686", "#b8677c", "#ea8a66", "#f8c088"),
    ("night", "clear"): ("#0c1536", "#1b2a5c", "#384f86"),
    ("night", "snow"): ("#1a2446", "#2f3d68", "#55658f"),
}


class Weather:
    """How the time and the weather of a scene change its colours."""

    def __init__(self, scene: Scene) -> None:
        self.time, self.weather = scene.time, scene.weather

    @property
    def light(self) -> Rgb:
        """What the colours of objects are multiplied by."""
        if self.time == "night":
            return 196, 202, 236
        if self.time == "sunset":
            return 255, 226, 208
        return (232, 236, 240) if self.weather in ("rain", "cloudy") else (255, 255, 255)

    def ground(self, colour: str) -> Rgb:
        """A background colour in this light; snow covers it."""
        rgb = from_hex(colour)
        if self.weather == "snow":
            rgb = mix(rgb, (246, 249, 254), 0.8)
        return self.tint(rgb)

    def tint(self, colour: str | Rgb) -> Rgb:
        """A background colour in this light."""
        rgb = from_hex(colour) if isinstance(colour, str) else colour
        if self.time == "night":
            return mix(multiply(rgb, (104, 118, 178)), (30, 40, 84), 0.25)
        if self.time == "sunset":
            return mix(multiply(rgb, (255, 208, 186)), (240, 130, 96), 0.12)
        if self.weather in ("rain", "cloudy"):
            grey = sum(rgb) // 3
            return mix(multiply(rgb, (226, 230, 236)), (grey, grey, grey), 0.25)
        if self.weather == "fog":
            return mix(rgb, (224, 228, 229), 0.5)
        return rgb


def multiply(a: Rgb, b: Rgb) -> Rgb:
    """A colour in coloured light."""
    return a[0] * b[0] // 255, a[1] * b[1] // 255, a[2] * b[2] // 255


def ridge(
    rng: np.random.Generator, y: float, height: float, waves: int, floor: float = 1.0
) -> list[tuple[float, float]]:
    """The outline of rolling hills about y, closed at the floor."""
    x = np.linspace(-0.03, 1.03, 34)
    line = np.zeros_like(x)
    for k in range(1, 4):
        phase, size = rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 1.0) / k
        line += size * np.sin(x * math.pi * waves * k * 0.7 + phase)
    top = [(float(a), float(y + height * b * 0.5)) for a, b in zip(x, line, strict=True)]
    return [*top, (1.03, floor + 0.03), (-0.03, floor + 0.03)]


def draw_cloud(s: Stage, x: float, y: float, w: float, colour: str | Rgb, alpha: int = 255) -> None:
    """A cloud of width `w` around (x, y)."""
    for dx, dy, r in ((-0.3, 0.04, 0.2), (-0.08, -0.06, 0.28), (0.18, -0.01, 0.23),
                      (0.36, 0.05, 0.16)):  # fmt: skip
        s.disc(x + dx * w, y + dy * w, r * w, r * w * 0.8, colour, alpha)
    s.disc(x, y + 0.1 * w, 0.5 * w, 0.12 * w, colour, alpha)


def sky(s: Stage, scene: Scene, rng: np.random.Generator, horizon: float) -> None:
    """Sky, sun or moon, stars and clouds down to the horizon."""
    s.gradient(_SKY[scene.time, scene.weather], 0.0, horizon + 0.02)
    side = 0.82 if rng.random() < 0.5 else 0.18
    if scene.time == "night":
        if scene.weather == "clear":
            for _ in range(42):
                x, y = rng.uniform(0.01, 0.99), rng.uniform(0.01, horizon - 0.05)
                r = float(rng.uniform(0.0022, 0.0055))
                s.disc(float(x), float(y), r, r, (255, 250, 224), int(rng.integers(150, 256)))
            s.glow(side, 0.14, 0.15, (200, 214, 255), 80)
            s.disc(side, 0.14, 0.065, 0.065, "#fbf3cf")
            s.disc(side - 0.02, 0.125, 0.013, 0.013, "#ebdfae")
            s.disc(side + 0.022, 0.155, 0.01, 0.01, "#ebdfae")
    elif scene.time == "sunset":
        x = float(rng.uniform(0.25, 0.75))
        s.glow(x, horizon - 0.05, 0.3, (255, 214, 130), 110)
        s.disc(x, horizon - 0.05, 0.1, 0.1, "#fff0b4")
    elif scene.weather == "clear":
        s.glow(side, 0.13, 0.19, (255, 240, 170), 120)
        s.disc(side, 0.13, 0.072, 0.072, "#ffdf5a")
    cloud: str | Rgb = {
        "clear": "#ffffff", "cloudy": "#eef1f3", "rain": "#57636f", "snow": "#dfe6ee", "fog": "#eceeee",
    }[scene.weather]  # fmt: skip
    if scene.time == "sunset":
        cloud = (250, 176, 150) if scene.weather == "clear" else (196, 128, 138)
    if scene.time == "night":
        cloud = (74, 88, 130)
    many = {"clear": 2, "cloudy": 6, "rain": 6, "snow": 4, "fog": 2}[scene.weather]
    if scene.time == "night" and scene.weather == "clear":
        many = 1
    for _ in range(many):
        w = float(rng.uniform(0.16, 0.3)) * (1.25 if many > 3 else 1.0)
        top = 0.05 if many > 3 else 0.08
        draw_cloud(s, float(rng.uniform(0.02, 0.98)), float(rng.uniform(top, max(top, horizon - 0.22))),
               w, cloud, 215 if many < 4 else 190)  # fmt: skip


def fall(s: Stage, scene: Scene, rng: np.random.Generator) -> None:
    """Rain, snow or fog in front of the objects."""
    if scene.weather == "rain":
        for _ in range(85):
            x, y = float(rng.uniform(-0.05, 1.05)), float(rng.uniform(-0.05, 0.97))
            n = float(rng.uniform(0.035, 0.065))
            s.stroke([(x, y), (x - n * 0.28, y + n)], 0.0045, (224, 236, 246), 165)
    elif scene.weather == "snow":
        for _ in range(80):
            x, y, r = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.004, 0.0105)
            s.disc(float(x), float(y), float(r), float(r), (255, 255, 255), 235)
    elif scene.weather == "fog":
        for _ in range(4):
            s.disc(float(rng.uniform(0, 1)), float(rng.uniform(0.4, 0.95)), 0.5, 0.045,
                   (240, 243, 243), 70)  # fmt: skip
