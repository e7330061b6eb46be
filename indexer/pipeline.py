"""The indexing run: files in, committed segments and vectors out.

::

    walk -> what changed? -> load (threads; decoding in worker processes) -> embed -> commit

Loading runs ahead of embedding by a bounded number of files, so that memory does not grow
with the size of the folder, and the models never wait for the disk. Everything that is
committed is complete: a source stands in SQL with all its segments and all their vectors,
or not at all. A run that is interrupted therefore needs no repair; the next one finds what
is missing by comparing files with SQL.
"""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexer.inputs.content import (
    Item,
    Opened,
    batches,
    captioned,
    is_gone,
    joined_metadata,
)
from indexer.inputs.named import Inputs, Named
from indexer.inputs.walk import WalkProblem
from indexer.segmenting.segmenter import Cutter, Rows, checked
from mmsearch.errors import MediaError
from mmsearch.media.parts import DecodeRequest, Part, TextPart
from mmsearch.media.requests import decode_request
from mmsearch.media.sandbox.pool import Sandbox
from mmsearch.models.sets import ModelSet
from mmsearch.settings import Settings, decoding_workers
from mmsearch.stores.places import MEMBER, container_of, local_path
from mmsearch.stores.rows import KnownFile, SourceWrite
from mmsearch.stores.runs import RunItem
from mmsearch.stores.store import SqlStore
from mmsearch.types import VERBAL, Collection, Failure, Modality, SegmentDraft, SourceFile, Vectors

logger = logging.getLogger(__name__)

LOADERS_VERSION = 2
"""Counts up whenever loaders or segmenters produce something else from the same bytes:
everything indexed before is then taken in again."""

LOOK_BATCH = 256
"""Files compared with SQL in one query."""


@dataclass(slots=True)
class RunCounts:
    """Progress of a run; every file seen ends in exactly one of the five outcomes."""

    seen: int = 0
    indexed: int = 0
    unchanged: int = 0
    moved: int = 0
    failed: int = 0
    removed: int = 0
    copied: int = 0
    """Of `indexed`: taken from a source with the same content, without embedding."""
    segments: int = 0
    vectors: int = 0

    @property
    def done(self) -> int:
        return self.indexed + self.unchanged + self.moved + self.failed

    def to_json(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A decoded file, cut into segments, waiting for vectors."""

    item: Item
    file: SourceFile
    sha256: str = ""
    mime: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)
    segments: tuple[SegmentDraft, ...] = ()
    pixels: Mapping[int, npt.NDArray[np.uint8]] = field(default_factory=dict)
    """By ordinal: what is seen and still to be embedded, (height, width, 3) each."""
    made: Mapping[str, Rows] = field(default_factory=dict)
    """Vectors that were made while loading, by space name: (ordinals, rows)."""
    failure: Failure | None = None
    is_copy: bool = False
    """The content is, or will be, in the library: nothing was decoded."""


class Pipeline:
    """One indexing run over one collection. Not reused."""

    def __init__(
        self,
        *,
        settings: Settings,
        store: SqlStore,
        sandbox: Sandbox,
        models: ModelSet,
        collection: Collection,
        run_id: int,
        on_progress: Callable[[RunCounts], None] = lambda _counts: None,
        lease: str | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.sandbox = sandbox
        self.models = models
        self.collection = collection
        self.run_id = run_id
        self.on_progress = on_progress
        self.lease = lease
        self.told: set[str] = set()
        """Paths whose outcome an earlier attempt at the job has recorded."""
        self.tell_unchanged = False
        """Record an outcome for unchanged files too: each file of a job has one."""
        self.counts = RunCounts()
        self.failures: list[Failure] = []
        self.recipe = recipe(settings, models)
        self.inputs = Inputs(settings, self._walk_problem)
        self.retry_failed = False
        self._items: list[RunItem] = []
        self._claimed: set[str] = set()
        self._claim_lock = threading.Lock()
        self._pending: list[Loaded] = []
        self._copies: list[Loaded] = []
        self._failed_content: dict[str, Failure] = {}
        self._committed_at = time.monotonic()
        self._stop = threading.Event()
        self._space_ids: dict[str, int] | None = None
        self._seen: set[str] | None = None
        """URIs of what is no plain file, where pruning will ask for them."""

    # ------------------------------------------------------------------ the run

    def run(self, named: Named, *, prune: bool = False, retry_failed: bool = False) -> RunCounts:
        """Take in everything that was named; raises only what ends the whole run."""
        self.retry_failed = retry_failed
        self._seen = set() if prune else None
        try:
            for loaded in self._load_ahead(self._changed(self.inputs.items(named))):
                self._take(loaded)
            self._commit()
            self._settle_copies(last=True)
            if prune:
                self._prune([Path(path).expanduser().resolve() for path in named.local])
        finally:
            self._stop.set()
        self._report(force=True)
        return self.counts

    def _changed(self, items: Iterator[Item]) -> Iterator[Item]:
        """Those that are new or changed; the others cost a stat and a row of SQL."""
        for batch in batches(items, LOOK_BATCH, weight=lambda item: item.weight):
            known = self.store.sources.by_uri(self.collection.id, [item.file.uri for item in batch])
            for item in batch:
                self.counts.seen += 1
                if self._seen is not None and not _is_plain_file(item.file.uri):
                    self._seen.add(item.file.uri)
                have = known.get(item.file.uri)
                if have is None or not self._same(have, item):
                    yield item
                elif have.status != "failed":
                    self.counts.unchanged += 1
                    if self.tell_unchanged:
                        self._tell(RunItem(item.file.path, "unchanged"))
                elif self.retry_failed:
                    yield item
                else:
                    self._fail(self.store.sources.get(have.id).failure)
            self._report()

    def _same(self, have: KnownFile, item: Item) -> bool:
        now = (item.file.size, item.file.mtime_ns, self._recipe_of(item))
        return (have.size, have.mtime_ns, have.recipe) == now

    def _recipe_of(self, item: Item) -> str:
        """What is said about an item is part of what its record is made of."""
        return f"{self.recipe}:{item.stamp}" if item.stamp else self.recipe

    # ------------------------------------------------------------------ loading, in threads

    def _load_ahead(self, items: Iterator[Item]) -> Iterator[Loaded]:
        """Load on threads, a bounded number of files ahead; what is ready first comes first."""
        workers = decoding_workers(self.settings)
        # One batch being embedded, one ready, and every worker busy.
        most = 2 * self.settings.batch_size + workers
        finished: queue.SimpleQueue[Future[Loaded]] = queue.SimpleQueue()
        running = 0
        pool = ThreadPoolExecutor(workers, thread_name_prefix="load")
        try:
            for item in items:
                pool.submit(self._load, item).add_done_callback(finished.put)
                running += 1
                while running >= most or not finished.empty():
                    running -= 1
                    yield finished.get().result()
            while running:
                running -= 1
                yield finished.get().result()
        finally:
            self._stop.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _load(self, item: Item, *, anew: bool = False) -> Loaded:
        """Hash, decode and cut one item. What is wrong with it becomes its failure."""
        if self._stop.is_set() and not anew:
            raise InterruptedError
        found = Loaded(item, item.file)
        try:
            with item.content.opened(self.inputs.spool) as opened:
                if item.file.size < 0:  # not known before
                    found = replace(found, file=replace(item.file, size=opened.size))
                found = replace(found, sha256=opened.sha256)
                if not anew and self._is_copy(found):
                    return replace(found, is_copy=True)
                return self._decode(found, opened)
        except MediaError as error:
            return replace(found, failure=Failure(item.file.path, error.code, error.reason))

    def _is_copy(self, found: Loaded) -> bool:
        """Whether the same bytes are in the library, or were begun by another thread."""
        if found.item.stamp:  # what is said about it makes it unlike others of its content
            return False
        with self._claim_lock:
            claimed = found.sha256 in self._claimed
            self._claimed.add(found.sha256)
        return claimed or self._reusable(found.sha256)

    def _reusable(self, sha256: str) -> bool:
        known = self.store.sources.by_content(self.collection.id, sha256)
        return any(one.recipe == self.recipe for one in known)

    def _decode(self, found: Loaded, opened: Opened) -> Loaded:
        if opened.vector is not None:
            return replace(
                found,
                mime=opened.name,
                metadata=joined_metadata({}, found.item),
                segments=captioned([SegmentDraft(Modality.IMAGE)], found.item.captions),
                made={"clip": (np.zeros(1, np.int64), opened.vector[None])},
            )
        cutter = Cutter(self.settings, self.models, found.sha256)
        for part in self._parts(opened):
            cutter.add(part)
        cut = cutter.finish()
        return replace(
            found,
            mime=cut.mime,
            metadata=joined_metadata(cut.metadata, found.item),
            segments=captioned(cut.segments, found.item.captions),
            pixels=cut.pixels,
            made=cut.made,
        )

    def _parts(self, opened: Opened) -> Iterator[Part]:
        """What a worker makes of the bytes; a record's words need none."""
        if opened.text is not None:
            return iter([TextPart("text/plain", {}, opened.text)])
        return self.sandbox.decode(self.request(opened))

    def request(self, opened: Opened) -> DecodeRequest:
        """What is asked of a worker."""
        return decode_request(
            self.settings,
            path=opened.path,
            content=opened.data,
            name=opened.name,
            preprocess=self.models.clip.preprocess,
            thumbnail=self._preview_pixels(),
            sounds=self.models.knows_sounds,
            ocr=self.settings.ocr_pictures if self.models.ocr is not None else "none",
        )

    # ------------------------------------------------------------------ embedding, committing

    def _take(self, loaded: Loaded) -> None:
        if loaded.is_copy:
            self._copies.append(loaded)
        else:
            self._pending.append(loaded)
        images = sum(len(one.pixels) for one in self._pending)
        texts = sum(len(one.segments) for one in self._pending) - images
        waited = time.monotonic() - self._committed_at
        if (
            images >= self.settings.batch_size
            or texts >= 4 * self.settings.batch_size
            or len(self._pending) >= self.settings.commit_files
            or waited >= self.settings.commit_seconds
        ):
            self._commit()

    def _commit(self) -> None:
        """Embed what is pending and write it in one transaction."""
        pending, self._pending = self._pending, []
        if pending:
            writes = self._embed(pending)
            self.on_progress(self.counts)  # may say that nothing is to be written any more
            self.store.sources.write(self.collection.id, writes)
            for write in writes:
                if write.failure is not None:
                    self._failed_content[write.sha256] = write.failure
                    self._fail(write.failure)
                else:
                    self._count_indexed(write)
        self._committed_at = time.monotonic()
        self._settle_copies()
        self._report(force=bool(self._items))

    def _embed(self, pending: Sequence[Loaded]) -> list[SourceWrite]:
        """Vectors for all segments of some files: each model sees them as few large batches."""
        drafts = [(n, o, d) for n, one in enumerate(pending) for o, d in enumerate(one.segments)]
        parts: list[dict[int, Rows]] = [{} for _ in pending]
        if drafts:
            spaces = self._spaces()
            drafts_by = {(n, o): d for n, o, d in drafts}
            images = [(n, o) for n, one in enumerate(pending) for o in one.pixels]
            pixels = [p for one in pending for p in one.pixels.values()]
            words = [(n, o, d.text) for n, o, d in drafts if d.text]
            # What is seen has its vector in CLIP's space from its pixels; the words that stand
            # in it have theirs in the text space.
            spoken = [word for word in words if drafts_by[word[:2]].modality in VERBAL]
            clip = self._encode(self.models.clip.encode_pixels, pixels, stack=True)
            clip += self._encode(
                lambda t: self.models.clip.encode_texts(t, "document"), [t for *_, t in spoken]
            )
            text = self._encode(
                lambda t: self.models.text.encode_texts(t, "document"), [t for *_, t in words]
            )
            _scatter(parts, spaces["clip"], images + [(n, o) for n, o, _ in spoken], clip)
            _scatter(parts, spaces["text"], [(n, o) for n, o, _ in words], text)
        for n, one in enumerate(pending):
            for name, made in one.made.items():
                _join(parts[n], self._space_id(name), made)
        return [
            SourceWrite(
                file=one.file,
                sha256=one.sha256,
                mime=one.mime,
                recipe=self._recipe_of(one.item),
                metadata=one.metadata,
                segments=one.segments,
                vectors=parts[n],
                failure=one.failure,
            )
            for n, one in enumerate(pending)
        ]

    def _encode(
        self,
        encode: Callable[..., Vectors],
        inputs: Sequence[object],
        *,
        stack: bool = False,
    ) -> list[npt.NDArray[np.float16]]:
        """Unit vectors as float16 rows, a batch at a time."""
        rows: list[npt.NDArray[np.float16]] = []
        for start in range(0, len(inputs), self.settings.batch_size):
            batch = inputs[start : start + self.settings.batch_size]
            vectors = encode(np.stack(batch) if stack else batch)  # type: ignore[arg-type]
            rows += list(checked(vectors))
        return rows

    def _spaces(self) -> dict[str, int]:
        """Space ids by name. SpaceMismatchError if other models made what is there."""
        if self._space_ids is None:
            self._space_ids = {
                embedder.space.name: self.store.spaces.get_or_create(
                    self.collection.id, embedder.space
                ).id
                for embedder in (self.models.clip, self.models.text)
            }
        return self._space_ids

    def _preview_pixels(self) -> int:
        """Thumbnails are what a captioner sees: then they are as large as it is to see them."""
        if self.models.captioner is None:
            return self.settings.thumbnail_pixels
        return max(self.settings.thumbnail_pixels, self.settings.caption_pixels)

    def _space_id(self, name: str) -> int:
        """The id of a space that only some files need: its model is loaded for them alone."""
        spaces = self._spaces()
        if name not in spaces:
            space = self.models.embedder(name).space
            spaces[name] = self.store.spaces.get_or_create(self.collection.id, space).id
        return spaces[name]

    def _settle_copies(self, *, last: bool = False) -> None:
        """Give copies the segments of the source they equal, once that is committed."""
        waiting, self._copies = self._copies, []
        for copy in waiting:
            same = [
                one
                for one in self.store.sources.by_content(self.collection.id, copy.sha256)
                if one.recipe == self.recipe
            ]
            twin = self._failed_content.get(copy.sha256)
            if same:
                self._settle_copy(copy, same)
            elif twin is not None:
                # What it equals has failed in this run: so does it, for the same reason.
                failure = Failure(copy.file.path, twin.code, twin.reason)
                write = SourceWrite(copy.file, copy.sha256, "", self.recipe, failure=failure)
                self.store.sources.write(self.collection.id, [write])
                self._fail(failure)
            elif last:
                # What it equals was deleted meanwhile: it has to be taken in itself.
                self._pending.append(self._load(copy.item, anew=True))
                self._commit()
            else:
                self._copies.append(copy)

    def _settle_copy(self, copy: Loaded, same: Sequence[KnownFile]) -> None:
        for one in same:
            if one.uri == copy.file.uri:
                self.store.sources.move(one.id, copy.file)
                self.counts.unchanged += 1
                if self.tell_unchanged:
                    self._tell(RunItem(copy.file.path, "unchanged"))
                return
        for one in same:
            if is_gone(one.uri):
                self.store.sources.move(one.id, copy.file)
                self.counts.moved += 1
                self._tell(RunItem(copy.file.path, "moved", reason=f"from {one.path}"))
                return
        source = self.store.sources.get(same[0].id)
        metadata, segments, vectors = self.store.sources.contents(source.id)
        write = SourceWrite(
            file=copy.file,
            sha256=copy.sha256,
            mime=source.mime,
            recipe=self.recipe,
            metadata=metadata,
            segments=segments,
            vectors=vectors,
        )
        self.store.sources.write(self.collection.id, [write])
        self.counts.copied += 1
        self._count_indexed(write)

    def _prune(self, roots: Sequence[Path]) -> None:
        """Let sources under the given roots go whose files are gone.

        A root that is gone itself is left alone: more often than not it is not mounted today.
        """
        roots = [root for root in roots if root.exists()]
        for batch in self.store.sources.iterate(self.collection.id):
            gone = [one for one in batch if self._has_gone(one.uri, roots)]
            if gone:
                self.counts.removed += self.store.sources.delete([one.id for one in gone])
                self._items += [RunItem(one.path, "removed") for one in gone]

    def _has_gone(self, uri: str, roots: Sequence[Path]) -> bool:
        unseen = self._seen is not None and uri not in self._seen
        container = container_of(uri)
        try:
            path = Path(local_path(container))
        except ValueError:  # a store's file: only a whole listing tells
            return unseen and any(uri.startswith(root) for root in self.inputs.complete)
        if not any(path.is_relative_to(root) for root in roots):
            return False
        member_gone = uri != container and unseen and container in self.inputs.complete
        return member_gone or is_gone(container)

    # ------------------------------------------------------------------ outcomes

    def _count_indexed(self, write: SourceWrite) -> None:
        self.counts.indexed += 1
        self.counts.segments += len(write.segments)
        self.counts.vectors += sum(len(ordinals) for ordinals, _ in write.vectors.values())
        self._tell(RunItem(write.file.path, "indexed"))

    def _fail(self, failure: Failure | None) -> None:
        assert failure is not None
        self.counts.failed += 1
        self.failures.append(failure)
        self._tell(RunItem(failure.path, "failed", failure.code, failure.reason))

    def _walk_problem(self, problem: WalkProblem) -> None:
        self.counts.seen += 1
        self._fail(Failure(problem.path, problem.code, problem.reason))

    def _tell(self, item: RunItem) -> None:
        if item.path not in self.told:
            self._items.append(item)

    def _report(self, *, force: bool = False) -> None:
        if force:
            items, self._items = self._items, []
            self.store.runs.update(
                self.run_id, counts=self.counts.to_json(), items=items, lease=self.lease
            )
        self.on_progress(self.counts)


def recipe(settings: Settings, models: ModelSet) -> str:
    """Fingerprint of what makes segments out of bytes, known without loading any model."""
    ingredients = [
        LOADERS_VERSION,
        models.recipe,
        settings.passage_tokens,
        settings.audio_chunk_seconds,
        settings.language,
        settings.transcription,
        [settings.ocr_pictures, settings.page_images, settings.max_pages],
        [settings.sound_similarity, settings.sound_span_seconds],
        [settings.language_detection, settings.translate, settings.speakers],
        [settings.speech_max_compression, settings.speech_max_no_speech],
        settings.speech_min_logprob,
        [settings.captions, settings.caption_model, settings.caption_url],
    ]
    return hashlib.sha256(json.dumps(ingredients).encode()).hexdigest()[:32]


def _scatter(
    parts: list[dict[int, Rows]],
    space_id: int,
    where: Sequence[tuple[int, int]],
    rows: Sequence[npt.NDArray[np.float16]],
) -> None:
    """Hand the vectors of a batch back to the files they belong to."""
    by_file: dict[int, list[tuple[int, npt.NDArray[np.float16]]]] = {}
    for (n, ordinal), row in zip(where, rows, strict=True):
        by_file.setdefault(n, []).append((ordinal, row))
    for n, some in by_file.items():
        ordinals = np.array([ordinal for ordinal, _ in some], np.int64)
        _join(parts[n], space_id, (ordinals, np.stack([row for _, row in some])))


def _join(vectors: dict[int, Rows], space_id: int, rows: Rows) -> None:
    """Add rows to those that a file has in a space."""
    have = vectors.get(space_id)
    if have is not None:
        rows = (np.concatenate([have[0], rows[0]]), np.concatenate([have[1], rows[1]]))
    vectors[space_id] = rows


def _is_plain_file(uri: str) -> bool:
    return uri.startswith("file:") and MEMBER not in uri
