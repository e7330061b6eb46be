"""Greyscale of more than 8 bits, as an 8-bit picture shows it."""

from __future__ import annotations

import numpy as np
from PIL import Image


def is_deep(image: Image.Image) -> bool:
    """Whether its pixels are greyscale of more than 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


_DEPTHS = (255, 4095, 16383, 65535)
"""Largest values of 8, 12, 14 and 16 bits."""
_LEAST_RANGE = 1 / 8
"""Of a depth: a picture that uses less of it is stretched to its own range."""


def to_8_bits(image: Image.Image) -> Image.Image:
    """Deep greyscale at 8 bits: scaled by its depth, so that it looks like an 8-bit copy of it.

    Floating point up to 1 is taken as 0..1. What fits no depth (negative values, elevations,
    radiances), or uses little of it, is stretched to its own range.
    """
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    full = 1.0 if image.mode == "F" and high <= 1 else None
    full = full or next((float(depth) for depth in _DEPTHS if high <= depth), None)
    if low < 0 or full is None or high - low < _LEAST_RANGE * full:
        values, full = values - low, high - low
    scaled = values * (255.0 / full) if full > 0 else values
    return Image.fromarray(np.round(scaled).astype(np.uint8)).convert("RGB")
