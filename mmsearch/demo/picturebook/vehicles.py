# ruff: noqa: D103, E501 -- a drawing is named by its object and reads best one shape per line
"""The vehicles and buildings of the picture book; vehicles head right."""

from __future__ import annotations

from mmsearch.demo.picturebook.pen import Pen

_GLASS = "#bfe3f2"
_TYRE = "#2b2a30"
_RIM = "#cfd3d8"
_LAMP = "#ffe9a0"
_WOOD = "#7a4f30"
_STONE = "#e8e0d2"


def _wheel(p: Pen, x: float, y: float, r: float) -> None:
    p.ell(x, y, r, r, _TYRE)
    p.ell(x, y, r * 0.52, r * 0.52, _RIM, detail=True)
    p.ell(x, y, r * 0.2, r * 0.2, "#74777d", detail=True)


def car(p: Pen) -> None:
    p.blob([(0.36, 0.5), (0.52, 0.14), (0.8, 0.06), (1.16, 0.08), (1.4, 0.24), (1.54, 0.5)], "dark")
    p.poly([(0.52, 0.46), (0.62, 0.2), (0.9, 0.15), (0.9, 0.46)], _GLASS, detail=True)
    p.poly([(0.98, 0.46), (0.98, 0.15), (1.2, 0.19), (1.42, 0.46)], _GLASS, detail=True)
    p.poly([(0.66, 0.42), (0.74, 0.2), (0.8, 0.19), (0.72, 0.42)], "#e6f5fb", detail=True)
    p.blob([(0.04, 0.74), (0.08, 0.52), (0.34, 0.44), (1.0, 0.42), (1.56, 0.46), (1.84, 0.56),
            (1.86, 0.78), (1.6, 0.84), (0.3, 0.84)], "main")  # fmt: skip
    p.rect(0.1, 0.72, 1.84, 0.8, "dark", r=0.04, detail=True)
    p.rect(1.0, 0.52, 1.14, 0.56, "deep", r=0.02, detail=True)
    p.ell(1.8, 0.6, 0.06, 0.055, _LAMP, detail=True)
    p.rect(0.05, 0.56, 0.12, 0.66, "#e2574c", r=0.02, detail=True)
    for x in (0.48, 1.44):
        _wheel(p, x, 0.8, 0.2)


def bus(p: Pen) -> None:
    p.rect(0.04, 0.1, 1.72, 0.84, "main", r=0.11)
    p.rect(0.04, 0.6, 1.72, 0.68, "pale", detail=True)
    for i in range(4):
        p.rect(0.13 + i * 0.31, 0.2, 0.38 + i * 0.31, 0.5, _GLASS, r=0.03, detail=True)
        p.poly([(0.18 + i * 0.31, 0.46), (0.26 + i * 0.31, 0.23), (0.31 + i * 0.31, 0.23),
                (0.23 + i * 0.31, 0.46)], "#e6f5fb", detail=True)  # fmt: skip
    p.rect(1.4, 0.2, 1.66, 0.78, "dark", r=0.03, detail=True)
    p.rect(1.43, 0.23, 1.63, 0.56, _GLASS, r=0.02, detail=True)
    p.ell(1.68, 0.72, 0.04, 0.05, _LAMP, detail=True)
    for x in (0.4, 1.26):
        _wheel(p, x, 0.84, 0.155)


def truck(p: Pen) -> None:
    p.rect(0.02, 0.08, 1.1, 0.78, "pale", r=0.04)
    for x in (0.28, 0.55, 0.82):
        p.rect(x - 0.015, 0.12, x + 0.015, 0.74, "light", detail=True)
    p.blob([(1.12, 0.76), (1.12, 0.3), (1.2, 0.24), (1.42, 0.24), (1.56, 0.46), (1.66, 0.54),
            (1.68, 0.78), (1.4, 0.82)], "main")  # fmt: skip
    p.poly([(1.24, 0.5), (1.24, 0.32), (1.4, 0.32), (1.51, 0.5)], _GLASS, detail=True)
    p.rect(0.02, 0.74, 1.68, 0.84, "deep", r=0.03)
    p.ell(1.65, 0.66, 0.035, 0.045, _LAMP, detail=True)
    for x in (0.26, 0.62, 1.4):
        _wheel(p, x, 0.84, 0.155)


def bicycle(p: Pen) -> None:
    for x in (0.32, 1.18):
        p.ell(x, 0.68, 0.315, 0.315, _TYRE)
        p.ell(x, 0.68, 0.25, 0.25, "#e9eaec", detail=True)
        for a, b in (((x - 0.24, 0.68), (x + 0.24, 0.68)), ((x, 0.44), (x, 0.92))):
            p.line([a, b], 0.016, "#a9adb3", detail=True)
        p.ell(x, 0.68, 0.05, 0.05, _TYRE, detail=True)
    for a, b in (((0.32, 0.68), (0.56, 0.3)), ((0.32, 0.68), (0.72, 0.7)), ((0.56, 0.3), (0.72, 0.7)),
                 ((0.58, 0.32), (1.06, 0.3)), ((0.72, 0.7), (1.06, 0.3)),
                 ((1.02, 0.16), (1.18, 0.68))):  # fmt: skip
        p.line([a, b], 0.085, "main")
    p.line([(0.53, 0.24), (0.57, 0.34)], 0.06, "dark")
    p.rect(0.4, 0.16, 0.68, 0.24, "#3a3038", r=0.04)
    p.line([(1.0, 0.14), (1.16, 0.08), (1.24, 0.16)], 0.05, "#3a3038")
    p.ell(0.72, 0.7, 0.07, 0.07, "deep", detail=True)


def train(p: Pen) -> None:
    p.rect(1.22, 0.1, 1.36, 0.4, "deep")
    p.rect(1.18, 0.06, 1.4, 0.16, "dark", r=0.03)
    p.rect(0.06, 0.1, 0.7, 0.76, "dark", r=0.04)
    p.rect(0.0, 0.04, 0.76, 0.14, "deep", r=0.04)
    p.rect(0.16, 0.22, 0.36, 0.46, _GLASS, r=0.03, detail=True)
    p.rect(0.42, 0.22, 0.62, 0.46, _GLASS, r=0.03, detail=True)
    p.rect(0.64, 0.34, 1.54, 0.76, "main", r=0.14)
    p.rect(0.64, 0.36, 0.9, 0.76, "main")
    for x in (0.86, 1.1):
        p.rect(x, 0.34, x + 0.05, 0.76, "#f1c84b", detail=True)
    p.ell(1.0, 0.34, 0.1, 0.1, "dark")
    p.ell(1.52, 0.5, 0.06, 0.07, _LAMP, detail=True)
    p.poly([(1.4, 0.76), (1.56, 0.76), (1.7, 0.96), (1.4, 0.96)], "deep")
    p.rect(0.04, 0.74, 1.5, 0.82, "deep", r=0.02)
    for x, r in ((0.24, 0.17), (0.6, 0.17), (0.96, 0.12), (1.26, 0.12)):
        p.ell(x, 1.0 - r, r, r, "#3c3a42")
        p.ell(x, 1.0 - r, r * 0.6, r * 0.6, "main", detail=True)
        p.ell(x, 1.0 - r, r * 0.2, r * 0.2, "#3c3a42", detail=True)


def tractor(p: Pen) -> None:
    p.rect(0.92, 0.16, 0.98, 0.46, "#56545c")
    p.rect(0.22, 0.06, 0.3, 0.5, "deep")
    p.rect(0.62, 0.06, 0.7, 0.5, "deep")
    p.rect(0.28, 0.12, 0.64, 0.46, _GLASS, detail=True)
    p.rect(0.14, 0.02, 0.78, 0.11, "main", r=0.04)
    p.blob([(0.2, 0.72), (0.2, 0.46), (0.64, 0.44), (1.12, 0.44), (1.2, 0.56), (1.18, 0.76),
            (0.7, 0.8)], "main")  # fmt: skip
    for y in (0.54, 0.62):
        p.rect(0.86, y, 1.1, y + 0.035, "deep", detail=True)
    p.ell(1.18, 0.52, 0.04, 0.05, _LAMP, detail=True)
    p.ell(0.36, 0.7, 0.3, 0.3, _TYRE)
    p.ell(0.36, 0.7, 0.17, 0.17, "#f1c84b", detail=True)
    p.ell(0.36, 0.7, 0.07, 0.07, "deep", detail=True)
    p.ell(1.06, 0.83, 0.17, 0.17, _TYRE)
    p.ell(1.06, 0.83, 0.09, 0.09, "#f1c84b", detail=True)


def boat(p: Pen) -> None:
    p.rect(0.5, 0.02, 0.545, 0.76, _WOOD)
    p.poly([(0.57, 0.06), (0.57, 0.66), (0.98, 0.66)], "#fbf6ea")
    p.poly([(0.57, 0.42), (0.57, 0.54), (0.89, 0.54), (0.82, 0.42)], "light", detail=True)
    p.poly([(0.475, 0.14), (0.475, 0.66), (0.12, 0.66)], "#efe6d3")
    p.poly([(0.52, 0.0), (0.7, 0.05), (0.52, 0.1)], "main")
    p.blob([(0.02, 0.72), (0.3, 0.74), (0.76, 0.74), (1.04, 0.7), (0.94, 0.88), (0.8, 0.98),
            (0.28, 0.98), (0.1, 0.88)], "main")  # fmt: skip
    p.blob([(0.1, 0.84), (0.5, 0.87), (0.96, 0.83), (0.9, 0.9), (0.5, 0.93), (0.15, 0.9)],
           "pale", detail=True)  # fmt: skip


def ship(p: Pen) -> None:
    for x in (0.56, 0.86):
        p.rect(x, 0.08, x + 0.18, 0.4, "main")
        p.rect(x, 0.08, x + 0.18, 0.16, "deep", detail=True)
    p.rect(0.4, 0.34, 1.24, 0.5, "#fbf6ea", r=0.03)
    p.rect(0.26, 0.48, 1.36, 0.66, "#efe6d3", r=0.03)
    for i in range(5):
        p.ell(0.42 + i * 0.2, 0.57, 0.04, 0.045, "#5b8fb0", detail=True)
    for i in range(4):
        p.rect(0.48 + i * 0.19, 0.39, 0.58 + i * 0.19, 0.46, "#5b8fb0", detail=True)
    p.poly([(0.02, 0.62), (1.58, 0.58), (1.4, 0.98), (0.2, 0.98)], "main")
    p.poly([(0.14, 0.86), (1.46, 0.86), (1.4, 0.98), (0.2, 0.98)], "deep", detail=True)
    p.poly([(0.03, 0.64), (1.57, 0.6), (1.55, 0.66), (0.06, 0.7)], "pale", detail=True)


def plane(p: Pen) -> None:
    p.poly([(0.1, 0.48), (0.02, 0.06), (0.22, 0.06), (0.5, 0.46)], "dark")
    p.poly([(0.78, 0.46), (0.58, 0.14), (0.76, 0.14), (1.14, 0.46)], "deep")
    p.blob([(0.06, 0.48), (0.4, 0.38), (1.3, 0.36), (1.66, 0.44), (1.78, 0.56), (1.6, 0.68),
            (0.9, 0.72), (0.3, 0.62)], "main")  # fmt: skip
    p.blob([(1.44, 0.4), (1.6, 0.43), (1.68, 0.5), (1.46, 0.5)], _GLASS, detail=True)
    for i in range(5):
        p.rect(0.56 + i * 0.16, 0.45, 0.64 + i * 0.16, 0.54, _GLASS, r=0.03, detail=True)
    p.poly([(0.8, 0.6), (1.12, 0.6), (0.66, 0.98), (0.48, 0.98)], "dark")
    p.poly([(0.08, 0.5), (0.3, 0.5), (0.12, 0.66), (0.0, 0.66)], "dark")
    p.rect(0.2, 0.585, 1.62, 0.62, "pale", r=0.015, detail=True)


def balloon(p: Pen) -> None:
    p.line([(0.24, 0.66), (0.3, 0.86)], 0.016, _WOOD, detail=True)
    p.line([(0.48, 0.66), (0.42, 0.86)], 0.016, _WOOD, detail=True)
    p.blob([(0.36, 0.0), (0.6, 0.1), (0.71, 0.32), (0.62, 0.54), (0.48, 0.72), (0.24, 0.72),
            (0.1, 0.54), (0.01, 0.32), (0.12, 0.1)], "main")  # fmt: skip
    p.blob([(0.36, 0.0), (0.48, 0.12), (0.52, 0.34), (0.46, 0.6), (0.4, 0.72), (0.32, 0.72),
            (0.26, 0.6), (0.2, 0.34), (0.24, 0.12)], "pale", detail=True)  # fmt: skip
    p.blob([(0.36, 0.0), (0.41, 0.14), (0.43, 0.34), (0.41, 0.58), (0.38, 0.72), (0.34, 0.72),
            (0.31, 0.58), (0.29, 0.34), (0.31, 0.14)], "main", detail=True)  # fmt: skip
    p.rect(0.26, 0.7, 0.46, 0.75, "deep", r=0.015)
    p.rect(0.26, 0.85, 0.46, 1.0, "#a8763e", r=0.03)
    p.rect(0.25, 0.84, 0.47, 0.88, _WOOD, r=0.015, detail=True)


def rocket(p: Pen) -> None:
    p.blob([(0.2, 0.84), (0.4, 0.84), (0.38, 0.92), (0.3, 1.0), (0.22, 0.92)], "#f6a52c")
    p.blob([(0.25, 0.84), (0.35, 0.84), (0.3, 0.94)], "#fde68a", detail=True)
    p.poly([(0.16, 0.5), (0.0, 0.74), (0.02, 0.88), (0.2, 0.76)], "deep")
    p.poly([(0.44, 0.5), (0.6, 0.74), (0.58, 0.88), (0.4, 0.76)], "deep")
    p.blob([(0.3, 0.0), (0.42, 0.14), (0.48, 0.38), (0.46, 0.66), (0.4, 0.82), (0.2, 0.82),
            (0.14, 0.66), (0.12, 0.38), (0.18, 0.14)], "main")  # fmt: skip
    p.blob([(0.3, 0.0), (0.38, 0.09), (0.43, 0.2), (0.3, 0.23), (0.17, 0.2), (0.22, 0.09)], "deep",
           detail=True)  # fmt: skip
    p.ell(0.3, 0.38, 0.1, 0.1, "#f3f1ea", detail=True)
    p.ell(0.3, 0.38, 0.07, 0.07, "#7cc4e4", detail=True)
    p.rect(0.15, 0.6, 0.45, 0.66, "pale", detail=True)
    p.poly([(0.27, 0.56), (0.33, 0.56), (0.33, 0.86), (0.27, 0.86)], "dark", detail=True)


def house(p: Pen) -> None:
    p.rect(0.76, 0.06, 0.88, 0.34, "#9a6250")
    p.rect(0.12, 0.42, 0.98, 1.0, "main")
    p.rect(0.12, 0.42, 0.98, 0.5, "dark", detail=True)
    p.poly([(0.0, 0.46), (0.55, 0.02), (1.1, 0.46)], "#6a4a44")
    p.poly([(0.09, 0.43), (0.55, 0.07), (1.01, 0.43), (0.9, 0.43), (0.55, 0.15), (0.2, 0.43)],
           "#8b635a", detail=True)  # fmt: skip
    p.ell(0.55, 0.34, 0.08, 0.08, "#fdf6e3", detail=True)
    p.ell(0.55, 0.34, 0.055, 0.055, _GLASS, detail=True)
    for x in (0.2, 0.7):
        p.rect(x, 0.58, x + 0.2, 0.78, "#fdf6e3", r=0.01)
        p.rect(x + 0.025, 0.605, x + 0.175, 0.755, _GLASS, detail=True)
        p.rect(x + 0.09, 0.6, x + 0.11, 0.76, "#fdf6e3", detail=True)
    p.rect(0.47, 0.66, 0.65, 1.0, "#6f4630", r=0.02)
    p.ell(0.61, 0.84, 0.018, 0.018, "#f4d35e", detail=True)


def castle(p: Pen) -> None:
    def battlement(x0: float, x1: float, y: float, n: int) -> None:
        w = (x1 - x0) / (2 * n - 1)
        for i in range(n):
            p.rect(x0 + 2 * i * w, y - 0.055, x0 + (2 * i + 1) * w, y + 0.02, "main", detail=True)

    p.rect(0.4, 0.24, 0.75, 0.8, "dark")
    battlement(0.4, 0.75, 0.24, 4)
    p.rect(0.56, 0.0, 0.58, 0.2, _WOOD)
    p.poly([(0.58, 0.0), (0.76, 0.05), (0.58, 0.1)], "#e2574c")
    p.rect(0.16, 0.52, 0.98, 1.0, "main")
    battlement(0.28, 0.88, 0.52, 6)
    for x in (0.02, 0.87):
        p.rect(x, 0.36, x + 0.26, 1.0, "main")
        p.poly([(x - 0.03, 0.37), (x + 0.13, 0.1), (x + 0.29, 0.37)], "deep")
        p.rect(x + 0.09, 0.46, x + 0.17, 0.6, "#4b4652", r=0.04, detail=True)
        p.rect(x, 0.66, x + 0.26, 0.69, "dark", detail=True)
    for x, y in ((0.36, 0.62), (0.7, 0.62), (0.34, 0.82), (0.76, 0.8)):
        p.rect(x, y, x + 0.08, y + 0.04, "dark", detail=True)
    p.rect(0.44, 0.66, 0.71, 1.2, "#5c3d2a", r=0.13)
    p.polygons[-1].points[:, 1] = p.polygons[-1].points[:, 1].clip(max=1.0)
    p.rect(0.53, 0.34, 0.62, 0.48, "#4b4652", r=0.04, detail=True)


def tower(p: Pen) -> None:
    p.poly([(0.12, 0.3), (0.38, 0.3), (0.45, 0.94), (0.05, 0.94)], "main")
    p.poly([(0.105, 0.44), (0.395, 0.44), (0.412, 0.58), (0.088, 0.58)], "#fdf8ee", detail=True)
    p.poly([(0.073, 0.72), (0.427, 0.72), (0.442, 0.86), (0.058, 0.86)], "#fdf8ee", detail=True)
    p.rect(0.06, 0.25, 0.44, 0.31, "deep", r=0.02)
    p.rect(0.14, 0.12, 0.36, 0.26, "#fdeaa4")
    p.rect(0.24, 0.12, 0.26, 0.26, "deep", detail=True)
    p.arc(0.25, 0.13, 0.15, 0.12, 180, 360, "main")
    p.rect(0.0, 0.92, 0.5, 1.0, "#8d8790", r=0.03)
    p.rect(0.2, 0.78, 0.3, 0.93, "#5c3d2a", r=0.05)
    p.rect(0.21, 0.6, 0.29, 0.7, "#4b4652", r=0.04, detail=True)


def windmill(p: Pen) -> None:
    p.poly([(0.26, 0.4), (0.6, 0.4), (0.7, 1.0), (0.16, 1.0)], "main")
    p.poly([(0.46, 0.4), (0.6, 0.4), (0.7, 1.0), (0.5, 1.0)], "dark", detail=True)
    p.blob([(0.22, 0.42), (0.3, 0.26), (0.43, 0.2), (0.56, 0.26), (0.64, 0.42)], "#6a4a44")
    p.rect(0.36, 0.78, 0.5, 1.0, "#5c3d2a", r=0.06)
    p.rect(0.36, 0.54, 0.46, 0.66, _GLASS, r=0.02, detail=True)
    cx, cy = 0.43, 0.34
    for dx, dy in ((0.72, -0.69), (0.69, 0.72), (-0.72, 0.69), (-0.69, -0.72)):
        nx, ny = -dy, dx
        tip = (cx + dx * 0.46, cy + dy * 0.46)
        near = (cx + dx * 0.1, cy + dy * 0.1)
        p.poly([near, (near[0] + nx * 0.1, near[1] + ny * 0.1),
                (tip[0] + nx * 0.12, tip[1] + ny * 0.12), tip], "#fbf6ea")  # fmt: skip
        p.line([(cx, cy), tip], 0.03, _WOOD, detail=True)
    p.ell(cx, cy, 0.045, 0.045, _WOOD)


def tent(p: Pen) -> None:
    p.poly([(0.52, 0.06), (1.38, 0.98), (0.88, 0.98)], "dark")
    p.poly([(0.52, 0.06), (0.02, 0.98), (0.98, 0.98)], "main")
    p.poly([(0.52, 0.06), (0.02, 0.98), (0.2, 0.98)], "light", detail=True)
    p.poly([(0.52, 0.3), (0.34, 0.98), (0.72, 0.98)], "#3d3038")
    p.poly([(0.52, 0.3), (0.34, 0.98), (0.42, 0.98)], "pale", detail=True)
    p.line([(0.46, 0.0), (0.56, 0.14)], 0.03, _WOOD, detail=True)
    p.line([(0.58, 0.0), (0.48, 0.14)], 0.03, _WOOD, detail=True)


def barn(p: Pen) -> None:
    p.poly([(0.12, 0.5), (0.12, 1.0), (1.03, 1.0), (1.03, 0.5), (0.86, 0.2), (0.575, 0.06),
            (0.29, 0.2)], "main")  # fmt: skip
    for x in (0.24, 0.4, 0.75, 0.91):
        p.rect(x, 0.5, x + 0.012, 1.0, "dark", detail=True)
    p.line([(0.06, 0.54), (0.27, 0.19)], 0.075, "#4f4650")
    p.line([(0.27, 0.19), (0.575, 0.05)], 0.075, "#4f4650")
    p.line([(0.575, 0.05), (0.88, 0.19)], 0.075, "#4f4650")
    p.line([(0.88, 0.19), (1.09, 0.54)], 0.075, "#4f4650")
    p.rect(0.35, 0.58, 0.8, 1.0, "#fdf6e3")
    p.rect(0.385, 0.615, 0.765, 1.0, "dark", detail=True)
    p.line([(0.39, 0.63), (0.76, 0.98)], 0.035, "#fdf6e3", detail=True)
    p.line([(0.76, 0.63), (0.39, 0.98)], 0.035, "#fdf6e3", detail=True)
    p.rect(0.47, 0.28, 0.68, 0.46, "#fdf6e3", r=0.02)
    p.rect(0.5, 0.31, 0.65, 0.43, "#4b4046", detail=True)
