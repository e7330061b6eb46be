"""What a run did: one outcome for each file, counted, and written to the run's record in SQL."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from mmsearch.stores.names import NAME_ONLY
from mmsearch.stores.rows import SourceWrite
from mmsearch.stores.runs import RunItem
from mmsearch.stores.store import SqlStore
from mmsearch.types import Failure

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class RunCounts:
    """Progress of a run. Each file seen ends in one of four outcomes (see `done`)."""

    seen: int = 0
    indexed: int = 0
    unchanged: int = 0
    moved: int = 0
    failed: int = 0
    removed: int = 0
    copied: int = 0
    """Of `indexed`: files whose vectors were copied from a source with the same content."""
    segments: int = 0
    vectors: int = 0

    @property
    def done(self) -> int:
        """Files that have an outcome."""
        return self.indexed + self.unchanged + self.moved + self.failed

    def to_json(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class RunOutcomes:
    """Counts the outcomes of one run. Used by the run's own thread only.

    `recorded`: paths whose outcome an earlier attempt at the same job has written; they are
    counted, not written again. `record_unchanged`: write an outcome for unchanged files too, so
    that each file of a job has one. Under a `lease`, `save` raises LeaseLostError once another
    worker holds the job.
    """

    def __init__(
        self,
        store: SqlStore,
        run_id: int,
        *,
        on_progress: Callable[[RunCounts], None] = lambda _counts: None,
        lease: str | None = None,
        recorded: Collection[str] = (),
        record_unchanged: bool = False,
    ) -> None:
        self.counts = RunCounts()
        self.failures: list[Failure] = []
        self.warnings: list[str] = []
        self.name_only: Counter[str] = Counter()
        """Indexed sources that are found by their name only, by the reason."""
        self._store = store
        self._run_id = run_id
        self._on_progress = on_progress
        self._lease = lease
        self._recorded = recorded
        self._record_unchanged = record_unchanged
        self._unsaved: list[RunItem] = []

    def indexed(self, write: SourceWrite) -> None:
        self.counts.indexed += 1
        self.counts.segments += len(write.segments)
        for segment in write.segments[:1]:
            if (reason := segment.metadata.get(NAME_ONLY)) is not None:
                self.name_only[reason] += 1
        self.counts.vectors += sum(len(ordinals) for ordinals, _ in write.vectors.values())
        self._record(RunItem(write.file.path, "indexed"))

    def copied(self, write: SourceWrite) -> None:
        self.counts.copied += 1
        self.indexed(write)

    def unchanged(self, path: str) -> None:
        self.counts.unchanged += 1
        if self._record_unchanged:
            self._record(RunItem(path, "unchanged"))

    def moved(self, path: str, old_path: str) -> None:
        self.counts.moved += 1
        self._record(RunItem(path, "moved", reason=f"from {old_path}"))

    def failed(self, failure: Failure) -> None:
        self.counts.failed += 1
        self.failures.append(failure)
        self._record(RunItem(failure.path, "failed", failure.code, failure.reason))

    def removed(self, paths: Collection[str], count: int) -> None:
        """`count` sources were deleted; always recorded, also at a second attempt."""
        self.counts.removed += count
        self._unsaved += [RunItem(path, "removed") for path in paths]

    def kept(self, path: str, warning: str) -> None:
        """Absent sources of a folder were not removed; recorded, and a warning of the run."""
        logger.warning("%s", warning)
        self.warnings.append(warning)
        self._unsaved.append(RunItem(path, "kept", "absent", warning))

    def report(self) -> None:
        """Call `on_progress`, which may raise to end the run."""
        self._on_progress(self.counts)

    def save(self) -> None:
        """Write the counts and the new outcomes to SQL, and report."""
        items, self._unsaved = self._unsaved, []
        self._store.runs.update(
            self._run_id, counts=self.counts.to_json(), items=items, lease=self._lease
        )
        self.report()

    def save_new(self) -> None:
        """`save` if there is any new outcome, else only report."""
        if self._unsaved:
            self.save()
        else:
            self.report()

    def _record(self, item: RunItem) -> None:
        if item.path not in self._recorded:
            self._unsaved.append(item)
