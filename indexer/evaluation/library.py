"""Indexes a data set, so that it can be searched (`mmsearch.evaluation`)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from indexer.outcomes import RunCounts
from indexer.runs import RunSummary, index_into
from mmsearch.errors import StorageError
from mmsearch.evaluation import Dataset, IndexedDataset, Item
from mmsearch.search.engine import SearchEngine
from mmsearch.stores.places import uri_of

TEXTS = "evaluation"
"""Folder of the library that texts without a file of their own are written to."""


def index_dataset(
    engine: SearchEngine,
    dataset: Dataset,
    *,
    collection: str | None = None,
    on_progress: Callable[[RunCounts], None] = lambda _counts: None,
) -> tuple[IndexedDataset, RunSummary]:
    """Index the items that are not in the library yet; files that fail are in the summary.

    They get a separate collection, `evaluation-<name>` if none is named, so that nothing else in
    the library competes with them.
    """
    name = collection or f"evaluation-{dataset.name}"
    texts = engine.library.path / TEXTS / dataset.name
    files = {item.id: item.path or _text_file(texts, item) for item in dataset.items}
    _write_texts(texts, dataset)
    # Texts may be many: their folder is named instead of each of them.
    paths = [path for path in files.values() if path.parent != texts]
    if texts.is_dir():
        paths.append(texts)
    summary = index_into(engine.library, paths, collection=name, on_progress=on_progress)
    items = {uri_of(path): item for item, path in files.items()}
    return IndexedDataset(engine, name, items), summary


def _write_texts(folder: Path, dataset: Dataset) -> None:
    try:
        for item in dataset.items:
            if item.path is None:
                folder.mkdir(parents=True, exist_ok=True)
                path = _text_file(folder, item)
                content = (item.text or "").encode()
                if not path.exists() or path.read_bytes() != content:
                    path.write_bytes(content)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}") from error


def _text_file(folder: Path, item: Item) -> Path:
    """Named by a hash: an id may be anything, and must not be found by its file's name."""
    return folder / f"{hashlib.sha256(item.id.encode()).hexdigest()[:16]}.txt"
