"""Decode the training corpora once into memory-mapped uint8 arrays, and read their texts.

``photos64``: 200 classes of 64x64 photos in tar shards; ``flickr8k128``: photos squeezed to
128x128 with five captions each. Arrays are ``uint8 [n, height, width, 3]`` in ``.npy`` files.
"""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VALIDATION_PER_CLASS = 10
"""Pictures a class held back from photos64 train to choose settings by; never trained on."""
VALIDATION_FLICKR = 400
"""Photos held back from flickr8k128 train to choose settings by; never trained on."""


@dataclass(frozen=True)
class LabelledImages:
    """``pixels`` uint8 [n, h, w, 3] (memory-mapped) and ``labels`` int64 [n], class indices."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class CaptionedImages:
    """``pixels`` uint8 [n, h, w, 3] (memory-mapped) and, for each, its captions."""

    pixels: NDArray[np.uint8]
    captions: tuple[tuple[str, ...], ...]


def class_names(data: Path) -> list[tuple[str, ...]]:
    """Synonyms of each of the 200 classes; the order is the class index."""
    rows = [json.loads(line) for line in (data / "photos64/classes.jsonl").open(encoding="utf-8")]
    return [tuple(row["names"]) for row in rows]


def _class_ids(data: Path) -> dict[str, int]:
    rows = [json.loads(line) for line in (data / "photos64/classes.jsonl").open(encoding="utf-8")]
    return {row["wnid"]: index for index, row in enumerate(rows)}


def _decode(shards: list[Path]) -> tuple[NDArray[np.uint8], list[str]]:
    pixels, names = [], []
    for shard in shards:
        with tarfile.open(shard) as tar:
            for member in tar:
                handle = tar.extractfile(member)
                if handle is None or not member.name.endswith(".webp"):
                    continue
                with Image.open(io.BytesIO(handle.read())) as image:
                    pixels.append(np.asarray(image.convert("RGB")))
                names.append(Path(member.name).name)
    return np.stack(pixels), names


def _cached(cache: Path, key: str, shards: list[Path]) -> tuple[NDArray[np.uint8], list[str]]:
    array, names = cache / f"{key}.npy", cache / f"{key}.json"
    if not names.exists():
        cache.mkdir(parents=True, exist_ok=True)
        pixels, decoded = _decode(shards)
        np.save(array, pixels)
        names.write_text(json.dumps(decoded), encoding="utf-8")
    return np.load(array, mmap_mode="r"), json.loads(names.read_text(encoding="utf-8"))


def photos64(data: Path, cache: Path, split: str) -> LabelledImages:
    """The photos of ``split`` ('train' or 'test') with their class indices."""
    pixels, names = _cached(
        cache, f"photos64-{split}", sorted((data / "photos64").glob(f"{split}*.tar"))
    )
    index = _class_ids(data)
    labels = np.array([index[name.split("_")[0]] for name in names], dtype=np.int64)
    return LabelledImages(pixels, labels)


def photos64_split(images: LabelledImages) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows to train on, rows to validate on): the last few pictures of each class validate."""
    validation = np.concatenate(
        [
            np.flatnonzero(images.labels == label)[-VALIDATION_PER_CLASS:]
            for label in range(int(images.labels.max()) + 1)
        ]
    )
    train = np.setdiff1d(np.arange(len(images.labels)), validation)
    return train.astype(np.int64), validation.astype(np.int64)


def flickr8k(data: Path, cache: Path, split: str) -> CaptionedImages:
    """The photos of ``split`` ('train' or 'test') with five human captions each."""
    pixels, names = _cached(cache, f"flickr8k-{split}", [data / f"flickr8k128/{split}.tar"])
    rows = [
        json.loads(line) for line in (data / f"flickr8k128/{split}.jsonl").open(encoding="utf-8")
    ]
    captions = {Path(row["file"]).name: tuple(row["captions"]) for row in rows}
    return CaptionedImages(pixels, tuple(captions[name] for name in names))
