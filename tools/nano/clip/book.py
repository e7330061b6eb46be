"""Draw the picture-book training set once: pixels and captions at several levels of detail."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmsearch.demo.picturebook import captions, draw, sample_scenes

VALIDATION_BOOK = 400
"""Scenes at the end of the set that only choose settings."""
DISTILLED = 4000
"""Scenes of which the teacher reads captions (the towers themselves learn from all of them)."""
_DRAWN = 192


@dataclass(frozen=True)
class Book:
    """``pixels`` uint8 [n, size, size, 3] and each scene's captions, short to detailed."""

    pixels: NDArray[np.uint8]
    captions: tuple[tuple[str, ...], ...]


def render(split: str, n: int, seed: int, size: int) -> Book:
    """Scenes of one split, drawn at 192 px and resized as open_clip does (bicubic)."""
    scenes = sample_scenes(split, n, seed)
    pixels = np.stack(
        [
            np.asarray(draw(scene, _DRAWN).resize((size, size), Image.Resampling.BICUBIC))
            for scene in scenes
        ]
    )
    return Book(pixels, tuple(tuple(captions(scene)) for scene in scenes))


def load(cache: Path) -> Book | None:
    """The rendered training set, where ``main`` has written it."""
    if not (cache / "book-train.json").exists():
        return None
    texts = json.loads((cache / "book-train.json").read_text(encoding="utf-8"))
    pixels = np.load(cache / "book-train.npy", mmap_mode="r")
    return Book(pixels, tuple(tuple(row) for row in texts))


def distilled(book: Book) -> tuple[list[str], list[str]]:
    """(a middling, the most detailed) caption of each of the first ``DISTILLED`` scenes."""
    rows = book.captions[:DISTILLED]
    return [row[len(row) // 2] for row in rows], [row[-1] for row in rows]


def main() -> None:
    """Render ``--scenes`` training scenes into the cache."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=12000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=20)
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    book = render("train", args.scenes, args.seed, args.size)
    np.save(args.cache / "book-train.npy", book.pixels)
    (args.cache / "book-train.json").write_text(json.dumps(book.captions), encoding="utf-8")


if __name__ == "__main__":
    main()
