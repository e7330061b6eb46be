"""An indexing run with fake models in a process of its own, to be killed by tests.

python -m tests.e2e.fake_index LIBRARY FOLDER...
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from indexer.runs import index_into
from mmsearch.types import Vectors
from tests.support.fakes import open_fake

if __name__ == "__main__":
    with open_fake(Path(sys.argv[1]), workers=2, commit_files=4, batch_size=4) as engine:
        clip = engine.library.models("nano").clip
        encode = clip.encode_pixels

        def slowly(pixels: object) -> Vectors:
            """A real model takes its time: that is when most kills happen."""
            time.sleep(0.05)
            return encode(pixels)  # type: ignore[arg-type]

        clip.encode_pixels = slowly  # type: ignore[method-assign]
        summary = index_into(engine.library, [Path(name) for name in sys.argv[2:]])
        sys.stdout.write(f"{summary.counts.indexed}\n")
