"""Keeps one vector index per channel in step with SQL.

A channel is one collection's vectors of one modality in one space. A backend stores its index
together with a high-water mark; changes committed after the mark are replayed from the change
log. An index that is missing, damaged or foreign is never searched: it is rebuilt from SQL.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mmsearch.errors import SnapshotError, StorageError
from mmsearch.protocols import VectorBackend, VectorIndex
from mmsearch.stores.rows import EXPECTED_IN, Change, StoredSpace
from mmsearch.stores.store import SqlStore
from mmsearch.types import Channel, Modality

logger = logging.getLogger(__name__)

REBUILD_WARNING_SECONDS = 600.0
"""How long `ChannelIndexes.warnings` reports an index that had to be rebuilt."""

_VERIFIED_AT_ONCE = 10_000

_Kind = Literal["rebuilt", "unsaved"]


@dataclass(slots=True)
class _ChannelState:
    channel: Channel
    index: VectorIndex
    mark: int
    """Id of the last change-log row that the index contains."""
    unsaved: int
    """Segments added or removed since the index was saved."""


@dataclass(frozen=True, slots=True)
class _Warning:
    channel: Channel
    kind: _Kind
    message: str
    since: float


class ChannelIndexes:
    """All channels of a library. Thread-safe.

    `save_every`: an index is saved after this many added or removed segments. `clock` gives
    seconds, for the age of warnings.
    """

    def __init__(
        self,
        store: SqlStore,
        backend: VectorBackend,
        *,
        save_every: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._backend = backend
        self._save_every = save_every
        self._clock = clock
        self._lock = threading.RLock()
        self._channels: dict[tuple[int, Modality], _ChannelState] = {}
        self._warnings: tuple[_Warning, ...] = ()
        self._seen = -1
        self.spaces: tuple[StoredSpace, ...] = ()
        """The spaces in use, as of the last refresh: these are the ones that can be searched."""

    def get(self, space_id: int, modality: Modality) -> VectorIndex | None:
        state = self._channels.get((space_id, modality))
        return state.index if state else None

    @property
    def last_change(self) -> int:
        """Id of the newest change that the indexes contain; -1 before the first refresh."""
        return self._seen

    def warnings(self, collection_id: int | None = None) -> tuple[str, ...]:
        """What is or recently was wrong with the indexes, of one collection or of all.

        Reading does not clear them. That an index was rebuilt is reported for
        `REBUILD_WARNING_SECONDS`; that one cannot be saved, until it is saved. Both end when the
        channel is no longer in use. There are at most two a channel.
        """
        oldest = self._clock() - REBUILD_WARNING_SECONDS
        return tuple(
            warning.message
            for warning in self._warnings
            if (warning.kind == "unsaved" or warning.since > oldest)
            and collection_id in (None, warning.channel.collection_id)
        )

    def refresh(self, *, save: bool = False) -> bool:
        """Open new channels and replay the change log; True if anything changed.

        `save`: save every index that has changed, however little.
        """
        last = self._store.changes.last_id()
        if last == self._seen and not save:
            return False
        with self._lock:
            if last == self._seen and not save:
                return False
            spaces = self._store.spaces.active()
            # A library that is opened has saved indexes. Those of a collection that appears
            # later are saved at the end of its first run, and the run itself is not warned.
            expected = self._seen < 0 and not save
            for stored in spaces:
                for modality in _modalities(stored):
                    if (stored.id, modality) not in self._channels:
                        self._open(stored, modality, last, expected=expected)
            self._drop_retired({s.id for s in spaces})
            for collection_id in {s.collection_id for s in spaces}:
                self._replay(collection_id, last)
            self.spaces = tuple(spaces)
            self._seen = last
            for state in self._channels.values():
                if state.unsaved >= self._save_every or (save and state.unsaved):
                    self._save(state)
            return True

    def close(self) -> None:
        """End the background work of every index, and close the backend."""
        for state in self._channels.values():
            state.index.close()
        self._backend.close()

    def build_space(self, stored: StoredSpace, last: int) -> None:
        """Build and save the indexes of a space that is not in use yet.

        Every segment of change `last` and before must have its vector in the space.
        """
        for modality in _modalities(stored):
            state = self._from_sql(_channel(stored, modality), last)
            if len(state.index):
                self._save(state)
            state.index.close()

    def delete_space(self, stored: StoredSpace) -> None:
        """Delete the saved indexes of a space that is no longer in use."""
        for modality in Modality:
            self._backend.delete(_channel(stored, modality))
        self._clear_warnings(lambda w: w.channel.space_id == stored.id)

    def rebuild(self) -> None:
        """Rebuild every index from SQL, whatever is saved, and save it."""
        with self._lock:
            last = self._store.changes.last_id()
            for stored in self._store.spaces.active():
                for modality in _modalities(stored):
                    state = self._from_sql(_channel(stored, modality), last)
                    replaced = self._channels.get((stored.id, modality))
                    self._channels[stored.id, modality] = state
                    self._save(state)
                    if replaced is not None:
                        replaced.index.close()
            self._seen = -1
        self.refresh()

    def stats(self) -> dict[str, Any]:
        """By space name: type, size, generation, and the same for each channel."""
        names = {s.id: s.space.name for s in self.spaces}
        spaces: dict[str, Any] = {}
        for (space_id, modality), state in sorted(self._channels.items()):
            if space_id not in names:
                continue
            stats = state.index.stats()
            space = spaces.setdefault(
                names[space_id], {"type": stats.type, "size": 0, "generation": 0, "channels": {}}
            )
            space["size"] += stats.size
            space["generation"] = max(space["generation"], stats.generation)
            if stats.size > max((c["size"] for c in space["channels"].values()), default=-1):
                space["type"] = stats.type
            entry = space["channels"].setdefault(modality.value, {"size": 0})
            entry |= {
                "type": stats.type,
                "size": entry["size"] + stats.size,
                "generation": stats.generation,
                "memory_bytes": stats.memory_bytes,
                "device": stats.device,
                "recall": stats.recall,
            }
        return spaces

    def problems(self) -> list[str]:
        """Where an index and SQL differ, compared id by id."""
        problems: list[str] = []
        with self._lock:
            self.refresh()
            for (space_id, modality), state in self._channels.items():
                expected = self._store.vectors.ids(space_id, modality)
                present = sum(
                    int(
                        np.count_nonzero(
                            state.index.contains(expected[at : at + _VERIFIED_AT_ONCE])
                        )
                    )
                    for at in range(0, len(expected), _VERIFIED_AT_ONCE)
                )
                missing, extra = len(expected) - present, len(state.index) - present
                if missing:
                    problems.append(f"index of {state.channel}: {missing} vectors are missing")
                if extra > 0:
                    problems.append(f"index of {state.channel}: {extra} vectors are extra")
        return problems

    # ------------------------------------------------------------------ inside the lock

    def _open(self, stored: StoredSpace, modality: Modality, last: int, *, expected: bool) -> None:
        channel = _channel(stored, modality)
        try:
            opened = self._backend.open(channel)
            if opened is not None and opened.high_water_mark > max(
                last, self._store.changes.last_id()
            ):
                raise SnapshotError(
                    "it is ahead of the database: it belongs to another copy of this library"
                )
        except SnapshotError as error:
            state = self._from_sql(channel, last)
            self._warn(
                channel,
                "rebuilt",
                f"the index snapshot of {channel} was refused and rebuilt from SQL: {error}",
            )
        else:
            if opened is not None:
                state = _ChannelState(channel, opened.index, opened.high_water_mark, 0)
            else:
                state = self._from_sql(channel, last)
                if len(state.index) and expected and self._backend.persistent:
                    self._warn(
                        channel,
                        "rebuilt",
                        f"there is no index snapshot of {channel}: built from SQL",
                    )
        self._channels[stored.id, modality] = state

    def _drop_retired(self, active: set[int]) -> None:
        """Remove the channels of spaces that are no longer in use."""
        retired = [key for key in self._channels if key[0] not in active]
        if retired:
            removed = [self._channels[key] for key in retired]
            # A new dictionary: searches are reading the old one.
            self._channels = {k: c for k, c in self._channels.items() if k not in retired}
            self._clear_warnings(lambda w: (w.channel.space_id, w.channel.modality) in retired)
            for state in removed:
                state.index.close()
                self._backend.delete(state.channel)

    def _from_sql(self, channel: Channel, last: int) -> _ChannelState:
        # `last` was read before the vectors: what is committed meanwhile is replayed, and
        # replaying what is there already changes nothing.
        vectors = self._store.vectors.iterate(channel.space_id, channel.modality)
        index = self._backend.build(channel, vectors)
        return _ChannelState(channel, index, last, len(index))

    def _replay(self, collection_id: int, last: int) -> None:
        states = [c for c in self._channels.values() if c.channel.collection_id == collection_id]
        after = min((c.mark for c in states), default=last)
        while after < last:
            changes = self._store.changes.after(collection_id, after)
            if not changes:
                break
            for space_id in {c.channel.space_id for c in states}:
                members = [c for c in states if c.channel.space_id == space_id]
                self._apply(space_id, members, changes)
            after = changes[-1].id
        for state in states:
            state.mark = max(state.mark, last)

    def _apply(
        self, space_id: int, states: Iterable[_ChannelState], changes: Iterable[Change]
    ) -> None:
        added: set[int] = set()
        removed: set[int] = set()
        for change in changes:
            (added if change.op == "add" else removed).update(change.segment_ids)
        added_vectors = self._store.vectors.of_segments(space_id, sorted(added - removed))
        removed_ids = np.array(sorted(removed), np.int64)
        for state in states:
            if state.channel.modality in added_vectors:
                ids, vectors = added_vectors[state.channel.modality]
                state.index.add(ids, vectors)
                state.unsaved += len(ids)
            if len(removed_ids):
                state.unsaved += state.index.remove(removed_ids)

    def _save(self, state: _ChannelState) -> None:
        channel = state.channel
        try:
            self._backend.save(channel, state.index, state.mark)
        except StorageError as error:
            # The saved index is only a cache: searching goes on from memory and SQL.
            self._warn(
                channel, "unsaved", f"no index snapshot could be written for {channel}: {error}"
            )
            return
        self._clear_warnings(lambda w: (w.channel, w.kind) == (channel, "unsaved"))
        state.unsaved = 0

    def _warn(self, channel: Channel, kind: _Kind, message: str) -> None:
        logger.warning(message)
        with self._lock:
            self._clear_warnings(lambda w: (w.channel, w.kind) == (channel, kind))
            self._warnings = (*self._warnings, _Warning(channel, kind, message, self._clock()))

    def _clear_warnings(self, ended: Callable[[_Warning], bool]) -> None:
        with self._lock:
            # A new tuple: others read the old one without a lock.
            self._warnings = tuple(w for w in self._warnings if not ended(w))


def _channel(stored: StoredSpace, modality: Modality) -> Channel:
    return Channel(
        stored.collection_id,
        stored.id,
        modality,
        stored.space.fingerprint,
        stored.space.dimension,
    )


def _modalities(stored: StoredSpace) -> list[Modality]:
    return sorted(EXPECTED_IN.get(stored.space.name, frozenset(Modality)))
