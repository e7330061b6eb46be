# ruff: noqa: E501 -- a drawing reads best one shape per line
"""The places of the picture book: everything behind the objects."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mmsearch.demo.picturebook.indoors import ROOMS
from mmsearch.demo.picturebook.pen import Rgb, mix
from mmsearch.demo.picturebook.scene import Scene
from mmsearch.demo.picturebook.sky import Weather, ridge, sky
from mmsearch.demo.picturebook.stage import Stage


def _fir(s: Stage, x: float, base: float, h: float, colour: Rgb) -> None:
    s.rect(x - h * 0.035, base - h * 0.16, x + h * 0.035, base, mix(colour, (70, 45, 30), 0.6))
    for k in range(3):
        top, w = base - h * (1 - 0.26 * k), h * (0.17 + 0.07 * k)
        s.shape([(x, top), (x + w, top + h * 0.42), (x - w, top + h * 0.42)], colour,
                outline=k == 2)  # fmt: skip


def _bush(s: Stage, x: float, base: float, r: float, colour: Rgb) -> None:
    for dx, k in ((-0.7, 0.7), (0.7, 0.75), (0.0, 1.0)):
        s.disc(x + dx * r, base - 0.45 * r * k, r * k, r * k * 0.85, colour)


def _beach(s: Stage, w: Weather, rng: np.random.Generator) -> None:
    s.gradient([w.tint("#2f8fc4"), w.tint("#4fb4d6"), w.tint("#9adfe6")], 0.46, 0.8)
    for _ in range(9):
        x, y = float(rng.uniform(0, 0.9)), float(rng.uniform(0.49, 0.72))
        s.stroke([(x, y), (x + float(rng.uniform(0.04, 0.12)), y)], 0.005, (255, 255, 255), 120)
    shore = ridge(rng, 0.765, 0.03, 2)
    s.shape(
        [(x, y - 0.022) if y < 1 else (x, y) for x, y in shore], w.tint("#f4fbfb"), outline=False
    )
    s.shape(shore, w.ground("#f3dfae"))
    for _ in range(26):
        x, y = float(rng.uniform(0, 1)), float(rng.uniform(0.82, 0.99))
        s.disc(x, y, 0.004, 0.003, w.ground("#d9bf86"))
    x = float(rng.choice([0.08, 0.92]))
    lean = 0.06 if x < 0.5 else -0.06
    s.stroke([(x, 0.84), (x + lean * 0.4, 0.66), (x + lean, 0.5)], 0.022, w.tint("#8a6440"))
    for k in range(6):
        a = math.radians(180 + 36 * k)
        tip = (x + lean + 0.15 * math.cos(a), 0.5 + 0.1 * math.sin(a) + 0.05)
        mid = (x + lean + 0.08 * math.cos(a), 0.47 + 0.1 * math.sin(a))
        s.shape([(x + lean, 0.5), mid, tip, (mid[0], mid[1] + 0.03)], w.tint("#4f9a55"),
                outline=False)  # fmt: skip


def _meadow(s: Stage, w: Weather, rng: np.random.Generator) -> None:
    s.shape(ridge(rng, 0.5, 0.09, 2), w.ground("#a9d48a"))
    s.shape(ridge(rng, 0.58, 0.07, 3), w.ground("#b7dc86"))
    s.shape(ridge(rng, 0.68, 0.04, 2), w.ground("#c6e48f"))
    for _ in range(44):
        x, y = float(rng.uniform(0, 1)), float(rng.uniform(0.72, 0.99))
        colour = ("#ffffff", "#f7d2e2", "#fbe58c", "#8fbf63")[int(rng.integers(4))]
        s.disc(x, y, 0.006, 0.005, w.ground(colour))


def _street(s: Stage, w: Weather, rng: np.random.Generator) -> None:
    for row, shade in ((0, "#b9c3d6"), (1, "#d8cfc4")):
        x = -0.05
        while x < 1.0:
            width = float(rng.uniform(0.11, 0.19))
            top = float(rng.uniform(0.2, 0.36)) + row * 0.1
            tone = mix(w.tint(shade), w.tint(("#c98f7a", "#8fa6b8", "#e3c79a")[int(rng.integers(3))]),
                       0.35 if row else 0.12)  # fmt: skip
            s.shape([(x, top), (x + width, top), (x + width, 0.66), (x, 0.66)], tone)
            lit = row == 1 or w.time == "night"
            if lit:
                for i in range(3):
                    for j in range(int((0.6 - top) / 0.075)):
                        wx, wy = x + width * (0.16 + 0.27 * i), top + 0.03 + 0.075 * j
                        glass: Rgb = w.tint("#8fb4c9")
                        if w.time != "day" and rng.random() < 0.6:
                            glass = (255, 221, 130)
                        s.rect(wx, wy, wx + width * 0.15, wy + 0.036, glass)
            x += width + (0.0 if row else 0.01)
    s.rect(0, 0.64, 1, 0.7, w.ground("#cfcac4"))
    s.rect(0, 0.7, 1, 1.0, w.ground("#8b8d96"))
    s.rect(0, 0.7, 1, 0.708, w.ground("#b3b1ad"))
    for k in range(5):
        s.shape([(0.02 + 0.22 * k, 0.84), (0.14 + 0.22 * k, 0.84), (0.13 + 0.22 * k, 0.855),
                 (0.005 + 0.22 * k, 0.855)], w.tint("#f4f1e6"), outline=False)  # fmt: skip


def _mountains(s: Stage, w: Weather, rng: np.random.Generator) -> None:
    for base, colour, count, tall in ((0.6, "#a4b3d2", 4, 0.36), (0.64, "#7f90b5", 3, 0.3)):
        for k in range(count):
            x = (k + 0.5) / count + float(rng.uniform(-0.1, 0.1))
            h, half = tall * float(rng.uniform(0.75, 1.1)), 0.26 * float(rng.uniform(0.8, 1.2))
            peak = base - h
            s.shape([(x, peak), (x + half, base), (x - half, base)], w.tint(colour))
            cut = 0.3
            a, b = (x - half * cut, peak + h * cut), (x + half * cut, peak + h * cut)
            s.shape([(x, peak), b, (x + half * 0.12, peak + h * 0.24), (x, peak + h * 0.34),
                     (x - half * 0.12, peak + h * 0.24), a], w.tint("#fbfcff"),
                    outline=False)  # fmt: skip
            s.shape([(x, peak), (x + half, base), (x + half * 0.1, base)], w.tint("#56658c"), 60,
                    outline=False)  # fmt: skip
    s.shape(ridge(rng, 0.62, 0.04, 3), w.ground("#8fb98a"))
    s.shape(ridge(rng, 0.72, 0.05, 2), w.ground("#a5c893"))
    for x in (0.06, 0.13, 0.9):
        _fir(s, x + float(rng.uniform(-0.02, 0.02)), 0.7, 0.13, w.tint("#557f6b"))


def _lake(s: Stage, w: Weather, rng: np.random.Generator) -> None:
    s.shape(ridge(rng, 0.42, 0.07, 3), w.ground("#8fb592"))
    for k in range(12):
        _fir(s, k / 11 + float(rng.uniform(-0.03, 0.03)), 0.5, float(rng.uniform(0.07, 0.12)),
             w.tint("#5d8c70"))  # fmt: skip
    s.gradient([w.tint("#7fb9cf"), w.tint("#5aa0c2"), w.tint("#4a8fb8")], 0.49, 0.82)
    for _ in range(12):
        x, y = float(rng.uniform(0, 0.9)), float(rng.uniform(0.51, 0.76))
        s.stroke([(x, y), (x + float(rng.uniform(0.03, 0.1)), y)], 0.005, (255, 255, 255), 90)
    s.shape(ridge(rng, 0.79, 0.035, 2), w.ground("#b4d488"))
    for x in (0.04, 0.09, 0.93, 0.97):
        y = float(rng.uniform(0.8, 0.86))
        for k in range(4):
            s.stroke(
                [(x + 0.008 * k, y), (x + 0.012 * k - 0.01, y - 0.1)], 0.006, w.tint("#6f9a52")
            )
        s.disc(x, y - 0.1, 0.006, 0.02, w.tint("#8a5c38"))


def _desert(s: Stage, w: Weather, rng: np.random.Generator) -> None:
    for x, width, h in ((0.14, 0.18, 0.16), (0.82, 0.24, 0.2)):
        x += float(rng.uniform(-0.06, 0.06))
        s.shape([(x - width / 2, 0.58), (x - width * 0.4, 0.58 - h), (x + width * 0.36, 0.58 - h),
                 (x + width / 2, 0.58)], w.tint("#d99a6c"))  # fmt: skip
        s.rect(x - width * 0.42, 0.58 - h * 0.6, x + width * 0.4, 0.58 - h * 0.5, w.tint("#c5835a"))
    s.shape(ridge(rng, 0.55, 0.05, 2), w.ground("#f0cd8e"))
    s.shape(ridge(rng, 0.66, 0.07, 2), w.ground("#f5d79b"))
    s.shape(ridge(rng, 0.8, 0.05, 2), w.ground("#f9e1ad"))
    for _ in range(8):
        x, y = float(rng.uniform(0, 0.85)), float(rng.uniform(0.86, 0.98))
        s.stroke([(x, y), (x + 0.06, y - 0.008), (x + 0.12, y)], 0.004, w.ground("#e2bd7c"), 180)


def _forest(s: Stage, w: Weather, rng: np.random.Generator) -> None:
    s.gradient([w.tint("#a6cfa8"), w.tint("#cfe6c0")], 0.3, 0.7)
    for base, h, colour, n in ((0.6, 0.46, "#8fb99a", 9), (0.66, 0.5, "#5f9274", 7)):
        for k in range(n):
            _fir(s, (k + 0.5) / n + float(rng.uniform(-0.05, 0.05)), base,
                 h * float(rng.uniform(0.7, 1.05)), w.tint(colour))  # fmt: skip
    s.shape(ridge(rng, 0.64, 0.03, 3), w.ground("#9cc082"))
    s.shape(ridge(rng, 0.78, 0.04, 2), w.ground("#b2d092"))
    for x in (0.05, 0.95):
        s.rect(x - 0.035, 0.0, x + 0.035, 0.74, w.tint("#6b4b38"))
        s.rect(x - 0.035, 0.0, x - 0.018, 0.74, w.tint("#84604a"))
        _bush(s, x, 0.8, 0.07, w.ground("#6fa065"))


def _farm(s: Stage, w: Weather, rng: np.random.Generator) -> None:
    s.shape(ridge(rng, 0.5, 0.05, 2), w.ground("#b8cf8a"))
    for k in range(8):
        shade = w.ground(("#e5cf7f", "#d3b965")[k % 2])
        s.shape([(0.3 + 0.05 * k, 0.54), (0.35 + 0.05 * k, 0.54), (0.18 + 0.14 * k, 0.74),
                 (0.04 + 0.14 * k, 0.74)], shade, outline=False)  # fmt: skip
    s.shape(ridge(rng, 0.71, 0.02, 2), w.ground("#b5d67c"))
    for k in range(9):
        x = 0.01 + 0.125 * k
        s.rect(x, 0.6, x + 0.022, 0.74, w.tint("#f3ead8"))
        s.shape([(x, 0.6), (x + 0.011, 0.585), (x + 0.022, 0.6)], w.tint("#f3ead8"), outline=False)
    for y in (0.63, 0.68):
        s.rect(0, y, 1, y + 0.018, w.tint("#e8dcc4"))
    x = float(rng.uniform(0.1, 0.2))
    for dx in (0.0, 0.62):
        s.disc(x + dx, 0.585, 0.05, 0.045, w.tint("#dcb858"))
        s.disc(x + dx, 0.585, 0.03, 0.027, w.tint("#c9a347"))


def _park(s: Stage, w: Weather, rng: np.random.Generator) -> None:
    for k in range(7):
        x, r = k / 6 + float(rng.uniform(-0.05, 0.05)), float(rng.uniform(0.08, 0.12))
        s.rect(x - 0.012, 0.46, x + 0.012, 0.62, w.tint("#8a6a4e"))
        tone = w.ground(("#8fbf86", "#a6cf8c", "#7fb08a")[k % 3])
        s.disc(x, 0.42, r, r * 0.95, tone)
        s.disc(x - r * 0.3, 0.39, r * 0.45, r * 0.4, mix(tone, (255, 255, 255), 0.18))
    s.shape(ridge(rng, 0.59, 0.02, 2), w.ground("#b0d98c"))
    s.shape([(0.42, 0.6), (0.5, 0.6), (0.72, 0.78), (0.86, 1.03), (0.3, 1.03), (0.4, 0.8)],
            w.ground("#eadcbd"))  # fmt: skip
    for x in (0.14, 0.86):
        s.rect(x - 0.006, 0.46, x + 0.006, 0.68, w.tint("#4a5560"))
        if w.time != "day":
            s.glow(x, 0.45, 0.09, (255, 226, 140), 130)
        s.disc(x, 0.45, 0.022, 0.026, "#fff1be" if w.time != "day" else w.tint("#f4f0de"))
    s.rect(0.2, 0.63, 0.38, 0.645, w.tint("#a5744a"))
    s.rect(0.2, 0.6, 0.38, 0.615, w.tint("#a5744a"))
    for x in (0.22, 0.35):
        s.rect(x, 0.6, x + 0.012, 0.68, w.tint("#5a4a44"))


def _harbour(s: Stage, w: Weather, rng: np.random.Generator) -> None:
    x = -0.02
    while x < 1.0:
        width, top = float(rng.uniform(0.09, 0.15)), float(rng.uniform(0.3, 0.38))
        tone = w.tint(("#e6b8a2", "#f0d9a8", "#b9cfd8", "#d9c3d6", "#f2e6d2")[int(rng.integers(5))])
        s.shape([(x, top), (x + width, top), (x + width, 0.5), (x, 0.5)], tone)
        s.shape([(x - 0.006, top), (x + width / 2, top - 0.06), (x + width + 0.006, top)],
                w.ground("#a8705c"))  # fmt: skip
        for i in range(2):
            for j in range(2):
                glass = (255, 221, 130) if w.time != "day" else w.tint("#7d97a8")
                wx, wy = x + width * (0.2 + 0.38 * i), top + 0.03 + 0.06 * j
                s.rect(wx, wy, wx + width * 0.2, wy + 0.034, glass)
        x += width
    s.gradient([w.tint("#3f7fae"), w.tint("#4f97bd"), w.tint("#5faac6")], 0.5, 0.82)
    for _ in range(12):
        x, y = float(rng.uniform(0, 0.9)), float(rng.uniform(0.52, 0.76))
        s.stroke([(x, y), (x + float(rng.uniform(0.03, 0.1)), y)], 0.005, (255, 255, 255), 100)
    s.shape([(-0.03, 0.79), (1.03, 0.79), (1.03, 1.03), (-0.03, 1.03)], w.ground("#c9a47c"))
    for k in range(1, 5):
        s.rect(0, 0.79 + 0.045 * k, 1, 0.794 + 0.045 * k, w.ground("#a98460"))
    for x in (0.05, 0.5, 0.95):
        s.rect(x - 0.014, 0.73, x + 0.014, 0.83, w.tint("#6e5138"))


_OUTDOORS: dict[str, tuple[float, Callable[[Stage, Weather, np.random.Generator], None]]] = {
    "beach": (0.46, _beach),
    "meadow": (0.5, _meadow),
    "street": (0.62, _street),
    "mountains": (0.6, _mountains),
    "lake": (0.46, _lake),
    "desert": (0.56, _desert),
    "forest": (0.6, _forest),
    "farm": (0.5, _farm),
    "park": (0.58, _park),
    "harbour": (0.5, _harbour),
}


def background(s: Stage, scene: Scene, rng: np.random.Generator) -> Rgb:
    """Draws everything behind the objects; the light that falls on them."""
    if scene.place in ROOMS:
        ROOMS[scene.place](s, scene, rng)
        return (228, 226, 244) if scene.time == "night" else (255, 255, 255)
    weather = Weather(scene)
    horizon, paint = _OUTDOORS[scene.place]
    sky(s, scene, rng, horizon)
    paint(s, weather, rng)
    if scene.weather == "fog":
        for k in range(5):
            y = 0.34 + 0.08 * k
            s.disc(float(rng.uniform(0.1, 0.9)), y, 0.7, 0.05, (236, 239, 240), 90)
        s.veil((230, 233, 234), 0.28)
    return weather.light
