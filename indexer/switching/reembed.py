"""New vectors for segments that are in the library already, by other models.

Words are embedded as SQL holds them. What is seen or heard is decoded again from its source, in
the sandbox, while the batch before is being embedded; a source must still hold the bytes that
its segments were made from.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from indexer.ahead import ahead
from indexer.inputs.content import Content, FilePart, LocalFile, Opened, WebFile
from indexer.pipeline import Pipeline
from indexer.segmenting.segmenter import Cutter, checked
from indexer.segmenting.sounds import SoundCutter
from mmsearch.errors import MediaError, NotFoundError
from mmsearch.media.parts import FramePart, ImagePart, PagePart, Part, SoundPart
from mmsearch.protocols import SoundTextEmbedder
from mmsearch.settings import decoding_workers
from mmsearch.stores.places import content_of, is_url
from mmsearch.stores.switches import Replacement
from mmsearch.types import VISUAL, Failure, Modality, Place, Segment, Source, Vectors

HEARD = frozenset({Modality.SOUND})
TEXTS_AT_ONCE = 4
"""Batches of texts that are written in one transaction."""
SOURCES_AT_ONCE = 256

_Key = tuple[Modality, int | None, float | None]
"""What tells the seen segments of one source apart: page and start."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """A segment on its way to a vector: one of `pixels` and `vector`."""

    segment: int
    pixels: npt.NDArray[np.uint8] | None = None
    vector: npt.NDArray[np.float16] | None = None


class Reembedder:
    """Fills a space that is being built. `failures` has the sources that could not be read."""

    def __init__(
        self, pipeline: Pipeline, on_made: Callable[[int], None] = lambda _count: None
    ) -> None:
        self._pipeline = pipeline
        self._settings = pipeline.settings
        self._store = pipeline.store
        self._models = pipeline.models
        self._on_made = on_made
        self._lock = threading.Lock()
        self.failures: dict[int, Failure] = {}
        """By source."""
        self.forgone: set[int] = set()
        """Segments of those sources."""

    def fill(self, pair: Replacement) -> int:
        """Make the vectors that are waiting; returns how many. What failed is not tried again."""
        match pair[1].space.name:
            case "clip":
                made = self._texts(pair, sorted(frozenset(Modality) - VISUAL))
                return made + self._from_sources(pair, sorted(VISUAL), self._look)
            case "sound":
                return self._from_sources(pair, sorted(HEARD), self._listen)
            case _:
                return self._texts(pair, sorted(Modality))

    # ------------------------------------------------------------------ words

    def _texts(self, pair: Replacement, among: list[Modality]) -> int:
        embedder = self._models.embedder(pair[1].space.name)
        size = self._settings.batch_size
        made = after = 0
        while rows := self._store.switches.missing_texts(pair, among, after, TEXTS_AT_ONCE * size):
            vectors = [
                checked(embedder.encode_texts([t for _, t in rows[at : at + size]], "document"))
                for at in range(0, len(rows), size)
            ]
            made += self._write(pair, [i for i, _ in rows], np.concatenate(vectors))
            after = rows[-1][0]
        return made

    # ------------------------------------------------------------------ what has to be decoded

    def _from_sources(
        self,
        pair: Replacement,
        among: list[Modality],
        load: Callable[[Source, list[Segment]], Iterator[_Ready]],
    ) -> int:
        def loaded(source_id: int) -> Iterator[_Ready]:
            segments = self._store.switches.missing_segments(pair, among, source_id)
            try:
                source = self._store.sources.get(source_id)
            except NotFoundError:
                return  # deleted meanwhile
            try:
                yield from load(source, segments)
            except MediaError as error:
                with self._lock:
                    failure = Failure(source.path, error.code, error.reason)
                    self.failures[source_id] = failure
                    self.forgone |= {one.id for one in segments}

        made = 0
        batch: list[_Ready] = []
        began = time.monotonic()
        with closing(
            ahead(
                self._waiting_sources(pair, among),
                loaded,
                workers=decoding_workers(self._settings),
                most=self._settings.batch_size,
            )
        ) as ready:
            for one in ready:
                batch.append(one)
                waited = time.monotonic() - began
                if (
                    len(batch) >= self._settings.batch_size
                    or waited >= self._settings.commit_seconds
                ):
                    made += self._embed(pair, batch)
                    batch, began = [], time.monotonic()
        return made + self._embed(pair, batch)

    def _waiting_sources(self, pair: Replacement, among: list[Modality]) -> Iterator[int]:
        after = 0
        while some := self._store.switches.missing_sources(pair, among, after, SOURCES_AT_ONCE):
            yield from (one for one in some if one not in self.failures)
            after = some[-1]

    def _embed(self, pair: Replacement, batch: list[_Ready]) -> int:
        seen = [(one.segment, one.pixels) for one in batch if one.pixels is not None]
        ids = [segment for segment, _ in seen]
        rows = (
            list(checked(self._models.clip.encode_pixels(np.stack([pixels for _, pixels in seen]))))
            if seen
            else []
        )
        for one in batch:
            if one.vector is not None:
                ids.append(one.segment)
                rows.append(one.vector)
        return self._write(pair, ids, np.stack(rows)) if rows else 0

    def _write(self, pair: Replacement, ids: list[int], rows: npt.NDArray[np.float16]) -> int:
        made = self._store.vectors.add(pair[1].id, ids, rows)
        self._on_made(made)
        return made

    def _look(self, source: Source, segments: list[Segment]) -> Iterator[_Ready]:
        """Pictures, pages and frames, cut as they are when they are indexed."""
        wanted = {_key(one.modality, one.place): one.id for one in segments}
        cutter = Cutter(self._settings, self._models, source.sha256)
        with self._opened(source) as opened:
            # As a run asks for it: thumbnails too decide at which size a page is drawn.
            request = replace(
                self._pipeline.request(opened),
                kinds=("image", "document", "video"),
                sounds=False,
                ocr="none",
            )
            for part in self._pipeline.sandbox.decode(request):
                if (seen := _only_seen(part)) is not None:
                    cutter.add(seen)
        cut = cutter.finish()
        vectors = dict(zip(*cut.made["clip"], strict=True)) if "clip" in cut.made else {}
        for ordinal, draft in enumerate(cut.segments):
            segment = wanted.pop(_key(draft.modality, draft.place), None)
            if segment is not None:
                yield _Ready(segment, cut.pixels.get(ordinal), vectors.get(ordinal))
        if wanted:
            raise MediaError("changed", f"{len(wanted)} of its pictures are not in it any more")

    def _listen(self, source: Source, segments: list[Segment]) -> Iterator[_Ready]:
        """Sounds, in the spans that the model before has found."""
        embedder = self._models.sound
        assert embedder is not None, "it has made the space"
        filler = _SpanFiller(embedder, [one.place for one in segments])
        with self._opened(source) as opened:
            request = replace(self._pipeline.request(opened), kinds=("audio", "video"))
            for part in self._pipeline.sandbox.decode(request):
                if isinstance(part, SoundPart):
                    filler.add(part.samples, last=part.last)
        for one, vector in zip(segments, filler.vectors(), strict=True):
            yield _Ready(one.id, vector=vector)

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
                opened = stack.enter_context(content.opened(self._pipeline.inputs.spool))
            except (MediaError, NotFoundError) as error:
                if source_id == source.id and isinstance(error, MediaError):
                    problem = error
                continue
            if opened.sha256 == source.sha256:
                return opened
        raise problem


class _SpanFiller(SoundCutter):
    """Hears a recording in windows, and gives each to the span that it lies in."""

    def __init__(self, embedder: SoundTextEmbedder, places: list[Place]) -> None:
        super().__init__(embedder, similarity=1.0, longest_seconds=0.0)
        self._dimension = embedder.space.dimension
        self._places = [(place.start or 0.0, place.end or 0.0) for place in places]
        self._totals = np.zeros((len(places), self._dimension), np.float32)

    def _merge(self, start: float, end: float, vector: Vectors) -> None:
        for n, (first, last) in enumerate(self._places):
            if first - 0.002 <= start and end <= last + 0.002:
                self._totals[n] += vector

    def vectors(self) -> npt.NDArray[np.float16]:
        """A unit vector per span. Raises MediaError if one is silent now."""
        lengths = np.linalg.norm(self._totals, axis=1, keepdims=True)
        if (lengths < 1e-6).any():
            raise MediaError("changed", "nothing is heard any more where there was a sound")
        return checked(self._totals / lengths)


def _content(source: Source) -> Content:
    """Where its bytes are. Raises MediaError where they cannot be found by its name alone."""
    stored = content_of(source)
    if stored is not None:
        if stored.size is None:
            return LocalFile(stored.path)
        return FilePart(stored.path, stored.offset, stored.size, source.path)
    if is_url(source.uri):
        return WebFile(source.uri)
    raise MediaError("unreadable", "it lies inside of another file, which has to be indexed again")


def _only_seen(part: Part) -> Part | None:
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
