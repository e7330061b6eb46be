"""The canvas: turns polygons into pixels in one of the drawing styles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from mmsearch.demo.picturebook.pen import Points, Polygon, Rgb, from_hex, mix, resolve
from mmsearch.demo.picturebook.scene import Box

_INK: Rgb = (38, 30, 44)


@cache
def noise(size: int, cells: int, seed: int) -> NDArray[np.float32]:
    """Smooth noise with about `cells` spots across, float32 (size, size) in 0..1."""
    rng = np.random.default_rng([seed, cells])
    spots = (rng.random((cells + 1, cells + 1)) * 255).astype(np.uint8)
    picture = Image.fromarray(spots).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(picture, dtype=np.float32) / 255.0


@cache
def _paper(size: int) -> Image.Image:
    """The tooth of watercolour paper with pigment blooms, to multiply a picture by."""
    bloom = 0.94 + 0.07 * noise(size, 7, 1) + 0.03 * (noise(size, 30, 2) - 0.5)
    tooth = 1.0 + 0.05 * (noise(size, max(2, size // 4), 3) - 0.5)
    grey = np.clip(bloom * tooth, 0, 1)
    tint = np.stack([grey, grey * 0.995, grey * 0.975], axis=2)
    return Image.fromarray((tint * 255).astype(np.uint8))


@cache
def _painted_area(size: int) -> Image.Image:
    """Mask of a sheet painted to a ragged edge."""
    wobble = 0.022 + 0.02 * (noise(size, 14, 4) - 0.5) + 0.012 * (noise(size, 50, 5) - 0.5)
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    edge = np.minimum(axis, 1 - axis)
    inside = np.minimum(edge[:, None], edge[None, :]) - wobble
    return Image.fromarray((np.clip(inside * size / 3 + 0.5, 0, 1) * 255).astype(np.uint8))


@cache
def _wax(size: int) -> Image.Image:
    """Mask of the paper that crayon strokes leave bare."""
    rng = np.random.default_rng(6)
    grain = rng.random((size, size), dtype=np.float32)
    picture = Image.fromarray((grain * 255).astype(np.uint8))
    strokes = picture.resize((size // 3, size), Image.Resampling.BOX)
    strokes = strokes.resize((size, size), Image.Resampling.BICUBIC).rotate(
        28, Image.Resampling.BICUBIC, fillcolor=128
    )
    value = np.asarray(strokes, dtype=np.float32) / 255.0
    value = 0.6 * (value - 0.5) + 0.5 * (noise(size, max(2, size // 3), 7) - 0.5)
    return Image.fromarray((np.clip(value * 1.5 - 0.03, 0, 0.2) * 255).astype(np.uint8))


class Stage:
    """A square picture under construction, `size` pixels wide (already supersampled)."""

    def __init__(self, size: int, style: str, seed: int) -> None:
        self.size = size
        self.style = style
        self.rng = np.random.default_rng([seed, 77])
        self.image = Image.new("RGB", (size, size), (250, 248, 242))
        self._pen = ImageDraw.Draw(self.image, "RGBA")
        self._line = max(1, round(size * (0.0062 if style == "comic" else 0.0045)))

    # -- background pieces, coordinates are shares of the picture -------------------------------

    def gradient(self, stops: Sequence[str | Rgb], top: float = 0.0, bottom: float = 1.0) -> None:
        """A vertical gradient through the colours, evenly spaced."""
        y0, y1 = round(top * self.size), round(bottom * self.size)
        if y1 <= y0:
            return
        colours = np.array([from_hex(c) if isinstance(c, str) else c for c in stops], np.float64)
        at = np.linspace(0, len(colours) - 1, y1 - y0)
        if self.style == "paper":
            at = np.round(at * 3) / 3
        rows = np.stack(
            [np.interp(at, np.arange(len(colours)), colours[:, i]) for i in range(3)], axis=1
        )
        strip = Image.fromarray(rows.astype(np.uint8)[:, None, :])
        self.image.paste(strip.resize((self.size, y1 - y0), Image.Resampling.NEAREST), (0, y0))

    def shape(
        self,
        points: Points | Sequence[tuple[float, float]],
        colour: str | Rgb,
        alpha: int = 255,
        *,
        outline: bool = True,
    ) -> None:
        """A filled polygon of the background."""
        rgb = from_hex(colour) if isinstance(colour, str) else colour
        xy = np.asarray(points, dtype=np.float64) * self.size
        if self.style == "paper" and outline and alpha == 255:
            for k in (3, 2, 1):
                shift = np.array([0.0, -k * 0.0035 * self.size])
                self._pen.polygon(_flat(xy + shift), fill=(20, 15, 40, 26))
        if self.style == "watercolour":
            alpha = min(alpha, 235)
        self._pen.polygon(_flat(xy), fill=(*rgb, alpha))
        if outline and self.style in ("comic", "crayon") and alpha > 200:
            ink = _INK if self.style == "comic" else mix(rgb, _INK, 0.4)
            self._pen.line(
                _flat(np.concatenate([xy, xy[:1]])),
                fill=(*ink, 210 if self.style == "comic" else 150),
                width=self._line,
            )

    def disc(
        self, x: float, y: float, rx: float, ry: float, colour: str | Rgb, alpha: int = 255
    ) -> None:
        """A filled ellipse of the background, without outline."""
        rgb = from_hex(colour) if isinstance(colour, str) else colour
        s = self.size
        self._pen.ellipse(
            ((x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s), fill=(*rgb, alpha)
        )

    def rect(
        self, x0: float, y0: float, x1: float, y1: float, colour: str | Rgb, alpha: int = 255
    ) -> None:
        """A filled rectangle of the background, without outline."""
        rgb = from_hex(colour) if isinstance(colour, str) else colour
        s = self.size
        self._pen.rectangle((x0 * s, y0 * s, x1 * s, y1 * s), fill=(*rgb, alpha))

    def stroke(
        self,
        points: Sequence[tuple[float, float]],
        width: float,
        colour: str | Rgb,
        alpha: int = 255,
    ) -> None:
        """A line of the background, `width` as a share of the picture."""
        rgb = from_hex(colour) if isinstance(colour, str) else colour
        xy = np.asarray(points, dtype=np.float64) * self.size
        self._pen.line(_flat(xy), fill=(*rgb, alpha), width=max(1, round(width * self.size)))

    def glow(self, x: float, y: float, radius: float, colour: Rgb, strength: int) -> None:
        """A soft halo."""
        for k in range(6, 0, -1):
            r = radius * k / 6
            self.disc(x, y, r, r, colour, max(1, strength // 6))

    # -- objects --------------------------------------------------------------------------------

    def shadow(self, box: Box, alpha: int = 60) -> None:
        """The contact shadow of an object that stands on the ground."""
        cx, w = (box[0] + box[2]) / 2, box[2] - box[0]
        for k, part in ((1.0, 0.4), (0.82, 0.6)):
            self.disc(cx, box[3] - 0.004, w * 0.52 * k, min(0.03, w * 0.09) * k, (20, 16, 40),
                      round(alpha * part))  # fmt: skip

    def figure(
        self, polygons: Iterable[Polygon], box: Box, colour: str, *, flip: bool, light: Rgb
    ) -> None:
        """An object in its box; `light` multiplies its colours (255 is neutral)."""
        height = (box[3] - box[1]) * self.size
        width = (box[2] - box[0]) * self.size
        origin = np.array([box[0], box[1]]) * self.size
        pieces: list[tuple[Points, Rgb, bool]] = []
        for polygon in polygons:
            xy = polygon.points * height
            if flip:
                xy = np.stack([width - xy[:, 0], xy[:, 1]], axis=1)
            rgb = resolve(polygon.paint, colour)
            lit = tuple(round(c * m / 255) for c, m in zip(rgb, light, strict=True))
            pieces.append((xy + origin, (lit[0], lit[1], lit[2]), polygon.detail))
        if self.style == "paper":
            self._cast(pieces, box)
        for xy, rgb, detail in pieces:
            self._piece(xy, rgb, height, detail=detail)

    def _cast(self, pieces: Sequence[tuple[Points, Rgb, bool]], box: Box) -> None:
        """The soft drop shadow of a paper cut-out, and its white cut edge."""
        pad = max(4, round(self.size * 0.03))
        s = self.size
        left, top = int(box[0] * s) - pad, int(box[1] * s) - pad
        area = (int(box[2] * s) + 2 * pad - left, int(box[3] * s) + 2 * pad - top)
        mask = Image.new("L", area, 0)
        pen = ImageDraw.Draw(mask)
        corner = np.array([left, top])
        edge = max(2, round(s * 0.009))
        for xy, _, detail in pieces:
            if not detail:
                local = _flat(xy - corner)
                pen.polygon(local, fill=255)
                pen.line([*local, *local[:2]], fill=255, width=edge, joint="curve")
        soft = mask.point([round(v * 0.45) for v in range(256)])
        soft = soft.filter(ImageFilter.BoxBlur(max(1, round(s * 0.007))))
        shift = round(s * 0.01)
        self.image.paste((25, 18, 45), (left + shift // 2, top + shift), soft)
        self.image.paste((253, 251, 245), (left, top), mask)

    def _piece(self, xy: Points, rgb: Rgb, height: float, *, detail: bool) -> None:
        flat = _flat(xy)
        match self.style:
            case "comic":
                self._pen.polygon(flat, fill=rgb)
                if not detail:
                    self._pen.line([*flat, *flat[:4]], fill=_INK, width=self._line)
            case "watercolour":
                wobble = self.rng.normal(0.0, height * 0.005, xy.shape)
                wobble += np.roll(wobble, 1, 0) + np.roll(wobble, -1, 0)
                flat = _flat(xy + wobble)
                self._pen.polygon(flat, fill=(*mix(rgb, (255, 252, 245), 0.08), 222))
                if not detail:
                    edge = mix(rgb, _INK, 0.3)
                    self._pen.line([*flat, *flat[:2]], fill=(*edge, 120), width=self._line)
            case "crayon":
                self._pen.polygon(flat, fill=rgb)
                if not detail:
                    edge = mix(rgb, _INK, 0.42)
                    wobble = self.rng.normal(0.0, height * 0.004, xy.shape)
                    rough = _flat(xy + wobble)
                    self._pen.line([*rough, *rough[:4]], fill=(*edge, 200), width=self._line)
            case _:
                self._pen.polygon(flat, fill=rgb)

    # -- the whole ------------------------------------------------------------------------------

    def veil(self, colour: Rgb, alpha: float) -> None:
        """Blends the whole picture towards a colour."""
        self.image.paste(
            Image.blend(self.image, Image.new("RGB", self.image.size, colour), alpha), (0, 0)
        )

    def finish(self, size: int) -> Image.Image:
        """The finished picture, reduced to `size` pixels and textured by its style."""
        factor = self.size // size
        image = self.image.reduce(factor) if factor > 1 else self.image
        if self.style == "watercolour":
            image = ImageChops.multiply(image, _paper(size))
            sheet = Image.new("RGB", (size, size), (250, 247, 240))
            image = Image.composite(image, sheet, _painted_area(size))
        elif self.style == "crayon":
            sheet = Image.new("RGB", (size, size), (250, 246, 236))
            image = Image.composite(sheet, image, _wax(size))
        return image


def _flat(xy: Points) -> list[float]:
    flat: list[float] = xy.ravel().tolist()
    return flat
