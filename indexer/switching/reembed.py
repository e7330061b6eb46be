"""New vectors for segments that are in the library already, by other models.

Words are embedded as SQL holds them. Pictures and sounds are decoded again from their sources,
in the sandbox, while the batch before is being embedded. A source must still hold the bytes that
its segments were made from.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
import numpy.typing as npt

from indexer.decode import Decoder
from indexer.embed import Embedder, stored
from indexer.inputs.content import Content, FilePart, LocalFile, Opened, WebFile
from indexer.inputs.named import Inputs
from indexer.runners.local import LocalRunner
from indexer.segmenting.segmenter import Segmenter
from indexer.segmenting.sounds import SoundWindow, SoundWindows
from mmsearch.errors import MediaError, NotFoundError
from mmsearch.library import Library
from mmsearch.media.parts import FramePart, ImagePart, PagePart, Part, SoundPart
from mmsearch.models.sets import ModelSet
from mmsearch.settings import decoding_workers
from mmsearch.stores.places import content_of, is_url
from mmsearch.stores.switches import Replacement
from mmsearch.types import VISUAL, Failure, Modality, Place, Segment, Source, Vectors

SOUNDS = frozenset({Modality.SOUND})
TEXT_BATCHES = 4
"""Batches of texts that are written in one transaction."""
SOURCES_PER_QUERY = 256

_Key = tuple[Modality, int | None, float | None]
"""Modality, page and start: no two visual segments of one source share it."""


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A segment on its way to a new vector; either `pixels` or `vector` is set."""

    segment: int
    pixels: npt.NDArray[np.uint8] | None = None
    vector: npt.NDArray[np.float16] | None = None


class Reembedder:
    """Fills a space that is being built with vectors of `models`."""

    def __init__(
        self,
        library: Library,
        models: ModelSet,
        on_written: Callable[[int], None] = lambda _count: None,
    ) -> None:
        """`on_written` gets the number of vectors of each transaction."""
        self._settings = library.settings
        self._store = library.store
        self._models = models
        self._spool = Inputs(library.settings).spool
        self._decoder = Decoder(library.settings, library.sandbox, models)
        self._embedder = Embedder(models, library.settings.batch_size)
        self._runner = LocalRunner(
            decoding_workers(library.settings), read_ahead=library.settings.batch_size
        )
        self._on_written = on_written
        self._lock = threading.Lock()
        self.failures: dict[int, Failure] = {}
        """Sources that could not be decoded, by id. They are not tried again."""
        self.skipped_segments: set[int] = set()
        """Segments of those sources."""
        self.unknown_words: set[tuple[int, int]] = set()
        """(space id, segment id) of words that the new model cannot read."""

    def fill(self, pair: Replacement) -> int:
        """Make the vectors that the new space of a pair lacks; returns how many were written."""
        match pair[1].space.name:
            case "clip":
                written = self._embed_texts(pair, sorted(frozenset(Modality) - VISUAL))
                return written + self._embed_sources(pair, sorted(VISUAL), self._pictures)
            case "sound":
                return self._embed_sources(pair, sorted(SOUNDS), self._sounds)
            case _:
                return self._embed_texts(pair, sorted(Modality))

    # ------------------------------------------------------------------ words

    def _embed_texts(self, pair: Replacement, modalities: list[Modality]) -> int:
        limit = TEXT_BATCHES * self._settings.batch_size
        written = after = 0
        while rows := self._store.switches.missing_texts(pair, modalities, after, limit):
            after = rows[-1][0]
            space = pair[1].space.name
            readable = self._embedder.can_read(space, [text for _, text in rows])
            self.unknown_words |= {
                (pair[1].id, segment)
                for (segment, _), read in zip(rows, readable, strict=True)
                if not read
            }
            rows = list(compress(rows, readable))
            vectors = self._embedder.texts(space, [text for _, text in rows])
            written += self._write(pair, [segment for segment, _ in rows], vectors)
        return written

    # ------------------------------------------------------------------ what has to be decoded

    def _embed_sources(
        self,
        pair: Replacement,
        modalities: list[Modality],
        decode: Callable[[Source, list[Segment]], Iterator[_Decoded]],
    ) -> int:
        def decoded(source_id: int) -> Iterator[_Decoded]:
            segments = self._store.switches.missing_segments(pair, modalities, source_id)
            try:
                source = self._store.sources.get(source_id)
            except NotFoundError:
                return  # deleted meanwhile
            try:
                yield from decode(source, segments)
            except MediaError as error:
                with self._lock:
                    failure = Failure(source.path, error.code, error.reason)
                    self.failures[source_id] = failure
                    self.skipped_segments |= {segment.id for segment in segments}

        written = 0
        batch: list[_Decoded] = []
        began = time.monotonic()
        sources = self._waiting_sources(pair, modalities)
        with closing(self._runner.map(decoded, sources)) as ready:
            for segment in ready:
                batch.append(segment)
                waited = time.monotonic() - began
                if (
                    len(batch) >= self._settings.batch_size
                    or waited >= self._settings.commit_seconds
                ):
                    written += self._embed(pair, batch)
                    batch, began = [], time.monotonic()
        return written + self._embed(pair, batch)

    def _waiting_sources(self, pair: Replacement, modalities: list[Modality]) -> Iterator[int]:
        after = 0
        while ids := self._store.switches.missing_sources(
            pair, modalities, after, SOURCES_PER_QUERY
        ):
            yield from (source_id for source_id in ids if source_id not in self.failures)
            after = ids[-1]

    def _embed(self, pair: Replacement, batch: Sequence[_Decoded]) -> int:
        pictures = [(d.segment, d.pixels) for d in batch if d.pixels is not None]
        embedded = [(d.segment, d.vector) for d in batch if d.vector is not None]
        ids = [segment for segment, _ in (*pictures, *embedded)]
        rows = self._embedder.pixels([pixels for _, pixels in pictures])
        return self._write(pair, ids, rows + [vector for _, vector in embedded])

    def _write(
        self, pair: Replacement, ids: list[int], rows: Sequence[npt.NDArray[np.float16]]
    ) -> int:
        if not ids:
            return 0
        written = self._store.vectors.add(pair[1].id, ids, np.stack(rows))
        self._on_written(written)
        return written

    def _pictures(self, source: Source, segments: list[Segment]) -> Iterator[_Decoded]:
        """Pictures, pages and frames, segmented as they are when they are indexed."""
        wanted = {_key(segment.modality, segment.place): segment.id for segment in segments}
        segmenter = Segmenter(self._settings, self._models, source.sha256)
        with self._opened(source) as opened:
            # Thumbnails are asked for, as in a run: they too decide at which size a page is drawn.
            request = replace(
                self._decoder.request(opened),
                kinds=("image", "document", "video"),
                sounds=False,
                ocr="none",
            )
            for part in self._decoder.parts(request):
                if (picture := _picture_only(part)) is not None:
                    segmenter.add(picture)
                    self._embedder.embed_waiting(segmenter)
        content = segmenter.finish()
        vectors = (
            dict(zip(*content.vectors["clip"], strict=True)) if "clip" in content.vectors else {}
        )
        for ordinal, draft in enumerate(content.segments):
            segment = wanted.pop(_key(draft.modality, draft.place), None)
            if segment is not None:
                yield _Decoded(segment, content.pixels.get(ordinal), vectors.get(ordinal))
        if wanted:
            raise MediaError("changed", f"{len(wanted)} of its pictures are not in it any more")

    def _sounds(self, source: Source, segments: list[Segment]) -> Iterator[_Decoded]:
        """Sounds, in the spans that the old model has made."""
        sound = self._models.sound
        assert sound is not None, "the new space is made by a sound model"
        spans = _SpanVectors([segment.place for segment in segments], sound.space.dimension)
        windows: SoundWindows | None = None
        with self._opened(source) as opened:
            request = replace(self._decoder.request(opened), kinds=("audio", "video"))
            for part in self._decoder.parts(request):
                if isinstance(part, SoundPart):
                    windows = windows or SoundWindows(sound.window_seconds, starts_at=part.start)
                    if some := windows.add(part.samples, last=part.last):
                        spans.add(some, self._embedder.sounds(some))
        for segment, vector in zip(segments, spans.vectors(), strict=True):
            yield _Decoded(segment.id, vector=vector)

    # ------------------------------------------------------------------ sources

    @contextmanager
    def _opened(self, source: Source) -> Iterator[Opened]:
        """The bytes that the source was indexed from, also where a copy is all that is left."""
        with ExitStack() as stack:
            yield self._first_opened(source, stack)

    def _first_opened(self, source: Source, stack: ExitStack) -> Opened:
        problem = MediaError("changed", "the file has changed since it was indexed")
        copies = self._store.sources.by_content(source.collection_id, source.sha256)
        for source_id in dict.fromkeys([source.id, *(known.id for known in copies)]):
            try:
                content = _content(self._store.sources.get(source_id))
                opened = stack.enter_context(content.opened(self._spool))
            except (MediaError, NotFoundError) as error:
                if source_id == source.id and isinstance(error, MediaError):
                    problem = error
                continue
            if opened.sha256 == source.sha256:
                return opened
        raise problem


class _SpanVectors:
    """Sums the vectors of windows for each span that they lie in."""

    def __init__(self, places: Sequence[Place], dimension: int) -> None:
        self._spans = [(place.start or 0.0, place.end or 0.0) for place in places]
        self._totals = np.zeros((len(places), dimension), np.float32)

    def add(self, windows: Sequence[SoundWindow], vectors: Vectors) -> None:
        for window, vector in zip(windows, vectors, strict=True):
            for n, (start, end) in enumerate(self._spans):
                # Places are rounded to milliseconds.
                if start - 0.002 <= window.start and window.end <= end + 0.002:
                    self._totals[n] += vector

    def vectors(self) -> npt.NDArray[np.float16]:
        """A unit vector per span. Raises MediaError if one is silent now."""
        lengths = np.linalg.norm(self._totals, axis=1, keepdims=True)
        if (lengths < 1e-6).any():
            raise MediaError("changed", "nothing is heard any more where there was a sound")
        return stored(self._totals / lengths)


def _content(source: Source) -> Content:
    """Where its bytes are. Raises MediaError where they cannot be found by its name alone."""
    place = content_of(source)
    if place is not None:
        if place.size is None:
            return LocalFile(place.path)
        return FilePart(place.path, place.offset, place.size, source.path)
    if is_url(source.uri):
        return WebFile(source.uri)
    raise MediaError("unreadable", "it lies inside of another file, which has to be indexed again")


def _picture_only(part: Part) -> Part | None:
    """The part without its words and its thumbnail; None if there is nothing to see in it."""
    match part:
        case ImagePart() | FramePart():
            return replace(part, thumbnail=None)
        case PagePart():
            return replace(part, thumbnail=None, text="", lines=())
        case _:
            return None


def _key(modality: Modality, place: Place) -> _Key:
    return modality, place.page, place.start
