"""Vectors made from words and colours, the same on every machine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from mmsearch.types import Space, Vectors

COLOURS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "red": (255, 0, 0),
        "green": (0, 160, 0),
        "blue": (0, 0, 255),
        "yellow": (255, 255, 0),
        "orange": (255, 140, 0),
        "purple": (128, 0, 128),
        "pink": (255, 150, 190),
        "cyan": (0, 255, 255),
        "brown": (120, 70, 20),
        "white": (255, 255, 255),
        "black": (0, 0, 0),
        "gray": (128, 128, 128),
        "grey": (128, 128, 128),
    }
)
"""The colours that FakeImageTextEmbedder recognises, in words and in images."""

WORD = re.compile(r"\w+", re.UNICODE)
COLOUR_AXES = 16
"""The first components of a fake CLIP vector hold colour. The others hold details."""


def space_of(name: str, model: str, revision: str, dimension: int) -> Space:
    """The space of a fake model. Another model, revision or dimension is another space."""
    parts = f"{model}/{revision}/{dimension}"
    return Space(
        name=name,
        model=model,
        revision=revision,
        fingerprint="fake-" + hashlib.sha256(parts.encode()).hexdigest()[:16],
        dimension=dimension,
    )


def directions(seed: str, rows: int, dimension: int) -> npt.NDArray[np.float64]:
    """(rows, dimension) normally distributed numbers that depend on `seed` alone."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
    return np.random.default_rng(number).standard_normal((rows, dimension))


def sum_of_words(words: Sequence[str], dimension: int) -> npt.NDArray[np.float64]:
    """The sum of one fixed direction for each different word."""
    total = np.zeros(dimension)
    for word in dict.fromkeys(words):
        total += directions(f"word-{word}", 1, dimension)[0]
    return total


def with_colour(
    colours: npt.NDArray[np.float64], details: npt.NDArray[np.float64], dimension: int
) -> npt.NDArray[np.float64]:
    """Mostly the mean colour, as soft membership in the named ones, and some details."""
    named = np.array([COLOURS[name] for name in COLOURS if name != "grey"], np.float64)
    distance = ((colours[:, None, :] - named[None]) ** 2).sum(axis=2)
    member = np.exp(-distance / 6000)
    member /= np.maximum(member.sum(axis=1, keepdims=True), 1e-12)
    vector = np.zeros(dimension)
    vector[: len(named)] = member.mean(axis=0)
    return unit(vector) + 0.3 * details


def unit(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The vector at length 1; one of zeros stays as it is."""
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-12 else vector


def unit_rows(vectors: list[npt.NDArray[np.float64]], dimension: int) -> Vectors:
    """(n, dimension) float32 unit rows; a vector of zeros becomes the last axis."""
    rows = np.zeros((len(vectors), dimension), np.float32)
    for row, vector in zip(rows, vectors, strict=True):
        row[:] = unit(vector)
        if not row.any():
            row[-1] = 1.0
    return rows
