"""Text detection: whether a picture is likely to contain text, so that OCR can skip the others.

A network of 10 000 weights (trained on photos with and without words drawn over them, and on
drawn screens and pages) takes the picture in grey, at most SIDE pixels long, and scores each
8 x 8 pixels as part of a line of text. It runs in NumPy: decoding workers load no other library.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 384
FLAT = 0.7
"""Share of pixels equal to their neighbour above which a picture is a screen or a page."""
THRESHOLD_FLAT, THRESHOLD = 0.0, 2.0
"""Scores above which OCR reads a picture, chosen on held-out pictures. Leaves and faces may have
high scores; even backgrounds do not."""

_WEIGHTS = Path(__file__).with_name("textness.npz")
_CELLS = 10
_LEAST = 32

Array = npt.NDArray[np.float32]


def looks_written(image: Image.Image) -> bool:
    """Whether OCR should read the picture."""
    grey = _grey(image)
    if min(grey.shape) < _LEAST:
        return False
    logit = score(grey)
    return logit > THRESHOLD or (logit > THRESHOLD_FLAT and flatness(grey) > FLAT)


def score(grey: npt.NDArray[np.uint8]) -> float:
    """Mean logit of the cells that are most likely text."""
    logits = _logits(grey.astype(np.float32)).reshape(-1)
    count = min(_CELLS, len(logits))
    return float(np.partition(logits, -count)[-count:].mean())


def flatness(grey: npt.NDArray[np.uint8]) -> float:
    """Share of pixels that equal the pixel to their left within 1, 0..1."""
    # Unsigned overflow makes -1, 0 and 1 the smallest three.
    return float((grey[:, 1:] - grey[:, :-1] + np.uint8(1) <= 2).mean())


def _grey(image: Image.Image) -> npt.NDArray[np.uint8]:
    grey = image if image.mode == "L" else image.convert("L")
    width, height = grey.size
    scale = SIDE / max(width, height)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        grey = grey.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(grey)


def _logits(grey: Array) -> Array:
    """(height // 8, width // 8) from (height, width) of 0..255: three layers and an output."""
    weights = _weights()
    rows, columns = grey.shape[0] // 8, grey.shape[1] // 8
    x = grey[: rows * 8, : columns * 8].reshape(rows * 2, 4, columns * 2, 4)
    # Layers whose stride is their kernel size: split into blocks, then one product. `_weights`
    # folds the scaling of grey to -1..1 into the first layer.
    x = x.swapaxes(1, 2).reshape(-1, 16) @ weights["first"] + weights["first_bias"]
    x = np.maximum(x, 0, out=x).reshape(rows, 2, columns, 2, -1).swapaxes(1, 2)
    x = x.reshape(rows * columns, -1) @ weights["second"] + weights["second_bias"]
    np.maximum(x, 0, out=x)
    # A 3 x 3 layer: one product for all nine neighbours, then a sum of shifted results.
    each = (x @ weights["third"]).reshape(rows, columns, 3, 3, -1)
    total = np.empty((rows, columns, each.shape[-1]), np.float32)
    total[:] = weights["third_bias"]
    for down, (to_row, from_row) in enumerate(_SHIFTS):
        for right, (to_column, from_column) in enumerate(_SHIFTS):
            total[to_row, to_column] += each[from_row, from_column, down, right]
    logits: Array = np.maximum(total, 0, out=total) @ weights["last"] + weights["last_bias"]
    return logits[:, :, 0]


_SHIFTS = (
    (slice(1, None), slice(None, -1)),
    (slice(None), slice(None)),
    (slice(None, -1), slice(1, None)),
)
"""(to, from) along one axis for the previous neighbour, the cell itself and the next one."""


@lru_cache(maxsize=1)
def _weights() -> dict[str, Array]:
    with np.load(_WEIGHTS, allow_pickle=False) as stored:
        weights: dict[str, Array] = {name: stored[name].astype(np.float32) for name in stored.files}
    weights["first_bias"] = weights["first_bias"] - weights["first"].sum(axis=0)
    weights["first"] = weights["first"] / np.float32(127.5)
    inputs = weights["third"].shape[2]
    weights["third"] = weights["third"].transpose(2, 0, 1, 3).reshape(inputs, -1)
    return weights
