"""How long filters, facets and the light look at candidates take, on a large library.

    python benchmarks/filtering.py [--segments 100000] [--database postgresql+psycopg://...]

A made library of one segment a source, without vectors; every figure is the median of --rounds.
Wall time, and the processor time of this process (with SQLite all of it).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sqlalchemy import insert, literal

from mmsearch.build import open_store
from mmsearch.query import Facet, Query
from mmsearch.search.parse.filters import compile_filter
from mmsearch.search.results.facets import facets_of
from mmsearch.settings_loading import load_settings
from mmsearch.stores.database import now
from mmsearch.stores.rows import SEGMENTS, SOURCES
from mmsearch.stores.source_values import write_all_values
from mmsearch.stores.store import SqlStore

TAGS = ["beach", "snow", "family", "work", "dog", "cat", "boat", "city"]


def fill(store: SqlStore, size: int) -> int:
    """Rows as an indexing run makes them, written in bulk."""
    collection = store.collections.get_or_create("default", "nano").id
    rng = np.random.default_rng(0)
    picks = rng.permutation(size)
    with store.database.engine.connect() as connection, connection.begin():
        for start in range(0, size, 10_000):
            numbers = range(start, min(size, start + 10_000))
            connection.execute(
                insert(SOURCES),
                [
                    {
                        "id": n + 1,
                        "collection_id": collection,
                        "uri": f"file:///photos/{n % 300}/{n}.jpg",
                        "path": f"/photos/{n % 300}/{n}.jpg",
                        "sha256": f"{n:064}",
                        "size": 100_000 + n,
                        "mtime_ns": (1_500_000_000 + n * 1000) * 10**9,
                        "mime": "image/jpeg" if n % 10 else "image/png",
                        "recipe": "r",
                        "status": "indexed",
                        "metadata": {
                            "taken_at": f"20{10 + n % 15}-{n % 12 + 1:02}-{n % 28 + 1:02}T10:00:00",
                            "tags": [TAGS[n % 8], TAGS[(n // 8) % 8]],
                            "pick": int(picks[n]),
                            "width": 640 + n % 4000,
                            "camera": f"Camera {n % 40}",
                        },
                        "indexed_at": now(),
                    }
                    for n in numbers
                ],
            )
            connection.execute(
                insert(SEGMENTS),
                [
                    {
                        "id": n + 1,
                        "source_id": n + 1,
                        "ordinal": 0,
                        "modality": "image",
                        "metadata": {},
                    }
                    for n in numbers
                ],
            )
        write_all_values(connection)
    return collection


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segments", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database")
    options = parser.parse_args()
    size = options.segments

    def timed(name: str, work: Callable[[], object]) -> None:
        times, cpu = [], []
        for _ in range(options.rounds):
            began, began_cpu = time.perf_counter(), time.process_time()
            answer = work()
            times.append((time.perf_counter() - began) * 1e3)
            cpu.append((time.process_time() - began_cpu) * 1e3)
        wall, own = statistics.median(times), statistics.median(cpu)
        print(f"{name:40} {wall:8.1f} ms {own:8.1f} ms of processor   {answer}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(Path(folder) / "library", database_url=options.database)
        store = open_store(settings, create=True)
        collection = fill(store, size)
        keys = store.sources.metadata_keys(collection)

        def passing(given: dict[str, object]) -> int:
            found = store.segments.matching(collection, compile_filter(given, keys, store.dialect))
            return sum(len(ids) for ids in found.values())

        print(f"{size} segments on {store.dialect.name}")
        for percent in (0.1, 1, 10, 50, 100):
            given: dict[str, object] = {"pick": {"lt": size * percent / 100}}
            timed(f"metadata number, {percent} %", lambda g=given: passing(g))
        timed("metadata list, {'any': ['beach']}", lambda: passing({"tags": {"any": ["beach"]}}))
        timed("metadata date", lambda: passing({"taken_at": {"gte": "2020-01-01"}}))
        timed("column, mime", lambda: passing({"mime": "image/png"}))
        timed("column, size < ...", lambda: passing({"size": {"lt": 100_000 + size / 100}}))
        timed("path like", lambda: passing({"path": {"like": "/photos/7/%"}}))
        timed("metadata like", lambda: passing({"camera": {"like": "CAM%7"}}))
        timed("path equal", lambda: passing({"path": "/photos/7/7.jpg"}))
        timed("metadata instant", lambda: passing({"taken_at": {"gte": "2020-01-01T00:00:00Z"}}))
        timed(
            "metadata keys (once after a change)",
            lambda: len(store.sources.metadata_keys(collection)),
        )
        timed("facet: mime", lambda: _facet(store, collection, Facet("mime")))
        timed("facet: tags", lambda: _facet(store, collection, Facet("tags")))
        timed(
            "facet: taken_at by year",
            lambda: _facet(store, collection, Facet("taken_at", by="year")),
        )
        some = np.random.default_rng(1).integers(1, size, 600).tolist()
        timed("600 candidates", lambda: len(store.segments.candidates(some)))
        everything = literal(True)
        timed("all ids", lambda: len(store.segments.matching(collection, everything)))
        store.close()


def _facet(store: SqlStore, collection: int, facet: Facet) -> int:
    query = Query(facets=(facet,))
    (values,) = facets_of(
        store, collection, query, store.sources.metadata_keys(collection)
    ).values()
    return len(values)


if __name__ == "__main__":
    main()
