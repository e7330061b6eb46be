"""Keeps one vector index per channel in step with SQL.

A channel is (space, modality). Each has a snapshot file in the library; what was committed
after the snapshot's high-water mark is replayed from the change log. A snapshot that is
missing, damaged or foreign is never searched: the index is built anew from SQL.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mmsearch.errors import SnapshotError, StorageError
from mmsearch.protocols import VectorIndex
from mmsearch.stores.rows import EXPECTED_IN, Change, StoredSpace
from mmsearch.stores.store import SqlStore
from mmsearch.types import Ids, Modality, Vectors

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChannelKey:
    """What a snapshot must belong to."""

    collection_id: int
    space_id: int
    modality: Modality
    fingerprint: str
    dimension: int

    def __str__(self) -> str:
        return f"collection {self.collection_id}, space {self.space_id}, {self.modality.value}"


class IndexKeeper(Protocol):
    """Makes, loads and publishes the index of a channel (FAISS in the composition root)."""

    def build(self, key: ChannelKey, ids: Ids, vectors: Vectors) -> VectorIndex: ...

    def load(self, key: ChannelKey) -> tuple[VectorIndex, int, int] | None:
        """(index, high-water mark, generation); None if there is no snapshot. SnapshotError."""

    def publish(self, key: ChannelKey, index: VectorIndex, mark: int, generation: int) -> None:
        """Write a snapshot, atomically. StorageError."""

    def discard(self, key: ChannelKey) -> None:
        """Remove the snapshot, if there is one."""


@dataclass(slots=True)
class _Channel:
    key: ChannelKey
    index: VectorIndex
    mark: int
    """Id of the last change-log row that the index contains."""
    generation: int
    unpublished: int
    """Segments added or removed since the last snapshot."""


class ChannelIndexes:
    """All channels of a library. Thread-safe."""

    def __init__(self, store: SqlStore, keeper: IndexKeeper, *, publish_every: int) -> None:
        self._store = store
        self._keeper = keeper
        self._publish_every = publish_every
        self._lock = threading.RLock()
        self._channels: dict[tuple[int, Modality], _Channel] = {}
        self._warnings: list[str] = []
        self._seen = -1
        self.spaces: tuple[StoredSpace, ...] = ()
        """The spaces in use, as of the last refresh: these are the ones that can be searched."""

    def get(self, space_id: int, modality: Modality) -> VectorIndex | None:
        channel = self._channels.get((space_id, modality))
        return channel.index if channel else None

    def take_warnings(self) -> list[str]:
        """What went wrong since the last call; each is told once."""
        with self._lock:
            told, self._warnings = self._warnings, []
            return told

    def refresh(self, *, publish: bool = False) -> bool:
        """Load what is new and replay the change log; True if anything changed.

        `publish`: write a snapshot of every channel that has moved on, however little.
        """
        last = self._store.changes.last_id()
        if last == self._seen and not publish:
            return False
        with self._lock:
            if last == self._seen and not publish:
                return False
            spaces = self._store.spaces.active()
            for stored in spaces:
                for modality in _modalities(stored):
                    if (stored.id, modality) not in self._channels:
                        # A run that publishes is the one that makes the first snapshot.
                        self._load(stored, modality, last, expected=not publish)
            self._drop_retired({s.id for s in spaces})
            for collection_id in {s.collection_id for s in spaces}:
                self._replay(collection_id, last)
            self.spaces = tuple(spaces)
            self._seen = last
            for channel in self._channels.values():
                if channel.unpublished >= self._publish_every or (publish and channel.unpublished):
                    self._publish(channel)
            return True

    def close(self) -> None:
        """Let every index end its background work."""
        for channel in self._channels.values():
            channel.index.close()

    def prepare(self, stored: StoredSpace, last: int) -> None:
        """Write snapshots of a space that is still being built, for all who will follow.

        Every segment of change `last` and before must have its vector in it.
        """
        for modality in _modalities(stored):
            channel = self._from_sql(_key(stored, modality), last, 0)
            if len(channel.index):
                self._publish(channel)
            channel.index.close()

    def forget(self, stored: StoredSpace) -> None:
        """Remove the snapshots of a space that is not in use any more."""
        for modality in Modality:
            self._keeper.discard(_key(stored, modality))

    def rebuild(self) -> None:
        """Build every index anew from SQL, whatever the snapshots hold, and publish it."""
        with self._lock:
            last = self._store.changes.last_id()
            for stored in self._store.spaces.active():
                for modality in _modalities(stored):
                    old = self._channels.get((stored.id, modality))
                    generation = (
                        old.generation if old else self._generation_on_disk(stored, modality)
                    )
                    channel = self._from_sql(_key(stored, modality), last, generation)
                    self._channels[stored.id, modality] = channel
                    self._publish(channel)
            self._seen = -1
        self.refresh()

    def stats(self) -> dict[str, Any]:
        """By space name: type, size, generation, and the same for each channel."""
        names = {s.id: s.space.name for s in self.spaces}
        found: dict[str, Any] = {}
        for (space_id, modality), channel in sorted(self._channels.items()):
            if space_id not in names:
                continue
            stats = channel.index.stats()
            space = found.setdefault(
                names[space_id], {"type": stats.type, "size": 0, "generation": 0, "channels": {}}
            )
            space["size"] += stats.size
            space["generation"] = max(space["generation"], channel.generation)
            if stats.size > max((c["size"] for c in space["channels"].values()), default=-1):
                space["type"] = stats.type
            entry = space["channels"].setdefault(modality.value, {"size": 0})
            entry |= {
                "type": stats.type,
                "size": entry["size"] + stats.size,
                "generation": channel.generation,
                "memory_bytes": stats.memory_bytes,
                "device": stats.device,
                "recall": stats.recall,
            }
        return found

    def problems(self) -> list[str]:
        """Where an index and SQL differ, compared id by id."""
        found: list[str] = []
        with self._lock:
            self.refresh()
            for (space_id, modality), channel in self._channels.items():
                wanted = self._store.vectors.ids(space_id, modality)
                have = channel.index.ids()
                missing = len(np.setdiff1d(wanted, have, assume_unique=True))
                extra = len(np.setdiff1d(have, wanted, assume_unique=True))
                if missing:
                    found.append(f"index of {channel.key}: {missing} vectors are missing")
                if extra:
                    found.append(f"index of {channel.key}: {extra} vectors are extra")
        return found

    # ------------------------------------------------------------------ inside the lock

    def _load(self, stored: StoredSpace, modality: Modality, last: int, *, expected: bool) -> None:
        key = _key(stored, modality)
        try:
            loaded = self._keeper.load(key)
            if loaded is not None and loaded[1] > max(last, self._store.changes.last_id()):
                raise SnapshotError(
                    "it is ahead of the database: it belongs to another copy of this library"
                )
        except SnapshotError as error:
            self._warn(f"the index snapshot of {key} was refused and rebuilt from SQL: {error}")
            self._channels[stored.id, modality] = self._from_sql(key, last, 0)
            return
        if loaded is not None:
            index, mark, generation = loaded
            self._channels[stored.id, modality] = _Channel(key, index, mark, generation, 0)
            return
        channel = self._from_sql(key, last, 0)
        if len(channel.index) and expected:
            self._warn(f"there is no index snapshot of {key}: built from SQL")
        self._channels[stored.id, modality] = channel

    def _drop_retired(self, active: set[int]) -> None:
        """Let go of the channels of spaces that others have taken the place of."""
        gone = [key for key in self._channels if key[0] not in active]
        if gone:
            dropped = [self._channels[key] for key in gone]
            # A new dictionary: others are reading the old one.
            self._channels = {k: c for k, c in self._channels.items() if k not in gone}
            for channel in dropped:
                self._keeper.discard(channel.key)
                channel.index.close()

    def _from_sql(self, key: ChannelKey, last: int, generation: int) -> _Channel:
        # `last` was read before the vectors: what is committed meanwhile is replayed, and
        # replaying what is there already changes nothing.
        batches = list(self._store.vectors.iterate(key.space_id, key.modality))
        ids = np.concatenate([b[0] for b in batches]) if batches else np.empty(0, np.int64)
        vectors = (
            np.concatenate([b[1] for b in batches]).astype(np.float32)
            if batches
            else np.empty((0, key.dimension), np.float32)
        )
        index = self._keeper.build(key, ids, vectors)
        return _Channel(key, index, last, generation, len(ids))

    def _replay(self, collection_id: int, last: int) -> None:
        channels = [c for c in self._channels.values() if c.key.collection_id == collection_id]
        after = min((c.mark for c in channels), default=last)
        while after < last:
            changes = self._store.changes.after(collection_id, after)
            if not changes:
                break
            for space_id in {c.key.space_id for c in channels}:
                self._apply(space_id, [c for c in channels if c.key.space_id == space_id], changes)
            after = changes[-1].id
        for channel in channels:
            channel.mark = max(channel.mark, last)

    def _apply(
        self, space_id: int, channels: Iterable[_Channel], changes: Iterable[Change]
    ) -> None:
        added: set[int] = set()
        removed: set[int] = set()
        for change in changes:
            (added if change.op == "add" else removed).update(change.segment_ids)
        fresh = self._store.vectors.of_segments(space_id, sorted(added - removed))
        gone = np.array(sorted(removed), np.int64)
        for channel in channels:
            ids, vectors = fresh.get(channel.key.modality, (None, None))
            if ids is not None and vectors is not None:
                channel.index.add(ids, vectors.astype(np.float32))
                channel.unpublished += len(ids)
            if len(gone):
                channel.unpublished += channel.index.remove(gone)

    def _publish(self, channel: _Channel) -> None:
        try:
            self._keeper.publish(channel.key, channel.index, channel.mark, channel.generation + 1)
        except StorageError as error:
            # The snapshot is only a cache: searching goes on from memory and SQL.
            self._warn(f"no index snapshot could be written for {channel.key}: {error}")
            return
        channel.generation += 1
        channel.unpublished = 0

    def _generation_on_disk(self, stored: StoredSpace, modality: Modality) -> int:
        try:
            loaded = self._keeper.load(_key(stored, modality))
        except SnapshotError:
            return 0
        return loaded[2] if loaded else 0

    def _warn(self, message: str) -> None:
        logger.warning(message)
        self._warnings.append(message)


def _key(stored: StoredSpace, modality: Modality) -> ChannelKey:
    return ChannelKey(
        stored.collection_id,
        stored.id,
        modality,
        stored.space.fingerprint,
        stored.space.dimension,
    )


def _modalities(stored: StoredSpace) -> list[Modality]:
    return sorted(EXPECTED_IN.get(stored.space.name, frozenset(Modality)))
