"""How quickly the service answers while hostile files are uploaded to it, 8 at a time.

    python benchmarks/hostile_uploads.py --files FOLDER [--at-once 8] [--limit 100]
        [--worker process|thread] [--json]

A service with the nano models in a process of its own, over a small library of drawn pictures;
one client, a process too, asks for words again and again. First alone, then while all processors
are kept busy by something else at the lowest priority, then while the files of FOLDER (any files;
for instance corrupt, truncated, fuzzed ones and bombs) are uploaded and taken in, and alone again,
with what was taken in to search too. The reference is the same client on the same machine a moment
before and after. Whoever uploads steps back behind both: elsewhere they have machines of their own.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.context import SpawnContext
from pathlib import Path

import httpx

QUESTIONS = ("a red boat", "a castle in the forest", "a dog on the beach", "snow at night")


def ask(url: str, over: threading.Event, seconds: float = math.inf) -> list[float]:
    """Milliseconds of each answer, one after the other, until ``over`` or for ``seconds``."""
    took: list[float] = []
    end = time.monotonic() + seconds
    with httpx.Client(base_url=url, timeout=120) as client:
        while not over.is_set() and time.monotonic() < end:
            began = time.perf_counter()
            question = {"query": QUESTIONS[len(took) % len(QUESTIONS)], "limit": 10}
            client.post("v1/search", json=question).raise_for_status()
            took.append((time.perf_counter() - began) * 1e3)
            time.sleep(0.02)
    return took


def upload(url: str, path: Path) -> tuple[int, int | None]:
    """(status, job)."""
    with path.open("rb") as file:
        answer = httpx.post(f"{url}v1/uploads", files={"file": (path.name, file)}, timeout=300)
    return answer.status_code, answer.json()["job"]["id"] if answer.status_code == 202 else None


def told(took: list[float]) -> dict[str, float]:
    ordered = sorted(took)
    return {
        "answers": len(took),
        "p50_ms": round(statistics.median(ordered), 1),
        "p95_ms": round(ordered[int(0.95 * (len(ordered) - 1))], 1),
        "max_ms": round(ordered[-1], 1),
    }


def be_busy() -> None:
    """Until it is ended."""
    os.nice(19)
    data = os.urandom(1 << 20)
    while True:
        zlib.decompress(zlib.compress(data))


@contextmanager
def busy_processors(context: SpawnContext) -> Iterator[None]:
    others = [context.Process(target=be_busy, daemon=True) for _ in range(os.cpu_count() or 1)]
    for one in others:
        one.start()
    time.sleep(2)
    try:
        yield
    finally:
        for one in others:
            one.terminate()
            one.join()


def measure(url: str, files: list[Path], at_once: int) -> dict[str, object]:
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(1, mp_context=context) as asker:
        over = manager.Event()
        asker.submit(ask, url, over, 3.0).result()  # warm
        alone = asker.submit(ask, url, over, 10.0).result()
        with busy_processors(context):
            beside = asker.submit(ask, url, over, 10.0).result()
        asking = asker.submit(ask, url, over)
        os.nice(10)
        found = upload_all(url, files, at_once)
        over.set()
        meanwhile = asking.result()
        over.clear()
        afterwards = asker.submit(ask, url, over, 10.0).result()
    reference = statistics.median(alone + afterwards)
    return {
        "alone": told(alone),
        "beside_other_work": told(beside),
        "meanwhile": told(meanwhile),
        "afterwards": told(afterwards),
        "ratio_p50": round(statistics.median(meanwhile) / reference, 2),
        **found,
    }


def upload_all(url: str, files: list[Path], at_once: int) -> dict[str, object]:
    """Returns when every job has ended."""
    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        sent = list(pool.map(lambda path: upload(url, path), files))
    jobs = [job for _, job in sent if job is not None]
    outcomes: Counter[str] = Counter()
    for job in jobs:
        while True:
            state = httpx.get(f"{url}v1/jobs/{job}", timeout=120).json()["job"]
            if state["finished_at"] is not None:
                break
            time.sleep(0.2)
        outcomes[state["state"]] += 1
        for item in state["items"]:
            outcomes[item["code"] or item["outcome"]] += 1
    return {
        "statuses": dict(Counter(str(status) for status, _ in sent)),
        "outcomes": dict(outcomes.most_common()),
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=Path, required=True)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--worker", choices=("process", "thread"), default="process")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    every = sorted(p for p in given.files.rglob("*") if p.is_file() and p.suffix != ".jsonl")
    files = every[:: max(1, len(every) // given.limit)][: given.limit]
    with tempfile.TemporaryDirectory() as place:
        from mmsearch.demo.picturebook import write_library

        library = Path(place) / "library"
        write_library(Path(place) / "book", 40, 1)
        mmsearch = [sys.executable, "-m", "mmsearch"]
        subprocess.run(
            [*mmsearch, "index", str(Path(place) / "book"), "--library", str(library),
             "--profile", "nano"],
            check=True,
        )  # fmt: skip
        with subprocess.Popen(
            [*mmsearch, "serve", "--library", str(library), "--port", "0",
             "--worker", given.worker, "--set", "decode_seconds=20"],
            stderr=subprocess.PIPE,
            text=True,
        ) as server:  # fmt: skip
            assert server.stderr is not None
            url = next(m[0] for line in server.stderr if (m := re.search(r"http://\S+/", line)))
            threading.Thread(target=server.stderr.read, daemon=True).start()
            try:
                while httpx.get(f"{url}readyz", timeout=60).status_code != 200:
                    time.sleep(0.5)
                found = measure(url, files, given.at_once)
            finally:
                server.terminate()
    if given.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    from machine import describe_machine

    print(describe_machine())
    print(f"{len(files)} files, {given.at_once} at a time, taken in after {found['seconds']} s")
    for name, value in found.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
