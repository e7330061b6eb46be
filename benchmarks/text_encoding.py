"""One text query: this project's text tower beside open_clip's padded call, same weights.

    python benchmarks/text_encoding.py [--model ViT-B-32] [--threads 1] [--rounds 30]

Prints milliseconds a query (wall clock, and processor time, which other work on the machine
disturbs less), the ratio to open_clip's own call in the same round, and the least cosine
between both vectors. Tokenising is part of both times.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import open_clip
import torch
from machine import describe_machine

from mmsearch.models.clip.openclip import OpenClipEmbedder
from mmsearch.models.runtime import Runtime

SEED = 7
QUERIES = (
    "a dog on the beach",
    "red car",
    "two children playing football in the park",
    "the invoice of the dentist from last summer",
    "sunset over the mountains with a lake in front",
    "birthday cake with candles",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--precision", default="auto")
    args = parser.parse_args()

    print(describe_machine())
    torch.set_num_threads(args.threads)
    torch.manual_seed(SEED)
    reference = open_clip.create_model(args.model, pretrained_text=False).eval()
    tokenize = open_clip.get_tokenizer(args.model)
    embedder = OpenClipEmbedder(
        args.model,
        random_weights=SEED,
        runtime=Runtime(precision=args.precision, threads=args.threads),
    )
    print(f"the text tower computes in {embedder.arithmetic[1]}")

    def theirs(query: str) -> Any:
        with torch.inference_mode():
            return reference.encode_text(tokenize([query]), normalize=True).numpy()

    def ours(query: str) -> Any:
        return embedder.encode_texts([query], "query")

    wall: dict[str, list[float]] = {"open_clip": [], "mmsearch": []}
    busy: dict[str, list[float]] = {"open_clip": [], "mmsearch": []}
    least = 1.0
    for number in range(args.rounds + 3):
        query = QUERIES[number % len(QUERIES)]
        vectors = []
        calls: tuple[tuple[str, Callable[[str], Any]], ...] = (
            ("open_clip", theirs),
            ("mmsearch", ours),
        )
        for name, call in calls:
            started, started_busy = time.perf_counter(), time.process_time()
            vectors.append(call(query))
            if number >= 3:
                wall[name].append(1000 * (time.perf_counter() - started))
                busy[name].append(1000 * (time.process_time() - started_busy))
        least = min(least, float(np.vdot(*vectors)))
    for title, times in (("wall clock", wall), ("processor time", busy)):
        a, b = times["open_clip"], times["mmsearch"]
        ratio = statistics.median(y / x for x, y in zip(a, b, strict=True))
        print(
            f"{title:15s} open_clip padded {statistics.median(a):6.1f} ms   "
            f"mmsearch {statistics.median(b):6.1f} ms   ratio {ratio:.3f}"
        )
    print(f"least cosine {least:.7f}")


if __name__ == "__main__":
    main()
