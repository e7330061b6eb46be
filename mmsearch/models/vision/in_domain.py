"""In-domain detector: whether a picture resembles the training data of a vision-language model.

A small model answers yes or no for any picture, and is as certain about kinds of pictures that it
was not trained on. Low-level statistics separate the kinds: even colours and hard edges of a
drawing, shading and grain of a photograph. The detector computes statistics of colours and of
differences between neighbouring pixels, and scores them by a linear rule from the model's folder
(`mmsearch.json`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmsearch.models.linear_rule import LinearRule

SIDE = 112
"""Pictures are resized to this many pixels a side, so that features do not depend on their size."""

_STEPS = np.array([0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256])
_LEVELS = 8
_SPREADS = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 128])
_BLOCK = 8
_MOST_USED = (1, 4, 16, 64)
FEATURES = 2 * (len(_STEPS) - 1) + len(_SPREADS) - 1 + 2 * _LEVELS + len(_MOST_USED) + 2


@dataclass(frozen=True, slots=True)
class InDomainDetector(LinearRule):
    """A score above 0 is in-domain."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Raises ValueError, KeyError or TypeError if it is malformed."""
        return cls.of(value, FEATURES)

    def score(self, image: Image.Image) -> float:
        """The score of an RGB picture."""
        return self.value(describe(image))


def describe(image: Image.Image) -> npt.NDArray[np.float64]:
    """Features of an RGB picture, float64 (FEATURES,)."""
    small = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = np.asarray(small, np.float32)
    half = pixels.reshape(SIDE // 2, 2, SIDE // 2, 2, 3).mean(axis=(1, 3))
    high, low = pixels.max(axis=2), pixels.min(axis=2)
    codes = (pixels.astype(np.uint32) >> 3) @ np.array([1, 32, 1024], np.uint32)
    used = np.sort(np.unique(codes, return_counts=True)[1])[::-1] / codes.size
    blocks = pixels.reshape(SIDE // _BLOCK, _BLOCK, SIDE // _BLOCK, _BLOCK, 3)
    spreads = blocks.std(axis=(1, 3)).max(axis=2)
    edges = np.linspace(0, 256, _LEVELS + 1)
    return np.concatenate(
        [
            _steps(pixels),
            _steps(half),
            _shares(spreads.ravel(), _SPREADS),
            _shares(high - low, edges),
            _shares(high, edges),
            [used[:most].sum() for most in _MOST_USED],
            [np.log(len(used)), float(pixels.std()) / 128],
        ]
    )


def _steps(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Histogram of the differences between neighbouring pixels."""
    across = np.abs(np.diff(pixels, axis=1)).max(axis=2)
    down = np.abs(np.diff(pixels, axis=0)).max(axis=2)
    return _shares(np.concatenate([across.ravel(), down.ravel()]), _STEPS)


def _shares(values: npt.NDArray[np.float32], edges: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Square roots of a histogram's shares, so that rare values count too."""
    counts, _ = np.histogram(values, edges)
    return np.asarray(np.sqrt(counts / max(1, values.size)), np.float64)
