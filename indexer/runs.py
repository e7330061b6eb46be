"""Indexing runs: one at a time in a library, each recorded in SQL with its outcomes."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from indexer.inputs.content import Item
from indexer.inputs.named import Named, check_named
from indexer.outcomes import RunCounts, RunOutcomes
from indexer.pipeline import Pipeline
from mmsearch.errors import (
    LibraryBusyError,
    MMSearchError,
    StorageError,
)
from mmsearch.library import Library
from mmsearch.models.collection_models import models_in
from mmsearch.search.scoring.calibration import Calibrations
from mmsearch.stores.places import container_of
from mmsearch.types import Collection, Failure

logger = logging.getLogger(__name__)

DEFAULT_PROFILE = "base"


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did; `to_json` is the last line of `mmsearch index --json`."""

    collection: str
    profile: str
    counts: RunCounts
    seconds: float
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...] = ()
    name_only: Mapping[str, int] = field(default_factory=dict)
    """Of the sources indexed: how many are found by their name only, by the reason (no_speech,
    no_pictures, no_words)."""

    @property
    def ok(self) -> bool:
        """No file failed."""
        return not self.counts.failed

    def to_json(self) -> dict[str, Any]:
        return {
            "collection": self.collection,
            "profile": self.profile,
            **self.counts.to_json(),
            "seconds": round(self.seconds, 3),
            "failures": [
                {"path": f.path, "code": f.code, "reason": f.reason} for f in self.failures
            ],
            "warnings": list(self.warnings),
            "name_only": {
                "sources": sum(self.name_only.values()),
                "reasons": dict(self.name_only),
            },
        }


def index(
    paths: str | Path | Sequence[str | Path],
    library: str | Path,
    *,
    listed: Iterable[str] = (),
    collection: str = "default",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    prune: bool = False,
    prune_empty: bool = False,
    retry_failed: bool = False,
    rehash: bool = False,
    on_progress: Callable[[RunCounts], None] = lambda _counts: None,
    **settings: Any,
) -> RunSummary:
    """Index files, folders and URLs into a library, which is created if it does not exist.

    `listed` are more of them, read as the run goes on. With `retry_failed`, files that failed
    before are indexed again although they have not changed; without paths, only those.
    `rehash` compares the content of files whose size and times have not changed.
    `prune` removes the sources whose files were deleted, but not those of a folder that shows no
    files any more, is missing, or cannot be read (the summary's `warnings` name it); `prune_empty`
    removes those of empty and missing folders too.
    Keyword arguments beyond the named ones are settings, `profile` among them. Files that
    cannot be indexed are in the summary's `failures`; the run goes on without them.
    Raises NotFoundError if none of the paths exists, LibraryBusyError if another run is
    writing, SpaceMismatchError, WeightsNotFoundError, StorageError.
    """
    path_list = [paths] if isinstance(paths, str | Path) else list(paths)
    only_failed = retry_failed and not path_list and not listed
    if not only_failed:
        check_named(Named(tuple(path_list), listed))
    with Library.open(library, create=not only_failed, **settings) as opened:
        return index_into(
            opened,
            path_list,
            listed=listed,
            collection=collection,
            include=include,
            exclude=exclude,
            prune=prune,
            prune_empty=prune_empty,
            retry_failed=retry_failed,
            rehash=rehash,
            on_progress=on_progress,
        )


def index_into(
    library: Library,
    paths: Sequence[str | Path],
    *,
    listed: Iterable[str] = (),
    ready: Iterable[Item] = (),
    collection: str = "default",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    prune: bool = False,
    prune_empty: bool = False,
    retry_failed: bool = False,
    rehash: bool = False,
    on_progress: Callable[[RunCounts], None] = lambda _counts: None,
    wait: float = 0.0,
) -> RunSummary:
    """The same for an opened library; `wait` seconds for another run to end first."""
    began = time.monotonic()
    with write_lock(library.path, wait):
        library.store.runs.interrupt_unfinished()
        remove_retired(library)
        target = collection_for(library, collection)
        library.store.names.complete(target.id)
        run = library.store.runs.start(target.id, "index")
        outcomes = RunOutcomes(library.store, run, on_progress=on_progress)
        pipeline = Pipeline(
            library,
            library.models_of(target),
            target,
            outcomes,
            retry_failed=retry_failed,
            rehash=rehash,
        )
        # Load the indexes as they are: what this run adds is then replayed, not built anew.
        library.refresh()
        try:
            if retry_failed and not (paths or listed or ready):
                listed = _failed(library, target)
            named = Named(tuple(paths), listed, tuple(include), tuple(exclude), ready)
            pipeline.run(named, prune=prune, prune_empty=prune_empty)
        except BaseException as error:
            _close_run(library, run, outcomes.counts.to_json(), error)
            raise
        library.store.runs.update(run, counts=outcomes.counts.to_json(), state="done")
        library.indexes.refresh(save=True)
        Calibrations(library).prepare(target)
    return RunSummary(
        target.name,
        target.profile,
        outcomes.counts,
        time.monotonic() - began,
        tuple(outcomes.failures),
        tuple(outcomes.warnings),
        dict(outcomes.name_only),
    )


def remove_retired(library: Library) -> int:
    """Remove the vectors of models that are no longer used, in batches; returns how many."""
    removed = 0
    for stored in library.store.spaces.retired():
        # The space's row goes last: if this is interrupted, the next run goes on.
        library.indexes.delete_space(stored)
        while count := library.store.spaces.remove_retired(stored.id):
            removed += count
    return removed


@contextmanager
def write_lock(library: Path, wait: float = 0.0) -> Iterator[None]:
    """One run of `mmsearch index` at a time; jobs have leases instead.

    The system releases it when the process dies.
    Raises LibraryBusyError, which names the process that holds it.
    """
    path = library / "index.lock"
    note = library / "index.owner"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        owner = note.read_text("utf-8").strip() if note.exists() else "another process"
        raise LibraryBusyError(
            f"another indexing run ({owner}) is writing to this library; wait until it has "
            "ended. Nothing was changed."
        ) from None
    except OSError as error:
        raise StorageError(f"the library cannot be written: {error.strerror}") from error
    try:
        with suppress(OSError):  # a full disk: only a courtesy to a second writer is lost
            note.write_text(f"process {os.getpid()}", "utf-8")
        yield
    finally:
        lock.release()


def collection_for(library: Library, name: str) -> Collection:
    """The collection to write to. A new one is created only once its models have loaded."""
    for collection in library.store.collections.list():
        if collection.name == name:
            library.check_profile(collection)
            return collection
    profile = library.settings.profile or DEFAULT_PROFILE
    models = library.models(profile)
    for embedder in (models.clip, models.text):
        logger.debug("space %s of profile %s", embedder.space, profile)
    logger.debug("transcriber %s", models.transcriber.fingerprint)
    return library.store.collections.get_or_create(name, profile, models_in(library.settings))


def _failed(library: Library, collection: Collection) -> list[str]:
    """The files and addresses that hold the sources that have failed."""
    uris = library.store.sources.failed_uris(collection.id)
    return list(dict.fromkeys(container_of(uri) for uri in uris))


def _close_run(library: Library, run: int, counts: Mapping[str, Any], error: BaseException) -> None:
    """Record how a run ended, if the database can still be written."""
    text = str(error) if isinstance(error, MMSearchError) else repr(error)
    state = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
    try:
        library.store.runs.update(run, counts=counts, state=state, error=text)
    except MMSearchError:
        logger.warning("the end of run %d could not be recorded", run)
