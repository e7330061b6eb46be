"""Vector shapes: every object is a list of filled polygons in a small coordinate system.

An object is drawn once, in units of its own height: x runs from 0 to the object's aspect ratio, y
from 0 (top) to 1 (bottom). Scaling, mirroring and the drawing styles work on the polygons alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.float64]
"""Corner points, float64 (n, 2)."""
Rgb: TypeAlias = tuple[int, int, int]
Paint: TypeAlias = str
"""Either a role of the object's colour (`main dark deep light pale`) or "#rrggbb"."""

PALETTE: dict[str, Rgb] = {
    "red": (217, 52, 48),
    "orange": (242, 134, 28),
    "yellow": (247, 209, 44),
    "green": (56, 152, 70),
    "blue": (42, 106, 210),
    "purple": (132, 64, 176),
    "pink": (246, 138, 188),
    "brown": (138, 88, 50),
    "black": (46, 46, 54),
    "white": (246, 245, 240),
}


@dataclass(frozen=True)
class Polygon:
    """One filled outline; `detail` marks parts too small to be outlined."""

    points: Points
    paint: Paint
    detail: bool


def mix(a: Rgb, b: Rgb, share: float) -> Rgb:
    """The colour `share` of the way from a to b."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


def from_hex(text: str) -> Rgb:
    """The colour written as "#rrggbb"."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def resolve(paint: Paint, colour: str) -> Rgb:
    """The RGB of a paint on an object of the named colour."""
    if paint.startswith("#"):
        return from_hex(paint)
    main = PALETTE[colour]
    if paint == "main":
        return main
    if colour == "black":
        shades = {"dark": (31, 31, 38), "deep": (18, 18, 22), "light": (84, 84, 96),
                  "pale": (128, 128, 140)}  # fmt: skip
        return shades[paint]
    if colour == "white":
        shades = {"dark": (212, 216, 224), "deep": (172, 178, 190), "light": (255, 255, 255),
                  "pale": (255, 255, 255)}  # fmt: skip
        return shades[paint]
    match paint:
        case "dark":
            return mix(main, (20, 12, 30), 0.24)
        case "deep":
            return mix(main, (20, 12, 30), 0.46)
        case "light":
            return mix(main, (255, 250, 235), 0.32)
        case "pale":
            return mix(main, (255, 250, 240), 0.62)
    raise ValueError(f"unknown paint: {paint}")


def smooth(points: Sequence[tuple[float, float]], steps: int = 6) -> Points:
    """A closed Catmull-Rom curve through the points, float64 (n * steps, 2)."""
    p = np.asarray(points, dtype=np.float64)
    before, after, beyond = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (q[:, None, :] for q in (before, p, after, beyond))
    curve = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    return np.asarray(curve.reshape(-1, 2))


class Pen:
    """Collects the polygons of one object or background."""

    def __init__(self) -> None:
        self.polygons: list[Polygon] = []

    def poly(
        self, points: Sequence[tuple[float, float]], paint: Paint, *, detail: bool = False
    ) -> None:
        """A polygon with straight edges."""
        self.polygons.append(Polygon(np.asarray(points, dtype=np.float64), paint, detail))

    def blob(
        self, points: Sequence[tuple[float, float]], paint: Paint, *, detail: bool = False
    ) -> None:
        """A closed smooth curve through the points."""
        self.polygons.append(Polygon(smooth(points), paint, detail))

    def ell(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float | None = None,
        paint: Paint = "main",
        *,
        turn: float = 0.0,
        detail: bool = False,
    ) -> None:
        """An ellipse about (x, y), turned by `turn` degrees (clockwise on the page)."""
        ry = rx if ry is None else ry
        angle = np.linspace(0.0, 2 * math.pi, 28, endpoint=False)
        dx, dy = rx * np.cos(angle), ry * np.sin(angle)
        c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        points = np.stack([x + dx * c - dy * s, y + dx * s + dy * c], axis=1)
        self.polygons.append(Polygon(points, paint, detail))

    def arc(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        start: float,
        stop: float,
        paint: Paint,
        *,
        detail: bool = False,
    ) -> None:
        """A segment of an ellipse between two angles (degrees, clockwise from the right)."""
        angle = np.radians(np.linspace(start, stop, 20))
        points = np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)
        self.polygons.append(Polygon(points, paint, detail))

    def rect(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        paint: Paint,
        *,
        r: float = 0.0,
        detail: bool = False,
    ) -> None:
        """A rectangle, its corners rounded by radius r."""
        if r <= 0:
            self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], paint, detail=detail)
            return
        r = min(r, (x1 - x0) / 2, (y1 - y0) / 2)
        corners = [(x1 - r, y0 + r, -90), (x1 - r, y1 - r, 0), (x0 + r, y1 - r, 90),
                   (x0 + r, y0 + r, 180)]  # fmt: skip
        parts = []
        for cx, cy, start in corners:
            angle = np.radians(np.linspace(start, start + 90, 6))
            parts.append(np.stack([cx + r * np.cos(angle), cy + r * np.sin(angle)], axis=1))
        self.polygons.append(Polygon(np.concatenate(parts), paint, detail))

    def line(
        self,
        points: Sequence[tuple[float, float]],
        width: float,
        paint: Paint,
        *,
        end: float | None = None,
        detail: bool = False,
    ) -> None:
        """A stroke along the points, `width` thick, tapering to `end`, with round caps."""
        p = np.asarray(points, dtype=np.float64)
        if len(p) > 2:
            inner = smooth([(float(x), float(y)) for x, y in p])
            p = np.concatenate([inner[: (len(p) - 1) * 6], p[-1:]])
            # The closed spline bends its first and last piece: keep those straight instead.
            p = np.concatenate([np.asarray(points[:1], dtype=np.float64), p[3:-4], p[-1:]])
        step = np.gradient(p, axis=0)
        step /= np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-9)[:, None]
        normal = np.stack([-step[:, 1], step[:, 0]], axis=1)
        half = np.linspace(width / 2, (width if end is None else end) / 2, len(p))[:, None]
        left, right = p + normal * half, p - normal * half
        cap = np.radians(np.linspace(-60, 60, 5))

        def round_cap(centre: Points, heading: Points, radius: float) -> Points:
            c, s = np.cos(cap), np.sin(cap)
            turned = np.stack([heading[0] * c - heading[1] * s, heading[0] * s + heading[1] * c], 1)
            return np.asarray(centre + turned * radius)

        tip = round_cap(p[-1], step[-1], float(half[-1, 0]))[::-1]
        tail = round_cap(p[0], -step[0], float(half[0, 0]))[::-1]
        outline = np.concatenate([left, tip, right[::-1], tail])
        self.polygons.append(Polygon(outline, paint, detail))

    def eye(self, x: float, y: float, r: float = 0.03) -> None:
        """A dark eye with a glint."""
        self.ell(x, y, r, r * 1.15, "#22202a", detail=True)
        self.ell(x + r * 0.3, y - r * 0.4, r * 0.36, r * 0.36, "#ffffff", detail=True)
