"""Removing sources whose files no longer exist (`--prune`).

Files are also absent where a disk is not mounted or a share does not answer. Sources are removed
only where the place of their files is still there (see `indexer.presence`); what is kept is
reported as a warning of the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection as AnyCollection
from collections.abc import Iterable, Sequence
from pathlib import Path

from indexer.copies import is_gone
from indexer.inputs.walk import WalkRecord
from indexer.outcomes import RunOutcomes
from indexer.presence import Devices, Folders, is_below
from mmsearch.library import Library
from mmsearch.stores.places import MEMBER, container_of, display_path, local_path
from mmsearch.stores.rows import IN_CHUNK, KnownFile
from mmsearch.types import Collection

CONFIRM = "If they were deleted, --prune-empty removes them."


class Pruning:
    """Records what a run has seen, and removes what is gone. Used by the run's own thread.

    A plain file is gone if it does not exist. A member of a shard, a row of a table or a file of
    an object store is gone if its container was read to its end (`complete`) without it, but with
    others. With `remove_empty`, sources of missing and empty places are removed too.
    """

    def __init__(self, *, remove_empty: bool = False) -> None:
        self._remove_empty = remove_empty
        self._seen: set[str] = set()
        """URIs of all but plain files."""
        self._shown: dict[str, bool] = {}
        """By container: whether anything of it was seen."""

    def add_seen(self, uris: Iterable[str]) -> None:
        self._seen.update(uri for uri in uris if not uri.startswith("file:") or MEMBER in uri)

    def remove_gone(
        self,
        library: Library,
        collection: Collection,
        outcomes: RunOutcomes,
        *,
        roots: Sequence[Path],
        complete: AnyCollection[str],
        folders: WalkRecord,
        devices: Devices,
    ) -> None:
        """Delete the sources under `roots` and below the `complete` containers that are gone.

        Nothing is deleted below a folder that could not be read, nor where the device of a folder
        has changed and most of its sources are absent.
        """
        scan = _Scan(self._seen, roots, complete, devices)
        for batch in library.store.sources.iterate(collection.id):
            scan.add(batch)
        kept: Counter[tuple[str, str]] = Counter()
        places = Folders(roots, folders.unreadable)
        gone: list[KnownFile] = []
        for file in scan.gone:
            place = scan.place_of_other_device(file.uri) or self._reason_kept(
                file.uri, places, complete
            )
            if place is None or (self._remove_empty and _may_confirm(place[1])):
                gone.append(file)
            else:
                kept[place] += 1
        for first in range(0, len(gone), IN_CHUNK):
            files = gone[first : first + IN_CHUNK]
            count = library.delete_sources([file.id for file in files])
            outcomes.removed([file.path for file in files], count)
        for (place_name, reason), count in kept.items():
            shown = display_path(place_name)
            remedy = CONFIRM if _may_confirm(reason) else "Run it again when it can be read."
            outcomes.kept(
                shown,
                f"{shown} {reason}: {count} of its sources are absent and were kept. {remedy}",
            )
        devices.save(folders.devices, accepted=scan.mounted_again())

    def _reason_kept(
        self, uri: str, places: Folders, complete: AnyCollection[str]
    ) -> tuple[str, str] | None:
        container = container_of(uri)
        try:
            path = local_path(container)
        except ValueError:
            containers = [root for root in complete if uri.startswith(root)]
        else:
            if uri == container or is_gone(container):
                return places.reason_kept(path)
            containers = [container]
        for place in containers:
            if place not in self._shown:
                self._shown[place] = any(seen.startswith(place) for seen in self._seen)
            if not self._shown[place]:
                return place, "is empty"
        return None


def _may_confirm(reason: str) -> bool:
    """What cannot be read is not removed even if the user says so."""
    return not reason.startswith("cannot be read")


class _Scan:
    """The sources that are gone, and how many of each folder on another device are present."""

    def __init__(
        self,
        seen: AnyCollection[str],
        roots: Sequence[Path],
        complete: AnyCollection[str],
        devices: Devices,
    ) -> None:
        self.gone: list[KnownFile] = []
        self._seen = seen
        self._roots = [str(root) for root in roots]
        self._complete = complete
        self._changed = devices.changed()
        self._present: Counter[str] = Counter()
        self._absent: Counter[str] = Counter()

    def add(self, files: Iterable[KnownFile]) -> None:
        for file in files:
            gone = self._is_gone(file.uri)
            if gone:
                self.gone.append(file)
            if (folder := self._changed_folder(file.uri)) is not None:
                (self._absent if gone else self._present)[folder] += 1

    def place_of_other_device(self, uri: str) -> tuple[str, str] | None:
        """The folder that it lies in, if that is on another device now and lacks most of its
        sources. (A disk that was mounted again has another number and the same files.)"""
        folder = self._changed_folder(uri)
        if folder is None or self._present[folder] > self._absent[folder]:
            return None
        return folder, "is on another device than before"

    def mounted_again(self) -> set[str]:
        """The folders on another device than before that have most of their sources."""
        return {
            f for f in self._changed if not self._absent[f] or self._present[f] > self._absent[f]
        }

    def _changed_folder(self, uri: str) -> str | None:
        if not self._changed:
            return None
        try:
            path = local_path(container_of(uri))
        except ValueError:
            return None
        return next((folder for folder in self._changed if is_below(path, folder)), None)

    def _is_gone(self, uri: str) -> bool:
        unseen = uri not in self._seen
        container = container_of(uri)
        try:
            path = local_path(container)
        except ValueError:  # an object store's file: known only from a whole listing
            return unseen and any(uri.startswith(root) for root in self._complete)
        if not any(is_below(path, root) for root in self._roots):
            return False
        return (uri != container and unseen and container in self._complete) or is_gone(container)
