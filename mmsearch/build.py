"""The composition root: the one place that turns settings into wired parts.

A new model, store or index is plugged in here, with one line.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from mmsearch.errors import LibraryNotFoundError, StorageError
from mmsearch.media.sandbox.pool import Sandbox
from mmsearch.models.rerankers.choice import rerankers_of
from mmsearch.models.wiring import models_of
from mmsearch.protocols import VectorIndex
from mmsearch.settings import Settings, decoding_workers
from mmsearch.stores import migrate
from mmsearch.stores.sql import SqlStore
from mmsearch.types import Ids, Modality, Vectors
from mmsearch.vectors.channels import ChannelIndexes, ChannelKey
from mmsearch.vectors.snapshot import SnapshotKey, read_snapshot, write_snapshot

__all__ = ["models_of", "open_indexes", "open_sandbox", "open_store", "rerankers_of"]

CALIBRATION_QUERIES = 100


def open_sandbox(settings: Settings) -> Sandbox:
    """The pool of decoding workers, within the settings' limits."""
    return Sandbox(
        decoding_workers(settings),
        seconds=settings.decode_seconds,
        memory_mb=settings.decode_memory_mb,
    )


def open_indexes(settings: Settings, store: SqlStore) -> ChannelIndexes:
    """The vector indexes of all channels, not loaded yet."""
    return ChannelIndexes(
        store, FaissKeeper(settings, store), publish_every=settings.snapshot_every
    )


def open_store(settings: Settings, *, create: bool = False) -> SqlStore:
    """The metadata store, its schema brought up to date."""
    folder = settings.library
    if settings.database_url is None:
        there = (folder / "library.sqlite").exists()
        if not there and not create:
            raise LibraryNotFoundError(
                f"there is no mmsearch library in {folder}. Make one with: "
                f"mmsearch index FOLDER --library {folder}",
                param="library",
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the library folder {folder} cannot be made: {error}") from None
    store = SqlStore(settings.database)
    migrate.upgrade(store.engine)
    return store


class FaissKeeper:
    """FAISS indexes with snapshot files in the library's folder (an `IndexKeeper`)."""

    def __init__(self, settings: Settings, store: SqlStore) -> None:
        self._settings = settings
        self._store = store
        self._uuid = store.library_uuid()
        self._folder = settings.library / "indexes"

    def build(self, key: ChannelKey, ids: Ids, vectors: Vectors) -> VectorIndex:
        from mmsearch.vectors.faiss.index import FaissIndex

        queries = None
        if len(ids) > self._settings.index_exact_below:
            queries = self._cross_modal_queries(key)
        return FaissIndex.build(ids, vectors, calibration_queries=queries, **self._options())

    def load(self, key: ChannelKey) -> tuple[VectorIndex, int, int] | None:
        from mmsearch.vectors.faiss.index import FaissIndex

        path = self._path(key)
        if not path.exists():
            return None
        index, header = read_snapshot(
            path, self._key(key), lambda content: FaissIndex.restore(content, **self._options())
        )
        return index, header.high_water_mark, header.generation

    def publish(self, key: ChannelKey, index: VectorIndex, mark: int, generation: int) -> None:
        from mmsearch.vectors.faiss.index import FaissIndex

        assert isinstance(index, FaissIndex)
        path = self._path(key)
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError(f"{path.parent} cannot be made: {error.strerror}") from None
        write_snapshot(path, index, self._key(key), high_water_mark=mark, generation=generation)

    def discard(self, key: ChannelKey) -> None:
        with suppress(OSError):  # only a cache
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: ChannelKey) -> Path:
        return self._folder / f"{key.collection_id}-{key.space_id}-{key.modality.value}.index"

    def _key(self, key: ChannelKey) -> SnapshotKey:
        return SnapshotKey(
            library=self._uuid,
            space=key.fingerprint,
            channel=f"{key.collection_id}/{key.modality.value}",
            dimension=key.dimension,
        )

    def _cross_modal_queries(self, key: ChannelKey) -> Vectors | None:
        """Vectors of the space's other modalities: what recall is to be measured with.

        Queries from another modality lie away from the data (the modality gap), and an index
        tuned on its own vectors loses recall on them. None if there are too few.
        """
        samples = [
            next(self._store.vectors(key.space_id, other, batch=CALIBRATION_QUERIES), None)
            for other in Modality
            if other is not key.modality
        ]
        found = [sample[1].astype(np.float32) for sample in samples if sample is not None]
        queries = np.concatenate(found)[:CALIBRATION_QUERIES] if found else None
        return queries if queries is not None and len(queries) >= CALIBRATION_QUERIES else None

    def _options(self) -> dict[str, Any]:
        return {
            "exact_below": self._settings.index_exact_below,
            "k_factor": self._settings.index_k_factor,
            "device": self._settings.index_device,
        }
