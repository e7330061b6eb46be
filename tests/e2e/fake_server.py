"""A worker or a service with fake models in a process of its own, to be killed by tests.

python -m tests.e2e.fake_server worker|serve|serve-only LIBRARY [SETTING=VALUE...]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from indexer.jobs import Worker
from mmsearch.cli.serve import run_server
from mmsearch.search.engine import SearchEngine
from mmsearch.types import Vectors
from tests.support.fakes import open_fake

ENCODING_SECONDS = 0.05


def slow_down(engine: SearchEngine) -> None:
    """A real model takes its time: that is when most kills happen."""
    clip = engine.library.models("nano").clip
    encode = clip.encode_pixels

    def slowly(pixels: object) -> Vectors:
        time.sleep(ENCODING_SECONDS)
        return encode(pixels)  # type: ignore[arg-type]

    clip.encode_pixels = slowly  # type: ignore[method-assign]


if __name__ == "__main__":
    role, library, *given = sys.argv[1:]
    settings: dict[str, Any] = dict(one.split("=", 1) for one in given)
    with open_fake(Path(library), workers=1, **settings) as engine:
        slow_down(engine)
        if role.startswith("serve"):
            run_server(engine, worker="none" if role == "serve-only" else "thread")
        else:
            Worker(engine.library, poll=0.1).run()
