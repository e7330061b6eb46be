"""Following folders: new and changed files are indexed, deleted ones are removed.

A file that is still being written waits until its size and time have not changed for a while.
Every RESCAN_SECONDS everything is compared again, in case the system missed a change.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from indexer.copies import is_gone
from indexer.inputs.sidecars import is_sidecar
from indexer.inputs.walk import Globs, reaches, walk
from indexer.presence import Devices, Folders, is_below
from indexer.runs import RunSummary, index_into
from mmsearch.errors import LibraryBusyError, NotFoundError
from mmsearch.library import Library
from mmsearch.stores.places import local_path, uri_of

logger = logging.getLogger(__name__)

RESCAN_SECONDS = 900.0
BUSY_SECONDS = 5.0
STEP_SECONDS = 0.25

Stamp = tuple[int, int]
"""(size, mtime in nanoseconds)."""


@dataclass(slots=True)
class Settling:
    """Changed files, until they are no longer being written."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    _seen: dict[str, tuple[Stamp | None, float]] = field(default_factory=dict)

    def touch(self, path: str) -> None:
        """The system has reported a change of it."""
        self._seen[path] = (_stamp(path), self.clock())

    def settled(self) -> list[str]:
        """Paths that have not changed for `seconds`, deleted ones among them; each only once."""
        ready = []
        for path, (stamp, since) in list(self._seen.items()):
            now = _stamp(path)
            if now != stamp:
                self._seen[path] = (now, self.clock())
            elif self.clock() - since >= self.seconds:
                del self._seen[path]
                ready.append(path)
        return sorted(ready)

    def __len__(self) -> int:
        return len(self._seen)


class FolderWatch:
    """Keeps a collection equal to some folders until `end` is called."""

    def __init__(
        self,
        library: Library,
        folders: Sequence[str | Path],
        *,
        collection: str = "default",
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        settle_seconds: float = 2.0,
        on_run: Callable[[RunSummary], None] = lambda _: None,
    ) -> None:
        self._library = library
        self._folders = [os.path.realpath(os.path.expanduser(os.fspath(f))) for f in folders]  # noqa: PTH111
        for folder in self._folders:
            if not os.path.isdir(folder):  # noqa: PTH112
                raise NotFoundError(f"there is no folder {folder} to watch", param="paths")
        self._collection = collection
        self._include, self._exclude = tuple(include), tuple(exclude)
        self._globs = Globs(include, exclude)
        self._settling = Settling(settle_seconds)
        self._on_run = on_run
        self._stop = threading.Event()

    def end(self) -> None:
        """Let the current run finish, and end."""
        self._stop.set()

    def run(self) -> None:
        """Index what is there, then follow changes, until `end` is called."""
        changes = self._changes()
        # Changes are recorded from here on: none during the first comparison is missed.
        pending = next(changes, ())
        compared = self._compare()
        while not self._stop.is_set():
            for path in pending:
                self._settling.touch(path)
            self._apply(self._settling.settled())
            if time.monotonic() - compared > RESCAN_SECONDS:
                compared = self._compare()
            pending = next(changes, ())

    def _changes(self) -> Iterator[Iterable[str]]:
        """The changes that the system reports, every STEP_SECONDS, even if there are none."""
        from watchfiles import watch

        changes = watch(
            *self._folders,
            watch_filter=None,
            step=50,
            rust_timeout=int(STEP_SECONDS * 1000),
            yield_on_timeout=True,
            stop_event=self._stop,
            raise_interrupt=True,
            ignore_permission_denied=True,
        )
        for batch in changes:
            yield {path for _, path in batch}

    def _apply(self, paths: Sequence[str]) -> None:
        if not paths:
            return
        gone = [path for path in paths if is_gone(uri_of(path))]
        if gone:
            self._remove(gone)
        present = set(paths) - set(gone)
        for path in list(present):
            if is_sidecar(path):  # the file that it belongs to has changed
                present.update(self._beside(path))
        if files := self._selected(present):
            self._index((), listed=files)

    def _beside(self, sidecar: str) -> list[str]:
        folder, name = os.path.split(sidecar)
        stem = name.split(".")[0]
        return [
            os.path.join(folder, other)  # noqa: PTH118
            for other in os.listdir(folder)  # noqa: PTH208
            if other.split(".")[0] == stem and other != name
        ]

    def _selected(self, paths: Iterable[str]) -> list[str]:
        """Those that a walk through the folders would reach; of a new folder, its files."""
        library = os.path.realpath(self._library.path)
        selected: dict[str, None] = {}
        for path in sorted(paths):
            if path == library or path.startswith(library + os.sep):
                continue
            below = [path]
            if os.path.isdir(path):  # noqa: PTH112
                below = [local_path(file.uri) for file in walk([path], skip=[library])]
            for folder in self._folders:
                inside = (file for file in below if file.startswith(folder + os.sep))
                selected |= dict.fromkeys(
                    file for file in inside if reaches(file, folder, self._globs)
                )
        return list(selected)

    def _remove(self, gone: Sequence[str]) -> None:
        store = self._library.store
        collection = store.collections.get(self._collection)
        places = Folders([Path(folder) for folder in self._folders])
        other_device = Devices(self._library.path).changed()
        ids: list[int] = []
        for path in gone:
            below = store.sources.ids_below(collection.id, [uri_of(path)])
            if not below:
                continue
            kept = next((f for f in other_device if is_below(path, f)), None)
            reason = (kept, "is on another device than before") if kept else None
            if reason is None and not self._was_deleted(path):
                reason = places.reason_kept(path)
            if reason is None:
                ids += below
            else:
                logger.warning("%s %s: %d sources were kept", *reason, len(below))
        if ids:
            self._library.delete_sources(ids)
            self._library.indexes.refresh(save=True)
            logger.info("%d sources removed", len(ids))

    def _was_deleted(self, path: str) -> bool:
        """Whether it was a file, and its folder is still there: the system has reported that the
        file was deleted or moved, and does not where a disk is unmounted."""
        known = self._library.store.sources.by_uri(
            self._library.store.collections.get(self._collection).id, [uri_of(path)]
        )
        return bool(known) and os.path.isdir(os.path.dirname(path))  # noqa: PTH112, PTH120

    def _compare(self) -> float:
        self._index(self._folders, prune=True)
        return time.monotonic()

    def _index(
        self, paths: Sequence[str], *, listed: Iterable[str] = (), prune: bool = False
    ) -> None:
        while not self._stop.is_set():
            try:
                summary = index_into(
                    self._library,
                    paths,
                    listed=listed,
                    collection=self._collection,
                    prune=prune,
                    # `listed` files were selected by them already.
                    include=self._include if paths else (),
                    exclude=self._exclude if paths else (),
                )
            except LibraryBusyError:
                self._stop.wait(BUSY_SECONDS)
                continue
            self._on_run(summary)
            return


def _stamp(path: str) -> Stamp | None:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
