"""The search engine: one library, opened; queries in, ranked hits out.

The flow of `search_many`: check -> embed all terms of the batch -> retrieve per channel
(filters pushed down) -> fuse -> hits from SQL.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mmsearch.errors import (
    DimensionError,
    EmptyQueryError,
    MMSearchError,
    NotFoundError,
    QueryError,
    SpaceMismatchError,
)
from mmsearch.media.parts import AudioPart, DecodeRequest, ImagePart
from mmsearch.media.sandbox import Sandbox
from mmsearch.protocols import ImageTextEmbedder, TextEmbedder, Transcriber
from mmsearch.search.filters import compile_filter
from mmsearch.search.fusion import ChannelRanking, reciprocal_rank_fusion
from mmsearch.search.indexes import ChannelIndexes
from mmsearch.search.query import check_query, file_content, modalities
from mmsearch.settings import Settings
from mmsearch.stores.rows import StoredSpace, check_same_space
from mmsearch.stores.sql import SqlStore
from mmsearch.types import (
    Collection,
    Hit,
    Ids,
    Modality,
    Query,
    SearchParams,
    SearchResult,
    Source,
    Term,
)

logger = logging.getLogger(__name__)

Vector = npt.NDArray[np.float32]
Channel = tuple[str, Modality]
"""(space name, target modality)."""

WORDS_TARGET: tuple[Channel, ...] = (
    ("clip", Modality.IMAGE),
    ("text", Modality.TEXT),
    ("text", Modality.SPEECH),
)
"""Where words are looked for: pictures through CLIP; written and spoken words through the
text space, which knows far more about language than CLIP's text tower."""

PICTURE_TARGET: tuple[Channel, ...] = (
    ("clip", Modality.IMAGE),
    ("clip", Modality.TEXT),
    ("clip", Modality.SPEECH),
)
"""Where a picture is looked for: only CLIP compares it with anything."""

CANCELLED = 1e-4
"""A sum of weighted unit vectors that is shorter than this points nowhere."""

SPARE = 16
"""Fused candidates beyond the limit, for those deleted between the index and SQL."""


class ModelSet:
    """The models of one profile. Each adapter is made, and its library imported, on first use."""

    def __init__(
        self,
        profile: str,
        recipe: str,
        clip: Callable[[], ImageTextEmbedder],
        text: Callable[[], TextEmbedder],
        transcriber: Callable[[], Transcriber],
    ) -> None:
        self.profile = profile
        self.recipe = recipe
        """Names the models as configured; unlike their fingerprints, known before loading any."""
        self._lock = threading.Lock()
        self._make_clip = clip
        self._make_text = text
        self._make_transcriber = transcriber

    @cached_property
    def clip(self) -> ImageTextEmbedder:
        with self._lock:
            return self.__dict__.get("clip") or self._make_clip()

    @cached_property
    def text(self) -> TextEmbedder:
        with self._lock:
            return self.__dict__.get("text") or self._make_text()

    @cached_property
    def transcriber(self) -> Transcriber:
        with self._lock:
            return self.__dict__.get("transcriber") or self._make_transcriber()


@dataclass(slots=True, eq=False)
class _Plan:
    """One query on its way: what is looked for in which channel."""

    query: Query
    collection: Collection
    vectors: dict[Channel, Vector] = field(default_factory=dict)
    excluded: set[int] = field(default_factory=set)
    texts: list[tuple[str, float]] = field(default_factory=list)
    allowed: dict[Modality, Ids] = field(default_factory=dict)
    rankings: list[ChannelRanking] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def look_for(self, channels: Sequence[Channel], vector: Vector, weight: float) -> None:
        """Add a weighted unit vector to what the channels look for."""
        for channel in channels:
            if self.query.modalities and channel[1] not in self.query.modalities:
                continue
            have = self.vectors.get(channel)
            term = weight * vector
            self.vectors[channel] = term if have is None else have + term


class SearchEngine:
    """An opened library. Safe to use from many threads; close it, or use it in a `with`.

    Made by `mmsearch.build.open_library`, or in short::

        from mmsearch import SearchEngine

        with SearchEngine.open("my-library") as engine:
            for hit in engine.search("a red boat at sunset"):
                print(hit.score, hit.source.path, hit.segment.place)
    """

    def __init__(
        self,
        settings: Settings,
        store: SqlStore,
        indexes: ChannelIndexes,
        models: Callable[[str], ModelSet],
        sandbox: Sandbox,
    ) -> None:
        self.settings = settings
        self.store = store
        self.indexes = indexes
        self.models = models
        self.sandbox = sandbox
        self._follower: threading.Thread | None = None
        self._stop = threading.Event()
        self._warm = False

    @classmethod
    def open(cls, library: str | Path, **settings: Any) -> SearchEngine:
        """Open an existing library. Keyword arguments are settings (see `mmsearch.Settings`).

        Raises LibraryNotFoundError, LibraryVersionError, SettingsError.
        """
        from mmsearch import build  # the composition root knows this class, not the reverse

        return build.open_library(library, **settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop following, end decoding workers, close the database."""
        self._stop.set()
        if self._follower is not None:
            self._follower.join()
            self._follower = None
        self.sandbox.close()
        self.indexes.close()
        self.store.close()

    @property
    def library(self) -> Path:
        return self.settings.library

    # ------------------------------------------------------------------ search

    def search(
        self,
        query: str | Query | None = None,
        *,
        image: str | Path | bytes | None = None,
        audio: str | Path | bytes | None = None,
        like: int | None = None,
        modality: str | Sequence[str] | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002  # its name everywhere else
        limit: int | None = None,
        min_score: float = 0.0,
        collection: str | None = None,
    ) -> SearchResult:
        """Find segments by words, a picture, a recording, another segment, or a mix of them.

        Paths given as `image` or `audio` are read; the words of `query` never are.
        Raises QueryError, MediaError (a picture or recording that cannot be read), NotFoundError.
        """
        if not isinstance(query, Query):
            terms = []
            if query is not None:
                terms.append(Term(text=query))
            if image is not None:
                terms.append(Term(image=file_content(image)))
            if audio is not None:
                terms.append(Term(audio=file_content(audio)))
            if like is not None:
                terms.append(Term(segment=like))
            names = [modality] if isinstance(modality, str) else list(modality or ())
            query = Query(
                terms=tuple(terms),
                modalities=modalities(names),
                filter=filter,
                limit=self.settings.limit if limit is None else limit,
                min_score=min_score,
                collection=collection,
            )
        answer = self.search_many([query])[0]
        if isinstance(answer, MMSearchError):
            raise answer
        return answer

    def search_many(self, queries: Sequence[Query]) -> list[SearchResult | MMSearchError]:
        """Answer several queries at once, sharing model calls and index scans.

        Each query's own error stands in its place; one bad query spoils no other.
        """
        began = time.perf_counter()
        self.refresh()
        answers: list[SearchResult | MMSearchError | None] = [None] * len(queries)
        plans: dict[int, _Plan] = {}
        for i, query in enumerate(queries):
            try:
                plans[i] = self._plan(check_query(query))
            except MMSearchError as error:
                answers[i] = error
        self._embed_texts(plans, answers)
        self._retrieve([plan for i, plan in plans.items() if answers[i] is None])
        for i, plan in plans.items():
            if answers[i] is None:
                answers[i] = self._result(plan, (time.perf_counter() - began) * 1e3)
        return [answer for answer in answers if answer is not None]

    def _plan(self, query: Query) -> _Plan:
        """Everything that one query needs on its own; words are embedded for all together."""
        collection = self.store.collection(query.collection)
        models = self._models_of(collection)
        plan = _Plan(query, collection)
        for term in query.terms:
            if term.text is not None:
                plan.texts.append((term.text, term.weight))
            elif term.image is not None:
                plan.look_for(PICTURE_TARGET, self._picture(models, term.image), term.weight)
            elif term.audio is not None:
                plan.texts.append((self._words(models, term.audio), term.weight))
            elif term.segment is not None:
                self._plan_segment(plan, term.segment, term.weight)
            else:
                self._plan_vector(plan, term)
        if query.filter:
            where = compile_filter(
                query.filter,
                self.store.metadata_keys(collection.id),
                self.store.engine.dialect.name,
            )
            for modality in query.modalities or tuple(Modality):
                plan.allowed[modality] = self.store.segment_ids(collection.id, modality, where)
        return plan

    def _picture(self, models: ModelSet, content: bytes) -> Vector:
        request = decode_request(
            self.settings, content=content, kinds=("image",), preprocess=models.clip.preprocess
        )
        for part in self.sandbox.decode(request):
            if isinstance(part, ImagePart) and part.pixels is not None:
                return np.asarray(models.clip.encode_pixels(part.pixels[None])[0], np.float32)
        raise QueryError("the query's picture is not a picture", param="image")

    def _words(self, models: ModelSet, content: bytes) -> str:
        said: list[str] = []
        request = decode_request(self.settings, content=content, kinds=("audio",))
        for part in self.sandbox.decode(request):
            assert isinstance(part, AudioPart)
            transcript = models.transcriber.transcribe(
                part.samples, language=self.settings.language
            )
            said += [utterance.text.strip() for utterance in transcript.utterances]
        words = " ".join(said).strip()
        if not words:
            raise EmptyQueryError("no words were recognised in the recording", param="audio")
        return words

    def _plan_segment(self, plan: _Plan, segment_id: int, weight: float) -> None:
        segment = self.store.segment(segment_id)
        if self.store.source(segment.source_id).collection_id != plan.collection.id:
            raise NotFoundError(f"there is no segment {segment_id} in this collection")
        plan.excluded.add(segment_id)
        found = False
        for stored in self.store.spaces(plan.collection.id):
            for _ids, vectors in self.store.vectors_of(stored.id, [segment_id]).values():
                found = True
                targets = PICTURE_TARGET
                if segment.modality in {Modality.TEXT, Modality.SPEECH}:
                    targets = tuple(t for t in WORDS_TARGET if t[0] == stored.space.name)
                plan.look_for(targets, vectors[0].astype(np.float32), weight)
        if not found:
            raise QueryError(f"segment {segment_id} has no vector to compare", param="segment")

    def _plan_vector(self, plan: _Plan, term: Term) -> None:
        assert term.vector is not None
        name = term.space or "clip"
        spaces = {s.space.name: s.space for s in self.store.spaces(plan.collection.id)}
        if name not in spaces:
            known = ", ".join(spaces) or "none"
            raise QueryError(f"there is no space '{name}' here (spaces: {known})", param="space")
        vector = np.asarray(term.vector, np.float32)
        if vector.shape != (spaces[name].dimension,):
            raise DimensionError(
                f"the vector has {vector.size} numbers, space '{name}' has "
                f"{spaces[name].dimension} dimensions",
                param="vector",
            )
        norm = float(np.linalg.norm(vector))
        if not np.isfinite(norm) or norm == 0:
            raise DimensionError("the vector's length is zero or not finite", param="vector")
        plan.look_for([(name, m) for m in Modality], vector / norm, term.weight)

    def _embed_texts(
        self, plans: Mapping[int, _Plan], answers: list[SearchResult | MMSearchError | None]
    ) -> None:
        """One call per space for the texts of all queries of a profile."""
        by_profile: dict[str, list[int]] = {}
        for i, plan in plans.items():
            if plan.texts:
                by_profile.setdefault(plan.collection.profile, []).append(i)
        for profile, members in by_profile.items():
            texts = list(dict.fromkeys(text for i in members for text, _ in plans[i].texts))
            row = {text: n for n, text in enumerate(texts)}
            try:
                models = self.models(profile)
                for embedder in (models.clip, models.text):
                    vectors = embedder.encode_texts(texts, "query")
                    channels = [c for c in WORDS_TARGET if c[0] == embedder.space.name]
                    for i in members:
                        for text, weight in plans[i].texts:
                            plans[i].look_for(channels, vectors[row[text]], weight)
            except MMSearchError as error:
                for i in members:
                    answers[i] = error

    def _retrieve(self, plans: Sequence[_Plan]) -> None:
        """First-stage rankings of all plans; unfiltered queries of a channel share a scan."""
        jobs: dict[tuple[int, Channel], list[_Plan]] = {}
        for plan in plans:
            for channel in plan.vectors:
                jobs.setdefault((plan.collection.id, channel), []).append(plan)
        spaces = {
            (s.collection_id, s.space.name): s for s in self.store.spaces() if s.state == "active"
        }
        for (collection_id, channel), members in jobs.items():
            stored = spaces.get((collection_id, channel[0]))
            if stored is None:
                continue
            together = [p for p in members if p.query.filter is None and not p.query.exact]
            if together:
                self._scan(stored, channel, together, None, SearchParams())
            for plan in members:
                if plan not in together:
                    allowed = plan.allowed.get(channel[1]) if plan.query.filter else None
                    params = SearchParams(exact=plan.query.exact)
                    self._scan(stored, channel, [plan], allowed, params)

    def _scan(
        self,
        stored: StoredSpace,
        channel: Channel,
        plans: Sequence[_Plan],
        allowed: Ids | None,
        params: SearchParams,
    ) -> None:
        index = self.indexes.get(stored.id, channel[1])
        if index is None or not len(index) or (allowed is not None and not len(allowed)):
            return
        self._check_space(plans[0].collection, stored)
        plans = [plan for plan in plans if self._has_direction(plan, channel)]
        if not plans:
            return
        wanted = max(
            max(self.settings.candidates, p.query.limit) + len(p.excluded) + SPARE for p in plans
        )
        matrix = np.stack([_unit(p.vectors[channel]) for p in plans])
        scores, ids = index.search(matrix, min(wanted, len(index)), allowed=allowed, params=params)
        for plan, row_scores, row_ids in zip(plans, scores, ids, strict=True):
            keep = row_ids >= 0
            if plan.excluded:
                keep &= ~np.isin(row_ids, list(plan.excluded))
            plan.rankings.append(
                ChannelRanking(
                    name=f"{channel[0]}:{channel[1].value}",
                    modality=channel[1],
                    ids=row_ids[keep],
                    scores=row_scores[keep],
                )
            )

    def _has_direction(self, plan: _Plan, channel: Channel) -> bool:
        """False, with a warning, if the query's terms leave nothing to look for."""
        if float(np.linalg.norm(plan.vectors[channel])) > CANCELLED:
            return True
        plan.warnings.append(
            f"the query's terms cancel each other out in {channel[0]}:{channel[1].value}"
        )
        return False

    def _result(self, plan: _Plan, took_ms: float) -> SearchResult:
        query = plan.query
        fused = reciprocal_rank_fusion(plan.rankings, query.limit + SPARE)
        rows = self.store.segments_with_sources([one.id for one in fused])
        hits: list[Hit] = []
        for one in fused:
            if one.id not in rows or one.score < query.min_score:
                continue
            segment, source = rows[one.id]
            hits.append(Hit(len(hits) + 1, one.score, one.scores, source, segment))
            if len(hits) == query.limit:
                break
        warnings = (*plan.warnings, *self.indexes.take_warnings())
        return SearchResult(query, tuple(hits), took_ms, warnings)

    # ------------------------------------------------------------------ models and spaces

    def _models_of(self, collection: Collection) -> ModelSet:
        self.check_profile(collection)
        return self.models(collection.profile)

    def check_profile(self, collection: Collection) -> None:
        """Raise SpaceMismatchError if another profile was asked for than made the collection."""
        asked = self.settings.profile
        if asked is not None and asked != collection.profile:
            raise SpaceMismatchError(
                f"collection '{collection.name}' was made with profile {collection.profile}, and "
                f"now {asked} was asked for: their vectors do not compare. Leave --profile out, "
                "or index into another collection (--collection) or library.",
                param="profile",
            )

    def _check_space(self, collection: Collection, stored: StoredSpace) -> None:
        """Refuse to search vectors with a query from other weights than made them."""
        models = self._models_of(collection)
        embedder = models.clip if stored.space.name == "clip" else models.text
        check_same_space(stored.space, embedder.space)

    # ------------------------------------------------------------------ life with the library

    def refresh(self) -> bool:
        """Take in what was committed since the last time; True if there was anything."""
        return self.indexes.refresh()

    def start_following(self) -> None:
        """Refresh in the background, every `settings.follow_seconds`, until `close`."""
        if self._follower is None:
            self._follower = threading.Thread(
                target=self._follow, name="mmsearch-follow", daemon=True
            )
            self._follower.start()

    def _follow(self) -> None:
        while not self._stop.wait(self.settings.follow_seconds):
            try:
                self.refresh()
            except Exception:
                # The database may be away for a while; the next round tries again.
                logger.exception("could not follow the change log")

    def warm_up(self) -> None:
        """Load indexes and models now, so that the first query is as quick as the next."""
        self.refresh()
        for collection in self.store.collections():
            models = self._models_of(collection)
            models.clip.encode_texts(["warm up"], "query")
            models.text.encode_texts(["warm up"], "query")
        self._warm = True

    def ready(self) -> bool:
        """True once `warm_up` has run."""
        return self._warm

    def delete_source(self, source_id: int) -> None:
        """Remove a source from the library (its file stays where it is). NotFoundError."""
        self.store.source(source_id)
        self.store.delete_sources([source_id])
        self.refresh()

    def thumbnail_path(self, source: Source) -> Path:
        """Where the source's JPEG thumbnail is, if it has one."""
        return thumbnail_path(self.library, source.sha256)

    def status(self, *, verify: bool = False) -> dict[str, Any]:
        """Counts and index states; with `verify`, index and SQL are compared id by id."""
        self.refresh()
        status = self.store.counts()
        status["collections"] = {c.name: c.profile for c in self.store.collections()}
        status["index"] = self.indexes.stats()
        status["warnings"] = self.indexes.take_warnings()
        if verify:
            problems = [*self.store.problems(), *self.indexes.problems()]
            status["verify"] = {"ok": not problems, "problems": problems}
        return status

    def reindex(self) -> None:
        """Build every FAISS index anew from SQL and publish it."""
        self.indexes.rebuild()


def thumbnail_path(library: Path, sha256: str) -> Path:
    """Thumbnails (JPEG) are addressed by the content they show: copies share one."""
    return library / "thumbnails" / sha256[:2] / f"{sha256}.jpg"


def decode_request(settings: Settings, **wanted: Any) -> DecodeRequest:
    """A request within the limits that the settings name."""
    return DecodeRequest(
        max_image_pixels=settings.max_image_pixels,
        max_text_bytes=settings.max_text_bytes,
        max_audio_seconds=settings.max_audio_seconds,
        audio_chunk_seconds=settings.audio_chunk_seconds,
        **wanted,
    )


def _unit(vector: Vector) -> Vector:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)
