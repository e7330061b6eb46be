"""Which metadata keys a collection has: found out once for each state of the library."""

from __future__ import annotations

import threading

from mmsearch.stores.store import SqlStore


class MetadataKeys:
    """Thread-safe. Every source is looked at, which takes too long to be done for each query."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[int, tuple[int, tuple[str, ...]]] = {}

    def of(self, collection_id: int) -> tuple[str, ...]:
        """Every key that some source of the collection has, sorted."""
        last = self._store.changes.last_id()
        with self._lock:
            known = self._known.get(collection_id)
        if known is not None and known[0] == last:
            return known[1]
        keys = tuple(self._store.sources.metadata_keys(collection_id))
        with self._lock:
            self._known[collection_id] = (last, keys)
        return keys
