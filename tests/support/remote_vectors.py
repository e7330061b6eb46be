"""A vector database in miniature, and the `VectorBackend` that talks to it.

It stands for Milvus, pgvector and the like: vectors live behind calls, writes go straight
through, nobody can list all ids, and the connection may fail.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mmsearch.errors import SnapshotError, StorageError
from mmsearch.protocols import OpenedIndex, VectorIndex
from mmsearch.types import Channel, HalfVectors, Ids, IndexStats, SearchParams, Vectors
from mmsearch.vectors.checks import (
    best_first,
    check_ids,
    check_limits,
    check_queries,
    check_vectors,
    empty_result,
)


@dataclass
class Alias:
    """Which table a channel's index is in, and what is known of it."""

    table: str
    library: str
    fingerprint: str
    dimension: int
    mark: int | None
    """None while a writer has not finished."""
    saves: int = 1


@dataclass
class Server:
    """The database: tables of vectors by id, and aliases. Every call is atomic."""

    tables: dict[str, dict[int, npt.NDArray[np.float16]]] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    down: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    numbers: Iterable[int] = field(default_factory=itertools.count)

    def table(self, name: str) -> dict[int, npt.NDArray[np.float16]]:
        if self.down:
            raise StorageError("the vector database cannot be reached")
        return self.tables[name]


class RemoteIndex:
    """`VectorIndex` over one table of a server."""

    def __init__(self, server: Server, table: str, dimension: int, saves: int) -> None:
        self._server = server
        self.table = table
        self.dimension = dimension
        self.saves = saves

    def __len__(self) -> int:
        with self._server.lock:
            return len(self._server.table(self.table))

    def contains(self, ids: Ids) -> npt.NDArray[np.bool_]:
        with self._server.lock:
            rows = self._server.table(self.table)
            return np.array([i in rows for i in check_ids(ids).tolist()], dtype=np.bool_)

    def sample(self, n: int, seed: int) -> Ids:
        with self._server.lock:
            live = sorted(self._server.table(self.table))
        return np.array(random.Random(seed).sample(live, min(n, len(live))), dtype=np.int64)

    def add(self, ids: Ids, vectors: Vectors | HalfVectors) -> None:
        flat, half = check_vectors(ids, vectors, self.dimension)
        with self._server.lock:
            self._server.table(self.table).update(zip(flat.tolist(), half.copy(), strict=True))

    def remove(self, ids: Ids) -> int:
        with self._server.lock:
            rows = self._server.table(self.table)
            return sum(rows.pop(i, None) is not None for i in check_ids(ids).tolist())

    def search(
        self,
        queries: Vectors,
        k: int,
        *,
        allowed: Ids | None = None,
        params: SearchParams | None = None,
    ) -> tuple[npt.NDArray[np.float32], Ids]:
        check_limits(k, params)
        exact = check_queries(queries, self.dimension).astype(np.float64)
        scores, hits = empty_result(len(exact), k)
        only = None if allowed is None else set(check_ids(allowed).tolist())
        with self._server.lock:
            rows = self._server.table(self.table)
            chosen = {i: row for i, row in rows.items() if only is None or i in only}
        if not chosen:
            return scores, hits
        ids = np.array(list(chosen), dtype=np.int64)
        matrix = np.stack(list(chosen.values())).astype(np.float64)
        for row, query in enumerate(exact):
            products = np.einsum("nd,d->n", matrix, query).astype(np.float32)
            best_scores, best_ids = best_first(products, ids, k)
            scores[row, : len(best_ids)] = best_scores
            hits[row, : len(best_ids)] = best_ids
        return scores, hits

    def stats(self) -> IndexStats:
        return IndexStats("Remote", len(self), self.saves, memory_bytes=0, device="remote")

    def close(self) -> None:
        """Writes have gone through already."""


class RemoteBackend:
    """`VectorBackend` over a server; `library` is the library's UUID."""

    persistent = True

    def __init__(self, server: Server, library: str) -> None:
        self._server = server
        self._library = library

    def open(self, channel: Channel) -> OpenedIndex | None:
        alias = self._server.aliases.get(str(channel))
        if alias is None:
            return None
        owner = (alias.library, alias.fingerprint, alias.dimension)
        if owner != (self._library, channel.fingerprint, channel.dimension):
            raise SnapshotError(f"the table of {channel} belongs to another library or space")
        if alias.mark is None:
            raise SnapshotError(f"the table of {channel} was not written to its end")
        index = RemoteIndex(self._server, alias.table, channel.dimension, alias.saves)
        return OpenedIndex(index, alias.mark)

    def build(self, channel: Channel, batches: Iterable[tuple[Ids, HalfVectors]]) -> RemoteIndex:
        table = f"{channel} {next(iter(self._server.numbers))}"
        self._server.tables[table] = {}
        index = RemoteIndex(self._server, table, channel.dimension, saves=0)
        for ids, vectors in batches:
            index.add(ids, vectors)
        return index

    def save(self, channel: Channel, index: VectorIndex, high_water_mark: int) -> None:
        assert isinstance(index, RemoteIndex)
        self._server.table(index.table)
        before = self._server.aliases.get(str(channel))
        index.saves = max(index.saves, before.saves if before else 0) + 1
        self._server.aliases[str(channel)] = Alias(
            index.table,
            self._library,
            channel.fingerprint,
            channel.dimension,
            high_water_mark,
            index.saves,
        )
        if before is not None and before.table != index.table:
            del self._server.tables[before.table]

    def delete(self, channel: Channel) -> None:
        alias = self._server.aliases.pop(str(channel), None)
        if alias is not None:
            del self._server.tables[alias.table]

    def close(self) -> None:
        """There is no connection to close."""
