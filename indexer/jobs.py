"""Uploads: files that a running service takes in, one job after the other."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from pathlib import Path

from indexer.runs import DEFAULT_PROFILE, index_into
from mmsearch.errors import MMSearchError
from mmsearch.search.engine import SearchEngine

logger = logging.getLogger(__name__)

BUSY_WAIT = 3600.0
"""Seconds that a job waits for a run of `mmsearch index` in another process to end."""


class BackgroundIngestor:
    """An `Ingestor` on one thread. `close` lets the job at hand end and fails the others."""

    def __init__(self, engine: SearchEngine) -> None:
        self._engine = engine
        self._jobs: queue.Queue[tuple[int, Sequence[Path], str] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="mmsearch-ingest", daemon=True)
        self._thread.start()

    def submit(self, files: Sequence[Path], collection: str | None) -> int:
        name = collection or "default"
        profile = self._engine.settings.profile or DEFAULT_PROFILE
        # The job needs a collection to belong to before it has begun.
        target = self._engine.store.ensure_collection(name, profile)
        run = self._engine.store.start_run(target.id, "upload", state="queued")
        self._jobs.put((run, list(files), target.name))
        return run

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            run, files, collection = job
            try:
                index_into(self._engine, files, collection=collection, run_id=run, wait=BUSY_WAIT)
            except MMSearchError as error:
                logger.warning("upload job %d failed: %s", run, error)
                self._engine.store.update_run(run, counts={}, state="failed", error=str(error))
            except Exception as error:
                logger.exception("upload job %d failed", run)
                self._engine.store.update_run(run, counts={}, state="failed", error=repr(error))
