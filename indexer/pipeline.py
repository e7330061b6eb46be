"""The indexing run: files in, committed segments and vectors out.

::

    walk -> compare with SQL -> open -> decode -> recognise, segment -> embed -> write
    ------ this thread -----    ---- the runner's threads, ahead ----   - this thread -

The runner is a bounded number of files ahead, so that memory does not grow with the number of
files, and the models never wait for the disk. A source is written with all its segments and all
their vectors in one transaction, or not at all. A run that is interrupted therefore needs no
repair: the next one compares files with SQL and finds what is missing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from indexer.copies import CopiedFile, IndexedFiles
from indexer.decode import Decoder
from indexer.embed import Embedder
from indexer.inputs.content import Item, Opened, batches, captioned, joined_metadata
from indexer.inputs.named import Inputs, Named
from indexer.inputs.walk import WalkProblem
from indexer.outcomes import RunCounts, RunOutcomes
from indexer.presence import Devices
from indexer.prune import Pruning
from indexer.recipe import recorded_recipe
from indexer.runners.local import LocalRunner
from indexer.segmenting.recognition import NOTHING_RECOGNISED, Recogniser
from indexer.segmenting.segmenter import Segmented, Segmenter
from mmsearch.errors import MediaError
from mmsearch.library import Library
from mmsearch.models.sets import ModelSet
from mmsearch.protocols import Runner
from mmsearch.settings import decoding_workers
from mmsearch.stores.names import name_only_segment
from mmsearch.stores.rows import SourceWrite
from mmsearch.types import Collection, Failure, Modality, SegmentDraft, SourceFile

COMPARE_BATCH = 256
"""Files compared with SQL in one query."""


@dataclass(frozen=True, slots=True)
class PreparedFile:
    """A file that was opened, decoded and segmented, and waits to be embedded and written."""

    item: Item
    file: SourceFile
    sha256: str = ""
    content: Segmented = field(default_factory=Segmented)
    failure: Failure | None = None
    is_copy: bool = False
    """The content is, or will be, in the collection: nothing was decoded."""


class Pipeline:
    """One indexing run over one collection. Not reused."""

    def __init__(
        self,
        library: Library,
        models: ModelSet,
        collection: Collection,
        outcomes: RunOutcomes,
        *,
        retry_failed: bool = False,
        rehash: bool = False,
        runner: Runner | None = None,
    ) -> None:
        """`retry_failed`: index failed files again although they have not changed. `rehash`:
        compare the content of files that look unchanged. The default
        `runner` is threads of this process."""
        self.outcomes = outcomes
        self._settings = library.settings
        self._library = library
        self._store = library.store
        self._models = models
        self._collection = collection
        self._inputs = Inputs(self._settings, self._report_walk_problem)
        self._indexed = IndexedFiles(
            self._store,
            collection,
            recorded_recipe(self._settings, models),
            outcomes,
            retry_failed=retry_failed,
            rehash=rehash,
        )
        self._decoder = Decoder(self._settings, library.sandbox, models)
        self._embedder = Embedder(models, self._settings.batch_size)
        workers = decoding_workers(self._settings)
        # One batch being embedded, one ready, and every worker busy.
        read_ahead = 2 * self._settings.batch_size + workers
        self._runner: Runner = runner or LocalRunner(workers, read_ahead)
        self._pruning: Pruning | None = None
        self._devices = Devices(library.path)
        self._pending: list[PreparedFile] = []
        self._written_at = time.monotonic()
        self._space_ids: dict[str, int] = {}

    @property
    def counts(self) -> RunCounts:
        return self.outcomes.counts

    def run(self, named: Named, *, prune: bool = False, prune_empty: bool = False) -> RunCounts:
        """Index everything that was named. Raises only what ends the whole run.

        `prune`: remove the sources whose files were deleted; with `prune_empty` also those of
        folders that are empty or missing.
        """
        self._pruning = Pruning(remove_empty=prune_empty) if prune or prune_empty else None
        with closing(self._runner.map(self._prepare, self._changed(named))) as prepared_files:
            for prepared in prepared_files:
                if prepared.is_copy:
                    self._indexed.add_copy(
                        CopiedFile(prepared.item, prepared.file, prepared.sha256)
                    )
                else:
                    self._pending.append(prepared)
                if self._is_batch_full():
                    self._embed_and_write()
        self._embed_and_write()
        while (orphan := self._indexed.take_orphan()) is not None:
            self._pending.append(self._segment_item(orphan.item, copies=False))
            self._embed_and_write()
        if self._pruning is not None:
            self._pruning.remove_gone(
                self._library,
                self._collection,
                self.outcomes,
                roots=_roots(named),
                complete=self._inputs.complete,
                folders=self._inputs.folders,
                devices=self._devices,
            )
        else:
            self._devices.save(self._inputs.folders.devices)
        self.outcomes.save()
        return self.counts

    # ------------------------------------------------------------------ walk

    def _changed(self, named: Named) -> Iterator[Item]:
        """What was named and is new or changed."""
        items = self._inputs.items(named)
        for batch in batches(items, COMPARE_BATCH, weight=lambda item: item.weight):
            if self._pruning is not None:
                self._pruning.add_seen(item.file.uri for item in batch)
            yield from self._indexed.changed(batch)
            self.outcomes.report()

    def _report_walk_problem(self, problem: WalkProblem) -> None:
        self.counts.seen += 1
        self.outcomes.failed(Failure(problem.path, problem.code, problem.reason))

    # ------------------------------------------------------------------ open, decode, segment

    def _prepare(self, item: Item) -> Iterator[PreparedFile]:
        """One item on a thread of the runner."""
        yield self._segment_item(item)

    def _segment_item(self, item: Item, *, copies: bool = True) -> PreparedFile:
        """Open, hash, decode and segment one item. A MediaError becomes the item's failure.

        Unless `copies` is false, content that the collection has is not decoded.
        """
        prepared = PreparedFile(item, item.file)
        try:
            with item.content.opened(self._inputs.spool) as opened:
                if item.file.size < 0:  # not known before
                    prepared = replace(prepared, file=replace(item.file, size=opened.size))
                prepared = replace(prepared, sha256=opened.sha256)
                if copies and not self._indexed.claim(item, opened.sha256):
                    return replace(prepared, is_copy=True)
                return replace(prepared, content=self._segment(item, opened))
        except MediaError as error:
            return replace(prepared, failure=Failure(item.file.path, error.code, error.reason))

    def _segment(self, item: Item, opened: Opened) -> Segmented:
        if opened.vector is not None:  # an embedding that was imported
            vectors = {"clip": (np.zeros(1, np.int64), opened.vector[None])}
            content = Segmented(opened.name, {}, (SegmentDraft(Modality.IMAGE),), {}, vectors)
        else:
            segmenter = Segmenter(self._settings, self._models, opened.sha256)
            recogniser = Recogniser(self._models, language=self._settings.language)
            for part in self._decoder.decode(opened):
                is_full = segmenter.is_full
                segmenter.add(part, NOTHING_RECOGNISED if is_full else recogniser.recognise(part))
                self._embedder.embed_waiting(segmenter)
            content = segmenter.finish()
        segments = captioned(content.segments, item.captions)
        return replace(
            content,
            metadata=joined_metadata(content.metadata, item),
            segments=segments or (name_only_segment(content.mime),),
        )

    # ------------------------------------------------------------------ embed, write

    def _is_batch_full(self) -> bool:
        pictures = sum(len(prepared.content.pixels) for prepared in self._pending)
        texts = sum(len(prepared.content.segments) for prepared in self._pending) - pictures
        return (
            pictures >= self._settings.batch_size
            or texts >= 4 * self._settings.batch_size
            or len(self._pending) >= self._settings.commit_files
            or time.monotonic() - self._written_at >= self._settings.commit_seconds
        )

    def _embed_and_write(self) -> None:
        """Embed the pending files together, and write them in one transaction."""
        pending, self._pending = self._pending, []
        if pending:
            self._open_spaces(pending)
            vectors = self._embedder.embed([prepared.content for prepared in pending])
            writes = [
                SourceWrite(
                    file=prepared.file,
                    sha256=prepared.sha256,
                    mime=prepared.content.mime,
                    recipe=self._indexed.recipe_of(prepared.item),
                    metadata=prepared.content.metadata,
                    segments=prepared.content.segments,
                    vectors={self._space_id(name): rows for name, rows in by_space.items()},
                    failure=prepared.failure,
                )
                for prepared, by_space in zip(pending, vectors, strict=True)
            ]
            self.outcomes.report()  # raises if a job may write no more
            known = self._store.sources.by_uri(self._collection.id, [w.file.uri for w in writes])
            self._store.sources.write(self._collection.id, writes)
            self._library.delete_thumbnails(
                {known[w.file.uri].sha256 for w in writes if w.file.uri in known}
                - {write.sha256 for write in writes}
            )
            for write in writes:
                if write.failure is not None:
                    if write.failure.code != "changed":  # it says nothing about the content
                        self._indexed.add_failure(write.sha256, write.failure)
                    self.outcomes.failed(write.failure)
                else:
                    self.outcomes.indexed(write)
        self._written_at = time.monotonic()
        self._indexed.settle()
        self.outcomes.save_new()

    def _open_spaces(self, pending: list[PreparedFile]) -> None:
        """Raise SpaceMismatchError, before anything is embedded, if the collection's vectors
        were made by other models."""
        if any(prepared.content.segments for prepared in pending):
            for name in ("clip", "text"):
                self._space_id(name)

    def _space_id(self, name: str) -> int:
        """The id of a space; that of sounds is made, and its model loaded, for the first sound."""
        if name not in self._space_ids:
            space = self._models.embedder(name).space
            self._space_ids[name] = self._store.spaces.get_or_create(self._collection.id, space).id
        return self._space_ids[name]


def _roots(named: Named) -> list[Path]:
    """What was named, as the walk names its files, and with links resolved."""
    absolute = [Path(path).expanduser().absolute() for path in named.local]
    return list(
        dict.fromkeys(
            [*map(Path, map(os.path.abspath, absolute)), *(path.resolve() for path in absolute)]
        )
    )
