"""Indexing real photos end to end against a plain open_clip loop, and memory against files.

    python benchmarks/indexing.py --images FOLDER [--rounds 3] [--json]

"End to end" is all that `mmsearch index` does: walking, hashing, decoding in worker
processes, thumbnails, metadata, the image tower, SQL and the FAISS snapshot. The reference
decodes with Pillow, preprocesses with open_clip's own transform and calls encode_image on
the same number of threads, and stores nothing. Both use ViT-B-32 with random weights: speed
does not depend on what they are. The text and speech models are those of the nano profile
(no text is embedded here).

The memory part indexes N and 4 N distinct pictures in fresh processes and prints the peak
of each: it should not depend on N.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ARCHITECTURE = "ViT-B-32"


def photos(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png"})


def reference(files: list[Path], batch: int, threads: int) -> float:
    """Pictures a second of the plain loop."""
    import open_clip
    import torch
    from PIL import Image

    torch.set_num_threads(threads)
    model, _, preprocess = open_clip.create_model_and_transforms(ARCHITECTURE)
    model.eval()
    began = time.perf_counter()
    with torch.no_grad():
        for start in range(0, len(files), batch):
            pictures = [
                preprocess(Image.open(path).convert("RGB")) for path in files[start : start + batch]
            ]
            vectors = model.encode_image(torch.stack(pictures))
            vectors / vectors.norm(dim=-1, keepdim=True)
    return len(files) / (time.perf_counter() - began)


def ours(folder: Path, threads: int) -> tuple[float, int]:
    """Pictures a second of an indexing run into a new library, models loaded before."""
    from indexer.runs import index_into
    from mmsearch.search.engine import SearchEngine

    with tempfile.TemporaryDirectory() as library:
        engine = SearchEngine.open(
            library,
            create=True,
            profile="nano",
            clip_model=f"{ARCHITECTURE}:random=0",
            threads=threads,
        )
        with engine:
            models = engine.library.models("nano")
            models.clip.encode_texts(["warm up"], "query")
            assert models.text.space
            began = time.perf_counter()
            summary = index_into(engine.library, [folder])
            seconds = time.perf_counter() - began
        assert not summary.failures, summary.failures[:3]
        return summary.counts.indexed / seconds, summary.counts.indexed


def memory(pictures: int) -> None:
    """Index `pictures` distinct small pictures and print this process's peak, in MiB."""
    import numpy as np
    from PIL import Image

    from indexer import index

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        folder.mkdir()
        for n in range(pictures):
            Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(folder / f"{n}.png")
        summary = index(folder, Path(place) / "library", profile="nano")
        assert summary.counts.indexed == pictures
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def peak(pictures: int) -> float:
    command = [sys.executable, __file__, "--memory-of", str(pictures)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path)
    parser.add_argument("--most", type=int, default=300, help="photos at the most")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--memory", type=int, default=1000, help="N of the memory part; 0: none")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.memory_of:
        memory(options.memory_of)
        return

    found: dict[str, object] = {
        "machine": f"{platform.processor() or platform.machine()}, {options.threads} threads"
    }
    if options.images:
        files = photos(options.images)[: options.most]
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            for path in files:  # only the photos, whatever else lies in the folder
                (folder / path.name).symlink_to(path.resolve())
            rounds = []
            for _ in range(options.rounds):
                single = reference(files, 1, options.threads)
                batched = reference(files, 32, options.threads)
                rate, count = ours(folder, options.threads)
                rounds.append((rate, single, batched))
                print(
                    f"mmsearch {rate:.1f}/s, open_clip loop {single:.1f}/s (ratio "
                    f"{rate / single:.2f}), in batches of 32 {batched:.1f}/s "
                    f"(ratio {rate / batched:.2f})",
                    file=sys.stderr,
                )
            found |= {
                "photos": count,
                "mmsearch_per_s": statistics.median(r[0] for r in rounds),
                "open_clip_loop_per_s": statistics.median(r[1] for r in rounds),
                "ratio": statistics.median(r[0] / r[1] for r in rounds),
                "ratio_to_batches_of_32": statistics.median(r[0] / r[2] for r in rounds),
            }
    if options.memory:
        small, large = peak(options.memory), peak(4 * options.memory)
        found |= {"peak_mib": {options.memory: small, 4 * options.memory: large}}
    print(json.dumps(found) if options.json else "\n".join(f"{k}: {v}" for k, v in found.items()))


if __name__ == "__main__":
    main()
