"""Libraries with fake models: filled by one run, and read back."""

from __future__ import annotations

from pathlib import Path

from indexer.runs import RunSummary, index_into
from tests.support.fakes import open_fake


def run_index(library: Path, *paths: Path, prune: bool = False, revision: str = "1") -> RunSummary:
    """One indexing run with fake models; another `revision` makes other vector spaces."""
    with open_fake(library, revision=revision, workers=2) as engine:
        return index_into(engine.library, list(paths), prune=prune)


def contents(library: Path) -> dict[str, list[tuple[str, str | None, bytes]]]:
    """All that a library holds, by path: modality, text and vector bytes of each segment."""
    with open_fake(library) as engine:
        store = engine.library.store
        by_path: dict[str, list[tuple[str, str | None, bytes]]] = {}
        for source in store.sources.list(limit=10_000):
            rows = []
            for segment in store.segments.of_source(source.id):
                vectors = b""
                for stored in store.spaces.active():
                    for _, matrix in store.vectors.of_segments(stored.id, [segment.id]).values():
                        vectors += matrix.tobytes()
                rows.append((segment.modality.value, segment.text, vectors))
            by_path[source.path] = rows
        return by_path
