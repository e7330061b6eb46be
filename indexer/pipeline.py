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
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexer.segments import image_segment, passages, speech_segments
from indexer.sources import WalkProblem, local_path, walk
from mmsearch.errors import MediaError, ModelError, StorageError
from mmsearch.media.parts import AudioPart, ImagePart, TextPart
from mmsearch.media.requests import decode_request
from mmsearch.media.sandbox import Sandbox
from mmsearch.search.engine import thumbnail_path
from mmsearch.search.modelset import ModelSet
from mmsearch.settings import Settings, decoding_workers
from mmsearch.stores.rows import EXPECTED_IN, KnownFile, SourceWrite
from mmsearch.stores.runs import RunItem
from mmsearch.stores.sql import SqlStore
from mmsearch.types import Collection, Failure, Modality, SegmentDraft, SourceFile, Vectors

logger = logging.getLogger(__name__)

LOADERS_VERSION = 1
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

    file: SourceFile
    sha256: str
    mime: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)
    segments: tuple[SegmentDraft, ...] = ()
    pixels: tuple[npt.NDArray[np.uint8], ...] = ()
    """One (height, width, 3) array per IMAGE segment, in order."""
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
    ) -> None:
        self.settings = settings
        self.store = store
        self.sandbox = sandbox
        self.models = models
        self.collection = collection
        self.run_id = run_id
        self.on_progress = on_progress
        self.counts = RunCounts()
        self.failures: list[Failure] = []
        self.recipe = recipe(settings, models)
        self._items: list[RunItem] = []
        self._claimed: set[str] = set()
        self._claim_lock = threading.Lock()
        self._pending: list[Loaded] = []
        self._copies: list[Loaded] = []
        self._failed_content: dict[str, Failure] = {}
        self._committed_at = time.monotonic()
        self._stop = threading.Event()
        self._space_ids: dict[str, int] | None = None

    # ------------------------------------------------------------------ the run

    def run(
        self,
        paths: Sequence[Path],
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        prune: bool = False,
    ) -> RunCounts:
        """Take in everything under `paths`; raises only what ends the whole run."""
        files = walk(
            paths,
            include=include,
            exclude=exclude,
            # A library may lie inside the folder that it indexes.
            skip=[self.settings.library],
            on_problem=self._walk_problem,
        )
        try:
            for loaded in self._load_ahead(self._changed(files)):
                self._take(loaded)
            self._commit()
            self._settle_copies(last=True)
            if prune:
                self._prune([path.expanduser().resolve() for path in paths])
        finally:
            self._stop.set()
        self._report(force=True)
        return self.counts

    def _changed(self, files: Iterator[SourceFile]) -> Iterator[SourceFile]:
        """Those files that are new or changed; the others cost a stat and a row of SQL."""
        for batch in _batches(files, LOOK_BATCH):
            known = self.store.known_files(self.collection.id, [file.uri for file in batch])
            for file in batch:
                self.counts.seen += 1
                have = known.get(file.uri)
                if have is None or not self._same(have, file):
                    yield file
                elif have.status == "failed":
                    self._fail(self.store.source(have.id).failure)
                else:
                    self.counts.unchanged += 1
            self._report()

    def _same(self, have: KnownFile, file: SourceFile) -> bool:
        return (have.size, have.mtime_ns, have.recipe) == (file.size, file.mtime_ns, self.recipe)

    # ------------------------------------------------------------------ loading, in threads

    def _load_ahead(self, files: Iterator[SourceFile]) -> Iterator[Loaded]:
        """Load on threads, a bounded number of files ahead; what is ready first comes first."""
        workers = decoding_workers(self.settings)
        # One batch being embedded, one ready, and every worker busy.
        most = 2 * self.settings.batch_size + workers
        finished: queue.SimpleQueue[Future[Loaded]] = queue.SimpleQueue()
        running = 0
        pool = ThreadPoolExecutor(workers, thread_name_prefix="load")
        try:
            for file in files:
                pool.submit(self._load, file).add_done_callback(finished.put)
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

    def _load(self, file: SourceFile) -> Loaded:
        """Hash, decode and cut one file. What is wrong with it becomes its failure."""
        if self._stop.is_set():
            raise InterruptedError
        try:
            sha256 = _hash(Path(local_path(file.uri)))
        except MediaError as error:
            return Loaded(file, "", failure=Failure(file.path, error.code, error.reason))
        with self._claim_lock:
            claimed = sha256 in self._claimed
            self._claimed.add(sha256)
        if claimed or self._reusable(sha256):
            return Loaded(file, sha256, is_copy=True)
        return self._decoded(file, sha256)

    def _decoded(self, file: SourceFile, sha256: str) -> Loaded:
        try:
            return self._decode(file, sha256)
        except MediaError as error:
            return Loaded(file, sha256, failure=Failure(file.path, error.code, error.reason))

    def _reusable(self, sha256: str) -> bool:
        known = self.store.known_content(self.collection.id, sha256)
        return any(one.recipe == self.recipe for one in known)

    def _decode(self, file: SourceFile, sha256: str) -> Loaded:
        segments: list[SegmentDraft] = []
        pixels: list[npt.NDArray[np.uint8]] = []
        metadata: dict[str, object] = {}
        mime = ""
        request = decode_request(
            self.settings,
            path=local_path(file.uri),
            preprocess=self.models.clip.preprocess,
            thumbnail=self.settings.thumbnail_pixels,
        )
        language: str | None = self.settings.language
        for part in self.sandbox.decode(request):
            mime = part.mime
            metadata |= part.metadata
            match part:
                case ImagePart():
                    assert part.pixels is not None
                    segments.append(image_segment())
                    pixels.append(part.pixels)
                    if part.thumbnail is not None:
                        _write_thumbnail(
                            thumbnail_path(self.settings.library, sha256), part.thumbnail
                        )
                case TextPart():
                    segments += passages(part.text, self._count_tokens, self._passage_tokens())
                case AudioPart():
                    transcript = self.models.transcriber.transcribe(part.samples, language=language)
                    if transcript.language is not None:
                        metadata.setdefault("language", transcript.language)
                    segments += speech_segments(transcript, part.start)
        return Loaded(file, sha256, mime, metadata, tuple(segments), tuple(pixels))

    def _count_tokens(self, texts: Sequence[str]) -> list[int]:
        """A passage must fit both text towers."""
        counts = (self.models.clip.count_tokens(texts), self.models.text.count_tokens(texts))
        return [max(pair) for pair in zip(*counts, strict=True)]

    def _passage_tokens(self) -> int:
        return min(
            self.settings.passage_tokens, self.models.clip.max_tokens, self.models.text.max_tokens
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
            self.store.write_sources(self.collection.id, writes)
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
        parts: list[dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]]] = [
            {} for _ in pending
        ]
        if drafts:
            spaces = self._spaces()
            pixels = [p for one in pending for p in one.pixels]
            texts = [
                (n, o, d.text)
                for n, o, d in drafts
                if d.modality in EXPECTED_IN["text"] and d.text is not None
            ]
            images = [(n, o) for n, o, d in drafts if d.modality is Modality.IMAGE]
            words = [text for _, _, text in texts]
            where = images + [(n, o) for n, o, _ in texts]
            clip = self._encode(self.models.clip.encode_pixels, pixels, stack=True)
            clip += self._encode(lambda t: self.models.clip.encode_texts(t, "document"), words)
            text = self._encode(lambda t: self.models.text.encode_texts(t, "document"), words)
            _scatter(parts, spaces["clip"], where, clip)
            _scatter(parts, spaces["text"], where[len(images) :], text)
        return [
            SourceWrite(
                file=one.file,
                sha256=one.sha256,
                mime=one.mime,
                recipe=self.recipe,
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
            if not np.isfinite(vectors).all():
                raise ModelError("a model gave vectors that are not numbers; nothing was written")
            rows += list(vectors.astype(np.float16))
        return rows

    def _spaces(self) -> dict[str, int]:
        """Space ids by name. SpaceMismatchError if other models made what is there."""
        if self._space_ids is None:
            self._space_ids = {
                embedder.space.name: self.store.ensure_space(self.collection.id, embedder.space).id
                for embedder in (self.models.clip, self.models.text)
            }
        return self._space_ids

    def _settle_copies(self, *, last: bool = False) -> None:
        """Give copies the segments of the source they equal, once that is committed."""
        waiting, self._copies = self._copies, []
        for copy in waiting:
            same = [
                one
                for one in self.store.known_content(self.collection.id, copy.sha256)
                if one.recipe == self.recipe
            ]
            twin = self._failed_content.get(copy.sha256)
            if same:
                self._settle_copy(copy, same)
            elif twin is not None:
                # What it equals has failed in this run: so does it, for the same reason.
                failure = Failure(copy.file.path, twin.code, twin.reason)
                write = SourceWrite(copy.file, copy.sha256, "", self.recipe, failure=failure)
                self.store.write_sources(self.collection.id, [write])
                self._fail(failure)
            elif last:
                # What it equals was deleted meanwhile: it has to be taken in itself.
                self._pending.append(self._decoded(copy.file, copy.sha256))
                self._commit()
            else:
                self._copies.append(copy)

    def _settle_copy(self, copy: Loaded, same: Sequence[KnownFile]) -> None:
        for one in same:
            if one.uri == copy.file.uri:
                self.store.move_source(one.id, copy.file)
                self.counts.unchanged += 1
                return
        for one in same:
            if _is_gone(one.uri):
                self.store.move_source(one.id, copy.file)
                self.counts.moved += 1
                self._items.append(RunItem(copy.file.path, "moved", reason=f"from {one.path}"))
                return
        source = self.store.source(same[0].id)
        metadata, segments, vectors = self.store.source_content(source.id)
        write = SourceWrite(
            file=copy.file,
            sha256=copy.sha256,
            mime=source.mime,
            recipe=self.recipe,
            metadata=metadata,
            segments=segments,
            vectors=vectors,
        )
        self.store.write_sources(self.collection.id, [write])
        self.counts.copied += 1
        self._count_indexed(write)

    def _prune(self, roots: Sequence[Path]) -> None:
        """Let sources under the given roots go whose files are gone.

        A root that is gone itself is left alone: more often than not it is not mounted today.
        """
        roots = [root for root in roots if root.exists()]
        for batch in self.store.iterate_files(self.collection.id):
            gone = [
                one
                for one in batch
                if any(Path(local_path(one.uri)).is_relative_to(root) for root in roots)
                and _is_gone(one.uri)
            ]
            if gone:
                self.counts.removed += self.store.delete_sources([one.id for one in gone])
                self._items += [RunItem(one.path, "removed") for one in gone]

    # ------------------------------------------------------------------ outcomes

    def _count_indexed(self, write: SourceWrite) -> None:
        self.counts.indexed += 1
        self.counts.segments += len(write.segments)
        self.counts.vectors += sum(len(ordinals) for ordinals, _ in write.vectors.values())
        self._items.append(RunItem(write.file.path, "indexed"))

    def _fail(self, failure: Failure | None) -> None:
        assert failure is not None
        self.counts.failed += 1
        self.failures.append(failure)
        self._items.append(RunItem(failure.path, "failed", failure.code, failure.reason))

    def _walk_problem(self, problem: WalkProblem) -> None:
        self.counts.seen += 1
        self._fail(Failure(problem.path, problem.code, problem.reason))

    def _report(self, *, force: bool = False) -> None:
        if force:
            items, self._items = self._items, []
            self.store.update_run(self.run_id, counts=self.counts.to_json(), items=items)
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
    ]
    return hashlib.sha256(json.dumps(ingredients).encode()).hexdigest()[:32]


def _scatter(
    parts: list[dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]]],
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
        parts[n][space_id] = (ordinals, np.stack([row for _, row in some]))


def _hash(path: Path) -> str:
    """SHA-256 of the content. Raises MediaError if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        raise MediaError("missing", "the file disappeared before it could be read") from None
    except OSError as error:
        raise MediaError("unreadable", f"the file cannot be read: {error.strerror}") from None


def _is_gone(uri: str) -> bool:
    """True only if there surely is no such file: one that we may not look at is not gone."""
    try:
        os.lstat(local_path(uri))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _write_thumbnail(path: Path, content: bytes) -> None:
    """Written aside and renamed, so that nobody ever sees half a picture."""
    if path.exists():
        return
    aside = path.with_suffix(f".{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content)
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise StorageError(f"the library cannot be written: {error.strerror}") from error


def _batches(files: Iterator[SourceFile], size: int) -> Iterator[list[SourceFile]]:
    batch: list[SourceFile] = []
    for file in files:
        batch.append(file)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
