# ruff: noqa: E501 -- a drawing reads best one shape per line
"""The places of the picture book: sky, weather and everything behind the objects."""

from __future__ import annotations

import math
from collections.abc import Callable

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
            return mix(_multiply(rgb, (104, 118, 178)), (30, 40, 84), 0.25)
        if self.time == "sunset":
            return mix(_multiply(rgb, (255, 208, 186)), (240, 130, 96), 0.12)
        if self.weather in ("rain", "cloudy"):
            grey = sum(rgb) // 3
            return mix(_multiply(rgb, (226, 230, 236)), (grey, grey, grey), 0.25)
        if self.weather == "fog":
            return mix(rgb, (224, 228, 229), 0.5)
        return rgb


def _multiply(a: Rgb, b: Rgb) -> Rgb:
    return a[0] * b[0] // 255, a[1] * b[1] // 255, a[2] * b[2] // 255


def _ridge(
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


def _cloud(s: Stage, x: float, y: float, w: float, colour: str | Rgb, alpha: int = 255) -> None:
    for dx, dy, r in ((-0.3, 0.04, 0.2), (-0.08, -0.06, 0.28), (0.18, -0.01, 0.23),
                      (0.36, 0.05, 0.16)):  # fmt: skip
        s.disc(x + dx * w, y + dy * w, r * w, r * w * 0.8, colour, alpha)
    s.disc(x, y + 0.1 * w, 0.5 * w, 0.12 * w, colour, alpha)


def _fir(s: Stage, x: float, base: float, h: float, colour: Rgb) -> None:
    s.rect(x - h * 0.035, base - h * 0.16, x + h * 0.035, base, mix(colour, (70, 45, 30), 0.6))
    for k in range(3):
        top, w = base - h * (1 - 0.26 * k), h * (0.17 + 0.07 * k)
        s.shape([(x, top), (x + w, top + h * 0.42), (x - w, top + h * 0.42)], colour,
                outline=k == 2)  # fmt: skip


def _bush(s: Stage, x: float, base: float, r: float, colour: Rgb) -> None:
    for dx, k in ((-0.7, 0.7), (0.7, 0.75), (0.0, 1.0)):
        s.disc(x + dx * r, base - 0.45 * r * k, r * k, r * k * 0.85, colour)


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
        _cloud(s, float(rng.uniform(0.02, 0.98)), float(rng.uniform(top, max(top, horizon - 0.22))),
               w, cloud, 215 if many < 4 else 190)  # fmt: skip


def _beach(s: Stage, w: Weather, rng: np.random.Generator) -> None:
    s.gradient([w.tint("#2f8fc4"), w.tint("#4fb4d6"), w.tint("#9adfe6")], 0.46, 0.8)
    for _ in range(9):
        x, y = float(rng.uniform(0, 0.9)), float(rng.uniform(0.49, 0.72))
        s.stroke([(x, y), (x + float(rng.uniform(0.04, 0.12)), y)], 0.005, (255, 255, 255), 120)
    shore = _ridge(rng, 0.765, 0.03, 2)
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
    s.shape(_ridge(rng, 0.5, 0.09, 2), w.ground("#a9d48a"))
    s.shape(_ridge(rng, 0.58, 0.07, 3), w.ground("#b7dc86"))
    s.shape(_ridge(rng, 0.68, 0.04, 2), w.ground("#c6e48f"))
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
    s.shape(_ridge(rng, 0.62, 0.04, 3), w.ground("#8fb98a"))
    s.shape(_ridge(rng, 0.72, 0.05, 2), w.ground("#a5c893"))
    for x in (0.06, 0.13, 0.9):
        _fir(s, x + float(rng.uniform(-0.02, 0.02)), 0.7, 0.13, w.tint("#557f6b"))


def _lake(s: Stage, w: Weather, rng: np.random.Generator) -> None:
    s.shape(_ridge(rng, 0.42, 0.07, 3), w.ground("#8fb592"))
    for k in range(12):
        _fir(s, k / 11 + float(rng.uniform(-0.03, 0.03)), 0.5, float(rng.uniform(0.07, 0.12)),
             w.tint("#5d8c70"))  # fmt: skip
    s.gradient([w.tint("#7fb9cf"), w.tint("#5aa0c2"), w.tint("#4a8fb8")], 0.49, 0.82)
    for _ in range(12):
        x, y = float(rng.uniform(0, 0.9)), float(rng.uniform(0.51, 0.76))
        s.stroke([(x, y), (x + float(rng.uniform(0.03, 0.1)), y)], 0.005, (255, 255, 255), 90)
    s.shape(_ridge(rng, 0.79, 0.035, 2), w.ground("#b4d488"))
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
    s.shape(_ridge(rng, 0.55, 0.05, 2), w.ground("#f0cd8e"))
    s.shape(_ridge(rng, 0.66, 0.07, 2), w.ground("#f5d79b"))
    s.shape(_ridge(rng, 0.8, 0.05, 2), w.ground("#f9e1ad"))
    for _ in range(8):
        x, y = float(rng.uniform(0, 0.85)), float(rng.uniform(0.86, 0.98))
        s.stroke([(x, y), (x + 0.06, y - 0.008), (x + 0.12, y)], 0.004, w.ground("#e2bd7c"), 180)


def _forest(s: Stage, w: Weather, rng: np.random.Generator) -> None:
    s.gradient([w.tint("#a6cfa8"), w.tint("#cfe6c0")], 0.3, 0.7)
    for base, h, colour, n in ((0.6, 0.46, "#8fb99a", 9), (0.66, 0.5, "#5f9274", 7)):
        for k in range(n):
            _fir(s, (k + 0.5) / n + float(rng.uniform(-0.05, 0.05)), base,
                 h * float(rng.uniform(0.7, 1.05)), w.tint(colour))  # fmt: skip
    s.shape(_ridge(rng, 0.64, 0.03, 3), w.ground("#9cc082"))
    s.shape(_ridge(rng, 0.78, 0.04, 2), w.ground("#b2d092"))
    for x in (0.05, 0.95):
        s.rect(x - 0.035, 0.0, x + 0.035, 0.74, w.tint("#6b4b38"))
        s.rect(x - 0.035, 0.0, x - 0.018, 0.74, w.tint("#84604a"))
        _bush(s, x, 0.8, 0.07, w.ground("#6fa065"))


def _farm(s: Stage, w: Weather, rng: np.random.Generator) -> None:
    s.shape(_ridge(rng, 0.5, 0.05, 2), w.ground("#b8cf8a"))
    for k in range(8):
        shade = w.ground(("#e5cf7f", "#d3b965")[k % 2])
        s.shape([(0.3 + 0.05 * k, 0.54), (0.35 + 0.05 * k, 0.54), (0.18 + 0.14 * k, 0.74),
                 (0.04 + 0.14 * k, 0.74)], shade, outline=False)  # fmt: skip
    s.shape(_ridge(rng, 0.71, 0.02, 2), w.ground("#b5d67c"))
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
    s.shape(_ridge(rng, 0.59, 0.02, 2), w.ground("#b0d98c"))
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
    inner.shape(_ridge(rng, 0.84, 0.1, 2), w.ground("#a9cf92"))
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
_ROOMS: dict[str, Callable[[Stage, Scene, np.random.Generator], None]] = {
    "kitchen": _kitchen,
    "living room": _living_room,
    "bedroom": _bedroom,
    "plain": _plain,
}


def background(s: Stage, scene: Scene, rng: np.random.Generator) -> Rgb:
    """Draws everything behind the objects; the light that falls on them."""
    if scene.place in _ROOMS:
        _ROOMS[scene.place](s, scene, rng)
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
