"""Fit and measure the rule by which nano-vlm leaves photographs alone.

Drawn scenes of the training split on one side, photographs (photos64, Flickr8k) on the other, all
of them as a reranker gets them (JPEG, several sizes); measured on the test splits and on folders
of other pictures. Writes `mmsearch.json` into the model's folder; `manifest.py` comes after it.

python tools/nano/vlm/familiarity.py --data DIR --folder mmsearch/models/nano/vlm
    [--photographs FOLDER]
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch.nn import functional

from mmsearch.demo.picturebook import draw, sample_scenes
from mmsearch.models.vision.in_domain import describe

SIDES = (128, 192, 256, 320)
COUNT = 2_000


def as_reranked(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A picture after the JPEG files that it goes through."""
    image = image.convert("RGB")
    side = int(rng.choice(SIDES))
    if max(image.size) > side or rng.random() < 0.5:
        image = image.resize((side, max(1, round(side * image.height / image.width))))
    for _ in range(int(rng.integers(1, 3))):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(rng.integers(75, 96)))
        image = Image.open(buffer).convert("RGB")
    return image


def drawn(split: str, count: int, seed: int) -> Iterator[Image.Image]:
    for number, scene in enumerate(sample_scenes(split, count, seed)):  # type: ignore[arg-type]
        yield draw(scene, SIDES[number % len(SIDES)])


def photographs(data: Path, split: str, count: int) -> Iterator[Image.Image]:
    """Half of each kind."""
    for folder in ("photos64", "flickr8k128"):
        shards = sorted((data / folder).glob(f"{split}*.tar"))
        left, every = count // 2, 3
        for shard in shards:
            with tarfile.open(shard) as tar:
                for number, member in enumerate(tar):
                    file = tar.extractfile(member) if number % every == 0 else None
                    if file is None or not left:
                        continue
                    try:
                        yield Image.open(io.BytesIO(file.read())).convert("RGB")
                    except UnidentifiedImageError:
                        continue
                    left -= 1


def described(images: Iterator[Image.Image], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([describe(as_reranked(image, rng)) for image in images])


def fitted(known: np.ndarray, unknown: np.ndarray) -> tuple[np.ndarray, float]:
    """Logistic regression; weights and bias for features as they are."""
    x = np.concatenate([known, unknown])
    mean, deviation = x.mean(0), x.std(0) + 1e-3
    inputs = torch.from_numpy((x - mean) / deviation)
    wanted = torch.from_numpy(np.repeat([1.0, 0.0], [len(known), len(unknown)]))
    weights = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(inputs @ weights + bias, wanted)
        loss = loss + 1e-4 * weights.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    own = weights.detach().numpy() / deviation
    return own, float(bias.detach()) - float(own @ mean)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, help="a folder of others to measure with")
    args = parser.parse_args()
    torch.set_num_threads(1)
    known = described(drawn("train", COUNT, 41), 1)
    unknown = described(photographs(args.data, "train", COUNT), 2)
    weights, bias = fitted(known, unknown)
    tests = {
        "drawn, test": described(drawn("test", 500, 42), 3),
        "photographs, test": described(photographs(args.data, "test", 1000), 4),
    }
    if args.photographs is not None:
        found = []
        for path in sorted(args.photographs.rglob("*")):
            try:
                found.append(Image.open(path).convert("RGB"))
            except (OSError, ValueError, Image.DecompressionBombError):
                continue
        tests["other photographs"] = described(iter(found), 5)
    for name, features in tests.items():
        scores = features @ weights + bias
        print(f"{name}: {(scores > 0).mean():.4f} of {len(scores)} familiar, "
              f"median score {np.median(scores):.1f}")  # fmt: skip
    told = {"weights": [float(f"{w:.5g}") for w in weights], "bias": round(bias, 5)}
    (args.folder / "mmsearch.json").write_text(json.dumps({"familiar": told}) + "\n")


if __name__ == "__main__":
    main()
