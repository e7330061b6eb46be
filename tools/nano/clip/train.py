"""Make nano-clip from the corpora to the folder that ships, in five resumable steps.

``python tools/nano/clip/train.py --data DIR --out DIR --export mmsearch/models/nano/clip``
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Run the steps and write the manifest; a finished step is not run again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="checkpoints and caches")
    parser.add_argument("--export", type=Path, required=True, help="model folder to write")
    parser.add_argument("--minutes", type=float, default=50, help="of image training")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    cache = args.out / "cache"
    common = ["--cache", str(cache), "--data", str(args.data), "--out", str(args.out)]

    def run(script: Path, *options: str) -> None:
        subprocess.run([sys.executable, str(script), *options], check=True, cwd=HERE.parents[2])

    if not (cache / "book-train.json").exists():
        run(HERE / "book.py", "--cache", str(cache))
    if not (args.out / "text.pt").exists():
        run(HERE / "text.py", *common)
    if not (args.out / "backbone.pt").exists():
        run(HERE / "backbone.py", *common)
    run(
        HERE / "vision.py",
        *common,
        *("--minutes", str(args.minutes), "--workers", str(args.workers)),
    )
    run(HERE / "joint.py", *common, "--export", str(args.export))
    run(
        HERE.parent / "manifest.py",
        *(str(args.export), "nano-clip", "--created-by", "tools/nano/clip/train.py"),
    )


if __name__ == "__main__":
    main()
