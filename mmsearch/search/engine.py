"""The search engine: one library, opened; queries in, ranked hits out.

The flow of `search_many`: plan (`plan.py`) -> embed all words of the batch -> retrieve per
channel, filters pushed down (`retrieval.py`) -> fuse (`fusion.py`) -> hits from SQL.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mmsearch.errors import MMSearchError
from mmsearch.library import Library
from mmsearch.models.rerankers.choice import NONE
from mmsearch.query import Context, Hit, Query, SearchResult, Term, file_content
from mmsearch.search.parse.json_form import check_query, modalities
from mmsearch.search.pictures import Pictures, thumbnail_path
from mmsearch.search.plan import Planner, QueryPlan
from mmsearch.search.rerank.stage import Reranked, RerankStage, positive_words
from mmsearch.search.results.explain import explained, heat_map
from mmsearch.search.results.facets import Counts, FacetCounter
from mmsearch.search.results.pages import SORT_POOL, Arrangement, Arranger
from mmsearch.search.retrieve import Retriever
from mmsearch.search.scoring.fusion import Fused, answered, fuse
from mmsearch.search.timings import Stages
from mmsearch.stores.rows import StoredSpace
from mmsearch.types import Collection, Modality, Place, Source

logger = logging.getLogger(__name__)

SMALL = 50
"""Vectors: a smaller library shows all that it has, in order, whatever is asked."""


class SearchEngine:
    """Searches an opened library. Thread-safe; close it, or use it in a `with`::

    from mmsearch import SearchEngine

    with SearchEngine.open("my-library") as engine:
        for hit in engine.search("a red boat at sunset"):
            print(hit.score, hit.source.path, hit.segment.place)
    """

    def __init__(self, library: Library) -> None:
        self.library = library
        self.settings = library.settings
        self.planner = Planner(library)
        self.retriever = Retriever(library)
        self.arranger = Arranger(library.store)
        self.facets = FacetCounter(library.store)
        self.pictures = Pictures(library.settings, library.sandbox)
        self.reranking = RerankStage(
            library.settings, library.store, self.pictures, library.rerankers
        )
        self._warm = False
        self._warmed: Sequence[StoredSpace] = ()

    @classmethod
    def open(cls, library: str | Path, **settings: Any) -> Self:
        """Open an existing library. Keyword arguments are settings (see `mmsearch.Settings`).

        Raises LibraryNotFoundError, LibraryVersionError, SettingsError.
        """
        return cls(Library.open(library, **settings))

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
        """Stop rerankers, then close the library."""
        self.reranking.close()
        self.library.close()

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
        min_score: float | None = None,
        weights: Mapping[str, float] | None = None,
        collection: str | None = None,
        rerank: str | None = None,
        explain: bool = False,
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
                weights=weights,
                collection=collection,
                rerank=rerank,
                explain=explain,
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
        for last in (False, False, True):
            self.library.refresh()
            used = set(self.library.indexes.spaces)
            try:
                answers = self._search_many(queries, began)
            except Exception:
                if last or used <= set(self.library.store.spaces.active()):
                    raise
            else:
                if last or used <= set(self.library.store.spaces.active()):
                    return answers
            # A collection was switched to other models meanwhile: ask again with those.
        raise AssertionError("the last attempt returns or raises")

    def _search_many(
        self, queries: Sequence[Query], began: float
    ) -> list[SearchResult | MMSearchError]:
        planned: list[QueryPlan | MMSearchError] = []
        arranged: dict[int, Arrangement] = {}
        last_change = self.library.store.changes.last_id()
        for query in queries:
            try:
                plan = self.planner.plan(check_query(query))
                self._set_cuts(plan)
                query = plan.query
                begun = self.arranger.begin(query, plan.collection.id, last_change)
                arranged[id(plan)] = begun
                plan.depth = max(self.settings.candidates, query.limit) + len(begun.shown)
                if query.sort:
                    plan.depth = max(plan.depth, SORT_POOL)
                planned.append(plan)
            except MMSearchError as error:
                planned.append(error)
        plans = [plan for plan in planned if isinstance(plan, QueryPlan)]
        shared = Stages(began)
        shared.done("plan")
        self.planner.embed(plans)
        shared.done("embed")
        self.retriever.retrieve([plan for plan in plans if plan.error is None])
        shared.done("retrieve")
        return [
            one
            if isinstance(one, MMSearchError)
            else one.error or self._answer(one, arranged[id(one)], shared)
            for one in planned
        ]

    def _answer(
        self, plan: QueryPlan, arranged: Arrangement, shared: Stages
    ) -> SearchResult | MMSearchError:
        """From one query's channel rankings to its page of hits."""
        stages = shared.own()
        query = plan.query
        metadata_keys = partial(self.planner.metadata_keys.of, plan.collection.id)
        try:
            self._gather(plan, arranged)
            stages.done("fuse")
            reranked = self.reranking.answer(plan, arranged.leads)
            stages.done("rerank")
            page = self.arranger.page(arranged, reranked.fused, metadata_keys)
            stages.done("hits")
            hits = self._in_context(self._told(page.hits, plan, reranked))
            stages.done("explain")
            facets: Counts = {}
            if query.facets:
                facets = self.facets.count(plan.collection.id, query, metadata_keys())
                stages.done("facets")
        except MMSearchError as error:
            return error
        warnings = (*plan.warnings, *reranked.warnings, *self.library.indexes.take_warnings())
        return SearchResult(
            query,
            hits,
            stages.took_ms,
            warnings,
            facets=facets,
            cursor=page.cursor,
            stages=stages.milliseconds,
        )

    def _gather(self, plan: QueryPlan, arranged: Arrangement) -> None:
        """Fuse and bundle; ask the channels for more until there is a page, or nothing more."""
        query = plan.query
        above = -1
        while True:
            fused = self._fused(plan)
            self.arranger.gather(arranged, fused)
            # One more than a page tells whether there is a next one.
            if arranged.size > query.limit or not plan.more:
                return
            if query.sort and query.cursor:
                return  # a sorted search ends with the candidates that it began with
            before, above = above, sum(one.score >= (query.min_score or 0) for one in fused)
            if above == before:
                return  # what lies deeper scores too little
            plan.depth *= 4
            self.retriever.retrieve([plan])
            if plan.error is not None:
                raise plan.error

    def _set_cuts(self, plan: QueryPlan) -> None:
        """What a query without a min_score of its own leaves out.

        Words may have no answer, and then the least bad is none. But a picture is like
        something, who filters wants what passes in order, and of a handful one sees all.
        """
        if plan.query.min_score is not None:
            return
        cut = (
            plan.kind == "words"
            and plan.allowed is None
            and self.retriever.size(plan.collection) >= SMALL
        )
        plan.query = replace(plan.query, min_score=self.settings.min_score if cut else 0.0)
        plan.answer_score = self.settings.answer_score if cut else 0.0

    def _fused(self, plan: QueryPlan) -> list[Fused]:
        every = sum(len(ranking.ids) for ranking in plan.rankings)
        fused = fuse(plan.rankings, every, self.settings.fusion)
        if fused and not answered(plan.rankings, fused[0].score, plan.answer_score):
            return []
        return fused

    def _told(self, hits: tuple[Hit, ...], plan: QueryPlan, reranked: Reranked) -> tuple[Hit, ...]:
        """With reasons and explanations, where they were asked for."""
        if plan.query.reasons:
            hits = tuple(
                replace(hit, reason=reranked.rerank_scores[hit.segment.id].reason)
                if hit.segment.id in reranked.rerank_scores
                else hit
                for hit in hits
            )
        if not plan.query.explain:
            return hits
        words = positive_words(plan)
        return explained(hits, words, self.library.models_of(plan.collection), reranked.scored_by)

    def _in_context(self, hits: tuple[Hit, ...]) -> tuple[Hit, ...]:
        """With what was said before and after the words that were found."""
        spoken = [hit.segment.id for hit in hits if hit.segment.modality is Modality.SPEECH]
        around = self.library.store.segments.neighbour_texts(spoken) if spoken else {}
        return tuple(
            replace(hit, context=Context(*around[hit.segment.id]))
            if hit.segment.id in around
            else hit
            for hit in hits
        )

    def heat_map(self, segment_id: int, text: str) -> npt.NDArray[np.float32]:
        """Where in a picture, frame or page the words match: (h, w) in 0..1 over the whole of it.

        Raises QueryError (no picture, no words), NotFoundError.
        """
        segment = self.library.store.segments.get(segment_id)
        source = self.library.store.sources.get(segment.source_id)
        collections = {c.id: c for c in self.library.store.collections.list()}
        collection = collections[source.collection_id]
        models = self.library.models_of(collection)
        return heat_map(segment, source, text, models, self.pictures)

    # ------------------------------------------------------------------ readiness

    def start_following(self) -> None:
        """Refresh in the background, and load the models of collections that are switched."""
        self.library.follow(self._warm_switched)

    def _warm_switched(self) -> None:
        if self._warm and set(self._warmed) != set(self.library.indexes.spaces):
            self.warm_up()

    def warm_up(self) -> None:
        """Load indexes and models now, so that the first query is as quick as the next."""
        self.library.refresh()
        self._warmed = self.library.indexes.spaces
        for collection in self.library.store.collections.list():
            models = self.library.models_of(collection)
            models.clip.encode_texts(["warm up"], "query")
            models.text.encode_texts(["warm up"], "query")
            self.calibrate(collection)
            if self.settings.rerank != NONE:
                self.reranking.warm_up(collection.profile)
        self._warm = True

    def calibrate(self, collection: Collection) -> None:
        """Measure background similarities where that is missing; else the next query does it."""
        self.retriever.calibrations.prepare(collection)

    def ready(self) -> bool:
        """True once `warm_up` has run."""
        return self._warm

    def thumbnail_path(self, source: Source, place: Place | None = None) -> Path:
        """Where the source's JPEG thumbnail is, if it has one."""
        return thumbnail_path(self.library.path, source.sha256, place)
