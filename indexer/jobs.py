"""Workers: each takes jobs from the queue in SQL and runs them, one at a time.

Any number of workers, in the service's process and in others, on this machine or elsewhere, may
serve one library. See `mmsearch.stores.jobs` for what becomes of a job whose worker dies.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy.exc import DBAPIError

from indexer.inputs.named import Named
from indexer.outcomes import RunCounts, RunOutcomes
from indexer.pipeline import Pipeline
from indexer.runs import DEFAULT_PROFILE
from mmsearch.errors import LeaseLostError, LibraryBusyError, MMSearchError, StorageError
from mmsearch.library import Library
from mmsearch.media.sandbox.confinement import NICENESS
from mmsearch.models.collection_models import models_in
from mmsearch.stores.jobs import Claim
from mmsearch.stores.store import SqlStore

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
OUTAGE_SECONDS = 2.0
"""Between two attempts to reach a database that does not answer."""


class StoppedError(Exception):
    """Raised inside a job that is to end early: cancel, pause, end (of the worker), lost."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Worker:
    """Takes jobs until `end` is called."""

    def __init__(
        self, library: Library, *, name: str | None = None, poll: float = POLL_SECONDS
    ) -> None:
        self._library = library
        self._poll = poll
        self._ending = threading.Event()
        self._wake = threading.Event()
        self._unpublished = False
        self.name = name or f"{socket.gethostname()}/{os.getpid()}"

    def run(self, *, once: bool = False, idle: float = math.inf) -> int:
        """Work until `end` is called, with `once` until nothing is due, or until nothing was due
        for `idle` seconds; returns how many jobs were taken. While the database is away, it
        waits."""
        taken, last = 0, time.monotonic()
        while not self._ending.is_set():
            self._wake.clear()
            try:
                claim = self._library.store.jobs.claim(self.name, self._lease)
            except (DBAPIError, MMSearchError) as error:
                logger.warning("the queue cannot be read: %s", error)
                self._ending.wait(OUTAGE_SECONDS)
                continue
            if claim is not None:
                taken += 1
                self._work_on(claim)
                last = time.monotonic()
                continue
            self._publish()
            if once or time.monotonic() - last >= idle:
                break
            self._wake.wait(self._poll)
        self._publish()
        return taken

    def _publish(self) -> None:
        """Write the indexes' snapshots when there is nothing else to do: they are only caches,
        and a snapshot after each of a thousand uploads would cost more than the uploads."""
        if not self._unpublished:
            return
        self._unpublished = False
        try:
            self._library.indexes.refresh(save=True)
        except (DBAPIError, MMSearchError) as error:
            logger.warning("the indexes could not be written: %s", error)

    def wake(self) -> None:
        """There is a new job: do not wait for the next poll."""
        self._wake.set()

    def end(self) -> None:
        """Give back the current job without spending an attempt, and end."""
        self._ending.set()
        self._wake.set()

    @property
    def _lease(self) -> float:
        return self._library.settings.job_lease_seconds

    def _work_on(self, claim: Claim) -> None:
        store = self._library.store
        try:
            with Lease(store, claim, self._lease, self._ending) as lease:
                run_job(self._library, claim, lease)
            store.jobs.finish(claim, "done")
            self._unpublished = True
        except BaseException as error:
            self._record_end(claim, error)
            if not isinstance(error, Exception):  # Ctrl-C
                raise

    def _record_end(self, claim: Claim, error: BaseException) -> None:
        """Record how a job ended. If the database cannot be written, the lease will run out."""
        store, number = self._library.store, claim.job.id
        try:
            match error:
                case StoppedError(why="cancel"):
                    store.jobs.finish(claim, "cancelled")
                case StoppedError(why="pause"):
                    store.jobs.finish(claim, "paused")
                case StoppedError(why="lost") | LeaseLostError():
                    logger.warning("job %d was taken over by another worker", number)
                case StoppedError() | KeyboardInterrupt() | SystemExit():
                    store.jobs.retry(claim, counted=False)
                case MMSearchError() if not isinstance(error, StorageError | LibraryBusyError):
                    logger.warning("job %d failed: %s", number, error)
                    store.jobs.finish(claim, "failed", str(error))
                case _:
                    # A full disk, a lost connection, a bug: the first two may pass.
                    logger.warning("job %d broke off", number, exc_info=error)
                    store.jobs.retry(claim, f"{type(error).__name__}: {error}"[:2000])
        except LeaseLostError:
            logger.warning("job %d was taken over by another worker", number)
        except (DBAPIError, MMSearchError):
            logger.warning("the end of job %d could not be recorded; its lease will run out",
                           number)  # fmt: skip


class Lease:
    """Renews a claim in the background, and learns whether the job is to be cancelled or paused."""

    def __init__(
        self, store: SqlStore, claim: Claim, seconds: float, ending: threading.Event
    ) -> None:
        self._store = store
        self._claim = claim
        self._seconds = seconds
        self._ending = ending
        self._over = threading.Event()
        self._requested: str | None = None
        self._renewed = time.monotonic()
        self._thread = threading.Thread(target=self._renew, name="mmsearch-lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def check(self) -> None:
        """Raise StoppedError if the job is to end. Called before anything is written."""
        if self._requested is not None:
            raise StoppedError(self._requested)
        if time.monotonic() - self._renewed > self._seconds:
            raise StoppedError("lost")  # suspended, or cut off: another worker may have it
        if self._ending.is_set():
            raise StoppedError("end")

    def _renew(self) -> None:
        while not self._over.wait(self._seconds / 4):
            renewed = time.monotonic()
            try:
                requested = self._store.jobs.renew(self._claim, self._seconds)
            except LeaseLostError:
                self._requested = "lost"
                return
            except (DBAPIError, MMSearchError) as error:
                logger.warning("job %d: the lease could not be renewed: %s",
                               self._claim.job.id, error)  # fmt: skip
                continue
            self._renewed = renewed
            self._requested = requested


def run_job(library: Library, claim: Claim, lease: Lease) -> RunCounts:
    """Index what a job's task names. Raises StoppedError, LeaseLostError, and what a run does."""
    task = claim.job.task
    collections = {collection.id: collection for collection in library.store.collections.list()}
    target = collections[claim.job.collection_id]
    library.check_profile(target)
    library.store.names.complete(target.id)
    # Of an earlier attempt, or from before a pause.
    earlier = library.store.runs.items(claim.job.id, limit=10**9)
    outcomes = RunOutcomes(
        library.store,
        claim.job.id,
        on_progress=lambda _counts: lease.check(),
        lease=claim.lease,
        recorded={item.path for item in earlier},
        record_unchanged=True,
    )
    pipeline = Pipeline(
        library,
        library.models_of(target),
        target,
        outcomes,
        retry_failed=bool(task.get("retry_failed")),
        rehash=bool(task.get("rehash")),
    )
    library.refresh()
    named = Named(
        paths=tuple(task.get("paths", ())),
        include=tuple(task.get("include", ())),
        exclude=tuple(task.get("exclude", ())),
    )
    return pipeline.run(
        named, prune=bool(task.get("prune")), prune_empty=bool(task.get("prune_empty"))
    )


def enqueue(
    library: Library,
    kind: str,
    task: Mapping[str, Any],
    *,
    collection: str | None = None,
    priority: int = 0,
) -> int:
    """Queue an indexing job: a task has `paths` and perhaps include, exclude, prune,
    prune_empty, retry_failed, rehash, and `total` files where that is known."""
    profile = library.settings.profile or DEFAULT_PROFILE
    named = models_in(library.settings)
    target = library.store.collections.get_or_create(collection or "default", profile, named)
    attempts = library.settings.job_attempts
    return library.store.jobs.enqueue(
        target.id, kind, task, priority=priority, max_attempts=attempts
    )


def _lower_priority() -> None:
    """Give searches priority over this thread, and over those that it starts."""
    if sys.platform == "linux":  # elsewhere only processes have a niceness
        thread = threading.get_native_id()
        with suppress(OSError):
            niceness = os.getpriority(os.PRIO_PROCESS, thread) + NICENESS
            os.setpriority(os.PRIO_PROCESS, thread, min(19, niceness))


class BackgroundIngestor:
    """An `Ingestor` whose worker runs on a thread. `close` gives back the current job; queued jobs
    stay for the next worker."""

    def __init__(self, library: Library, *, work: bool = True) -> None:
        self._library = library
        self._worker = Worker(library)
        self._thread: threading.Thread | None = None
        if work:
            self._thread = threading.Thread(target=self._work, name="mmsearch-ingest", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        _lower_priority()
        self._worker.run()

    def submit(self, files: Sequence[Path], collection: str | None) -> int:
        task = {"paths": [os.fspath(path) for path in files], "total": len(files)}
        job = enqueue(self._library, "upload", task, collection=collection, priority=1)
        self._worker.wake()
        return job

    def submit_urls(self, urls: Sequence[str], collection: str | None) -> int:
        task = {"paths": list(urls), "total": len(urls)}
        job = enqueue(self._library, "fetch", task, collection=collection, priority=1)
        self._worker.wake()
        return job

    def close(self) -> None:
        self._worker.end()
        if self._thread is not None:
            self._thread.join()
