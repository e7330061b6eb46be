"""The image tower: this project's forward pass beside open_clip's, same random weights.

    python benchmarks/image_encoding.py [--model ViT-B-32] [--threads 2] [--images FOLDER]

Prints img/s per precision and batch size, the ratio to open_clip's own fp32 call in the same
round (the machine drifts; rounds are interleaved, medians are shown), and the least cosine
between both. With --images also open_clip's plain loop: open, preprocess, encode, one by one.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
from machine import describe_machine
from PIL import Image

from mmsearch.errors import MMSearchError
from mmsearch.models.clip.openclip import OpenClipEmbedder
from mmsearch.models.clip.selection import probe_pixels
from mmsearch.models.runtime import Runtime

SEED = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16", "int8", "auto"])
    parser.add_argument("--images", type=Path)
    args = parser.parse_args()

    print(describe_machine())
    torch.set_num_threads(args.threads)
    torch.manual_seed(SEED)
    reference, _, transform = open_clip.create_model_and_transforms(
        args.model, pretrained_text=False
    )
    reference.eval()

    embedders = {}
    for precision in args.precisions:
        embedder = OpenClipEmbedder(
            args.model,
            random_weights=SEED,
            runtime=Runtime(precision=precision, threads=args.threads),
        )
        try:
            embedder.space  # noqa: B018  # loads
        except MMSearchError as error:
            print(f"{precision}: {error}")
            continue
        embedders[precision] = embedder
        print(f"{precision}: the image tower computes in {embedder.arithmetic[0]}")
    spec = next(iter(embedders.values())).preprocess

    for batch in args.batches:
        pixels = np.concatenate([probe_pixels(spec)] * (batch // 6 + 1))[:batch]
        tensor = torch.stack([transform(Image.fromarray(p)) for p in pixels])
        times: dict[str, list[float]] = {name: [] for name in ("open_clip", *embedders)}
        for _ in range(args.rounds + 1):
            start = time.perf_counter()
            with torch.inference_mode():
                expected = reference.encode_image(tensor, normalize=True).numpy()
            times["open_clip"].append(time.perf_counter() - start)
            for name, embedder in embedders.items():
                start = time.perf_counter()
                vectors = embedder.encode_pixels(pixels)
                times[name].append(time.perf_counter() - start)
                cosine = float((vectors * expected).sum(axis=1).min())
                assert cosine > 0.999, (name, cosine)
        base = times["open_clip"][1:]
        for name, taken in times.items():
            ratio = statistics.median(b / t for b, t in zip(base, taken[1:], strict=True))
            rate = batch / statistics.median(taken[1:])
            print(f"batch {batch:3d}  {name:10s} {rate:6.1f} img/s   x{ratio:.2f} of open_clip")

    if args.images:
        files = sorted(p for p in args.images.iterdir() if p.suffix in (".jpg", ".png"))[:60]
        start = time.perf_counter()
        with torch.inference_mode():
            for file in files:
                image = transform(Image.open(file)).unsqueeze(0)
                reference.encode_image(image, normalize=True)
        loop = (time.perf_counter() - start) / len(files)
        print(f"open_clip's plain loop over files: {1 / loop:.1f} img/s")


if __name__ == "__main__":
    main()
