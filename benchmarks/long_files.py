"""What hours cost: a 3-hour recording and a 2-hour film taken in whole, time and peak memory.

    pip install psutil
    python benchmarks/long_files.py [--recording-hours 3] [--film-hours 2] [--json]

Both are made from the picture book's memos and scenes, a few minutes repeated packet by packet.
Each is indexed in a process of its own, with the nano models; that process and its decoding
workers are weighed together (proportional set size, so that what they share counts once) five
times a second. The reference is the same process after it has taken in the few minutes alone:
every model is loaded by then. The difference is what length costs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import av
import numpy as np
from films import heard, repeat, write_film, write_recording
from numpy.typing import NDArray
from PIL import Image

SCENE_SECONDS = 4.0
MIB = 2**20


def memos() -> NDArray[np.float32]:
    """All memos of the picture book, one after the other."""
    import mmsearch.demo.picturebook

    folder = Path(mmsearch.demo.picturebook.__file__).parent / "recordings"
    return np.concatenate([heard(path) for path in sorted(folder.glob("*.ogg"))])


def weight(root: int) -> tuple[int, int]:
    """Proportional set size of a process and of its descendants, bytes."""
    import psutil

    def of(process: psutil.Process) -> int:
        try:
            return int(process.memory_full_info().pss)
        except psutil.Error:  # it has just ended
            return 0

    process = psutil.Process(root)
    return of(process), sum(of(child) for child in process.children(recursive=True))


def take_in(short: Path, long: Path) -> dict[str, float]:
    """Index ``short``, then ``long``, weighing all the while."""
    from indexer.runs import index_into
    from mmsearch.search.engine import SearchEngine

    heaviest = {"run": 0, "workers": 0, "both": 0}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            run, workers = weight(os.getpid())
            for name, now in (("run", run), ("workers", workers), ("both", run + workers)):
                heaviest[name] = max(heaviest[name], now)

    with (
        tempfile.TemporaryDirectory() as library,
        SearchEngine.open(library, create=True, profile="nano") as engine,
    ):
        first = index_into(engine.library, [short])
        before = sum(weight(os.getpid()))
        watching = threading.Thread(target=watch)
        watching.start()
        began = time.perf_counter()
        second = index_into(engine.library, [long])
        seconds = time.perf_counter() - began
        over.set()
        watching.join()
    assert not first.failures, first.failures
    assert not second.failures, second.failures
    return {
        "seconds": round(seconds, 1),
        "segments": second.counts.segments,
        "before_mib": round(before / MIB),
        "peak_mib": round(heaviest["both"] / MIB),
        "peak_run_mib": round(heaviest["run"] / MIB),
        "peak_workers_mib": round(heaviest["workers"] / MIB),
        "length_costs_mib": round((heaviest["both"] - before) / MIB),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recording-hours", type=float, default=3.0)
    parser.add_argument("--film-hours", type=float, default=2.0)
    parser.add_argument("--scenes", type=int, default=60, help="distinct scenes of the film")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--take-in", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.take_in:
        print(json.dumps(take_in(*given.take_in)))
        return
    from mmsearch.demo.picturebook import write_library

    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made: list[tuple[str, Path, Path]] = []
        if given.recording_hours:
            short, long = folder / "short.ogg", folder / "long.ogg"
            write_recording(short, memos())
            repeat(short, long, given.recording_hours * 3600)
            made.append(("recording", short, long))
        if given.film_hours:
            entries = write_library(folder / "book", given.scenes, 1)
            pictures = [Image.open(folder / "book" / entry.picture) for entry in entries]
            short, long = folder / "short.mkv", folder / "long.mkv"
            write_film(short, [(picture, SCENE_SECONDS) for picture in pictures], memos())
            repeat(short, long, given.film_hours * 3600)
            made.append(("film", short, long))
        for name, short, long in made:
            command = [sys.executable, __file__, "--take-in", str(short), str(long)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            with av.open(str(long)) as opened:
                hours = float(opened.duration or 0) / 3.6e9
            found[name] = {"hours": round(hours, 2), **json.loads(done.stdout.splitlines()[-1])}
    if given.json:
        print(json.dumps(found))
        return
    from machine import describe_machine

    print(describe_machine())
    for name, figures in found.items():
        print(name + ": " + ", ".join(f"{key} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
