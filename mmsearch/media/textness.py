"""Does a picture look as if it held words? A quick guess, so that few are read in vain.

A network of 10 000 weights (trained on photos with and without words drawn over them, and on
drawn screens and pages) looks at the picture in grey, at most SIDE pixels long, and says for
each 8 x 8 pixels how likely they are part of a written line. It is small enough for NumPy: a
decoding worker loads no other library for it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 512
FLAT = 0.7
"""Share of pixels like their neighbour above which a picture is a screen or a page."""
THRESHOLD_FLAT, THRESHOLD = 0.5, 2.5
"""Above this score a picture is read. Leaves and faces score high at times, plain grounds do
not; where they lie was chosen on held-out pictures."""

_WEIGHTS = Path(__file__).with_name("textness.npz")
_CELLS = 10
_LEAST = 32

Array = npt.NDArray[np.float32]


def looks_written(image: Image.Image) -> bool:
    """Whether it is worth while to read the picture."""
    grey = _grey(image)
    if min(grey.shape) < _LEAST:
        return False
    told = score(grey)
    return told > THRESHOLD or (told > THRESHOLD_FLAT and flatness(grey) > FLAT)


def score(grey: npt.NDArray[np.uint8]) -> float:
    """How much the likeliest cells look like written lines, as a logit: high is likely."""
    logits = _logits(grey.astype(np.float32)).reshape(-1)
    few = min(_CELLS, len(logits))
    return float(np.partition(logits, -few)[-few:].mean())


def flatness(grey: npt.NDArray[np.uint8]) -> float:
    """Share of pixels that are like the one to their left, 0..1."""
    # Wrapping round makes -1, 0 and 1 the smallest three.
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
    """(height // 8, width // 8) from (height, width) of 0..255: three layers and a read-out."""
    weights = _weights()
    rows, columns = grey.shape[0] // 8, grey.shape[1] // 8
    x = grey[: rows * 8, : columns * 8] / 127.5 - 1
    # Layers whose stride is their size: cut into blocks, then one product.
    x = x.reshape(rows * 2, 4, columns * 2, 4).swapaxes(1, 2).reshape(-1, 16)
    x = np.maximum(x @ weights["first"] + weights["first_bias"], 0)
    x = x.reshape(rows, 2, columns, 2, -1).swapaxes(1, 2).reshape(rows * columns, -1)
    x = np.maximum(x @ weights["second"] + weights["second_bias"], 0)
    padded = np.pad(x.reshape(rows, columns, -1), ((1, 1), (1, 1), (0, 0)))
    total = np.broadcast_to(weights["third_bias"], (rows, columns, 24)).copy()
    for down in range(3):
        for right in range(3):
            part = padded[down : down + rows, right : right + columns]
            total += part @ weights["third"][down, right]
    logits: Array = np.maximum(total, 0) @ weights["last"] + weights["last_bias"]
    return logits[:, :, 0]


@lru_cache(maxsize=1)
def _weights() -> dict[str, Array]:
    with np.load(_WEIGHTS, allow_pickle=False) as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}
