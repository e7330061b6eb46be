"""Removing sources whose files no longer exist (`--prune`)."""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Iterable, Sequence
from pathlib import Path

from indexer.copies import is_gone
from indexer.outcomes import RunOutcomes
from mmsearch.stores.places import MEMBER, container_of, local_path
from mmsearch.stores.store import SqlStore
from mmsearch.types import Collection


class Pruning:
    """Notes what a run has seen, and removes what is gone. Used by the run's own thread.

    A plain file is gone if it does not exist. A member of a shard, a row of a table or a file of
    an object store is gone if its container was read to its end (`complete`) without it.
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()
        """URIs of all but plain files."""

    def add_seen(self, uris: Iterable[str]) -> None:
        self._seen.update(uri for uri in uris if not uri.startswith("file:") or MEMBER in uri)

    def remove_gone(
        self,
        store: SqlStore,
        collection: Collection,
        outcomes: RunOutcomes,
        *,
        roots: Sequence[Path],
        complete: AnyCollection[str],
    ) -> None:
        """Delete the sources under `roots` and below the `complete` containers that are gone.

        A root that is gone itself is left alone: more often than not it is not mounted today.
        """
        mounted = [root for root in roots if root.exists()]
        for batch in store.sources.iterate(collection.id):
            gone = [file for file in batch if self._is_gone(file.uri, mounted, complete)]
            if gone:
                count = store.sources.delete([file.id for file in gone])
                outcomes.removed([file.path for file in gone], count)

    def _is_gone(self, uri: str, roots: Sequence[Path], complete: AnyCollection[str]) -> bool:
        unseen = uri not in self._seen
        container = container_of(uri)
        try:
            path = Path(local_path(container))
        except ValueError:  # an object store's file: known only from a whole listing
            return unseen and any(uri.startswith(root) for root in complete)
        if not any(path.is_relative_to(root) for root in roots):
            return False
        return (uri != container and unseen and container in complete) or is_gone(container)
