"""FAISS indexes with one snapshot file per channel in the library's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

import numpy as np

from mmsearch.errors import SnapshotError, StorageError
from mmsearch.protocols import OpenedIndex, VectorIndex
from mmsearch.settings import Settings
from mmsearch.stores.store import SqlStore
from mmsearch.types import Channel, HalfVectors, Ids, Modality, Vectors
from mmsearch.vectors.checks import joined
from mmsearch.vectors.faiss.gpu import Device
from mmsearch.vectors.faiss.index import FaissIndex, IndexOptions
from mmsearch.vectors.snapshot import SnapshotKey, read_header, read_snapshot, write_snapshot

CALIBRATION_QUERIES = 100
"""Queries by which the recall of a compressed index is measured."""


class FaissBackend:
    """`VectorBackend` over FAISS. Each `save` replaces the channel's snapshot file.

    `library` is the library's UUID. `calibration_queries` gives the typical queries of a channel,
    shape (n, dimension), or None if there are too few; it is called only for large indexes.
    The other arguments are those of `FaissIndex`.
    """

    persistent = True

    def __init__(
        self,
        folder: Path,
        library: str,
        *,
        calibration_queries: Callable[[Channel], Vectors | None] = lambda _channel: None,
        exact_below: int = 20_000,
        k_factor: int = 30,
        device: Device = "auto",
    ) -> None:
        self._folder = folder
        self._library = library
        self._calibration_queries = calibration_queries
        self._exact_below = exact_below
        self._options: IndexOptions = {
            "exact_below": exact_below,
            "k_factor": k_factor,
            "device": device,
        }

    @classmethod
    def from_settings(cls, settings: Settings, store: SqlStore) -> Self:
        """The backend of a library."""
        return cls(
            settings.library / "indexes",
            store.library_uuid(),
            calibration_queries=lambda channel: cross_modal_queries(store, channel),
            exact_below=settings.index_exact_below,
            k_factor=settings.index_k_factor,
            device=settings.index_device,
        )

    def open(self, channel: Channel) -> OpenedIndex | None:
        path = self._path(channel)
        if not path.exists():
            return None
        index, header = read_snapshot(
            path,
            self._key(channel),
            lambda content: FaissIndex.restore(content, **self._options),
        )
        return OpenedIndex(index, header.high_water_mark)

    def build(self, channel: Channel, batches: Iterable[tuple[Ids, HalfVectors]]) -> FaissIndex:
        ids, vectors = joined(batches, channel.dimension)
        queries = self._calibration_queries(channel) if len(ids) > self._exact_below else None
        options: IndexOptions = {**self._options, "calibration_queries": queries}
        return FaissIndex.build(ids, vectors, **options)

    def save(self, channel: Channel, index: VectorIndex, high_water_mark: int) -> None:
        assert isinstance(index, FaissIndex)
        path = self._path(channel)
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"the folder {path.parent} cannot be made: {error.strerror}"
            ) from None
        write_snapshot(
            path,
            index,
            self._key(channel),
            high_water_mark=high_water_mark,
            generation=max(index.generation, self._saved_generation(channel)) + 1,
        )

    def delete(self, channel: Channel) -> None:
        with suppress(OSError):  # only a cache
            self._path(channel).unlink(missing_ok=True)

    def close(self) -> None:
        """There is nothing to close."""

    def _saved_generation(self, channel: Channel) -> int:
        """That of the channel's snapshot; 0 if there is none or it would be refused."""
        try:
            header = read_header(self._path(channel))
        except SnapshotError:
            return 0
        return header.generation if header.key == self._key(channel) else 0

    def _path(self, channel: Channel) -> Path:
        name = f"{channel.collection_id}-{channel.space_id}-{channel.modality.value}.index"
        return self._folder / name

    def _key(self, channel: Channel) -> SnapshotKey:
        return SnapshotKey(
            library=self._library,
            space=channel.fingerprint,
            channel=f"{channel.collection_id}/{channel.modality.value}",
            dimension=channel.dimension,
        )


def cross_modal_queries(store: SqlStore, channel: Channel) -> Vectors | None:
    """Vectors of the space's other modalities, by which to measure recall; None if too few.

    Queries from another modality lie away from the data (the modality gap), and an index
    tuned on its own vectors loses recall on them.
    """
    samples = [
        next(store.vectors.iterate(channel.space_id, other, batch=CALIBRATION_QUERIES), None)
        for other in Modality
        if other is not channel.modality
    ]
    vectors = [sample[1].astype(np.float32) for sample in samples if sample is not None]
    queries = np.concatenate(vectors)[:CALIBRATION_QUERIES] if vectors else None
    return queries if queries is not None and len(queries) >= CALIBRATION_QUERIES else None
