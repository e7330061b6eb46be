"""Pictures, dense labels and questions that nano-vlm learns from, all out of the picture book.

python tools/nano/vlm/data.py --out /tmp/vlm --train 32000 --test 1500
"""

from __future__ import annotations

import argparse
import pickle
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmsearch.demo.picturebook import Scene, draw, sample_scenes
from mmsearch.demo.picturebook.lexicon import COLOURS, KINDS, OBJECTS, PLACES, TIMES, WEATHERS

SIDE = 112
"""Pixels a side that the model looks at."""
GRID = 7
"""Image tokens a side."""

KIND_INDEX = {kind.name: i for i, kind in enumerate(OBJECTS)}
COLOUR_INDEX = {name: i for i, name in enumerate(COLOURS)}
PLACE_INDEX = {place.name: i for i, place in enumerate(PLACES)}


def picture(scene: Scene, number: int) -> NDArray[np.uint8]:
    """The picture of a scene at the model's size, uint8 (SIDE, SIDE, 3).

    Only some are drawn at that size: the model also meets the texture of reduced pictures.
    """
    size = (SIDE, SIDE, 192, 256)[number % 4]
    image = draw(scene, size)
    if size != SIDE:
        image = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(image)


def dense_labels(scene: Scene) -> dict[str, NDArray]:
    """What every cell of the grid shows: arrays over (GRID * GRID) cells.

    `kind` and `colour` of the item that covers most of the cell (0 is none), the item's `box`
    (left, top, right, bottom), and `centre`: 1 where an item has its centre.
    """
    cells = GRID * GRID
    kind = np.zeros(cells, np.int64)
    colour = np.zeros(cells, np.int64)
    box = np.zeros((cells, 4), np.float32)
    centre = np.zeros(cells, np.float32)
    best = np.full(cells, 0.12, np.float32)
    edges = np.arange(GRID + 1) / GRID
    for order, item in enumerate(scene.items):
        x0, y0, x1, y1 = item.box
        across = np.clip(np.minimum(x1, edges[1:]) - np.maximum(x0, edges[:-1]), 0, None) * GRID
        down = np.clip(np.minimum(y1, edges[1:]) - np.maximum(y0, edges[:-1]), 0, None) * GRID
        share = (down[:, None] * across[None, :]).ravel()
        cx, cy = min(GRID - 1, int((x0 + x1) / 2 * GRID)), min(GRID - 1, int((y0 + y1) / 2 * GRID))
        here = cy * GRID + cx
        # Items are drawn from far to near: a nearer one wins a cell of equal coverage.
        take = share * (1 + 0.1 * order) > best
        take[here] = True
        kind[take] = KIND_INDEX[item.kind] + 1
        colour[take] = COLOUR_INDEX[item.colour] + 1
        box[take] = item.box
        best[take] = share[take]
        centre[here] = 1.0
    return {"kind": kind, "colour": colour, "box": box, "centre": centre}


def scene_labels(scene: Scene) -> tuple[int, int, int]:
    """Place, time and weather as class numbers (time and weather -1 where not to be seen)."""
    place = PLACES[PLACE_INDEX[scene.place]]
    if place.floating or place.indoors:
        return PLACE_INDEX[scene.place], -1, -1
    return (
        PLACE_INDEX[scene.place],
        TIMES.index(scene.time),
        WEATHERS.index(scene.weather),
    )


def render(out: Path, split: str, n: int, seed: int) -> None:
    """Writes `split`.npy (n, SIDE, SIDE, 3) and `split`.pkl (the scenes) into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    started = time.time()
    scenes = sample_scenes(split, n, seed)  # type: ignore[arg-type]
    (out / f"{split}.pkl").write_bytes(pickle.dumps(scenes))
    part = out / f"{split}.part.npy"
    pictures = np.lib.format.open_memmap(part, "w+", np.uint8, (n, SIDE, SIDE, 3))
    for i, scene in enumerate(scenes):
        pictures[i] = picture(scene, i)
        if i % 4000 == 3999:
            print(f"{split} {i + 1} of {n}, {time.time() - started:.0f} s", flush=True)
    pictures.flush()
    part.rename(out / f"{split}.npy")


def load(folder: Path, split: str) -> tuple[NDArray[np.uint8], list[Scene]]:
    """The rendered pictures (memory-mapped) and their scenes."""
    path = folder / f"{split}.npy"
    if not path.exists():
        path = folder / f"{split}.part.npy"
    pictures = np.load(path, mmap_mode="r")
    scenes = pickle.loads((folder / f"{split}.pkl").read_bytes())
    return pictures, scenes


def rendered(pictures: NDArray[np.uint8]) -> int:
    """How many pictures are there already: training may begin while the rest is being drawn."""
    low, high = 0, len(pictures)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if pictures[middle].any() else (low, middle)
    return low


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--train", type=int, default=32000)
    parser.add_argument("--test", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=20)
    args = parser.parse_args()
    render(args.out, "test", args.test, args.seed)
    render(args.out, "train", args.train, args.seed)


if __name__ == "__main__":
    main()
    assert set(KIND_INDEX) == set(KINDS)
