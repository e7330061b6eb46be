"""The search engine: queries in, ranked hits out.

`search_many` is the flow: plan (`plan.py`) -> embed (`embed.py`) -> retrieve (`retrieve.py`) ->
score (`scoring/`) -> collapse (`results/collapse.py`) -> rerank (`rerank/`) -> page
(`results/pages.py`). Each stage takes a frozen value and returns the next one:
`PlannedQuery -> EmbeddedQuery -> Rankings -> Ranked -> HitGroup -> Page`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

import numpy as np
import numpy.typing as npt

from mmsearch.errors import MMSearchError, StorageError
from mmsearch.library import Library, LibrarySnapshot
from mmsearch.models.sets import ModelSet
from mmsearch.protocols import Reranker
from mmsearch.query import Query, SearchOptions, SearchResult
from mmsearch.search.compose import Composer
from mmsearch.search.embed import EmbeddedQuery, QueryEmbedder
from mmsearch.search.parse.request import query_of
from mmsearch.search.pictures import Pictures, thumbnail_path
from mmsearch.search.plan import PlannedQuery, Planner
from mmsearch.search.rerank.stage import RerankStage
from mmsearch.search.results.collapse import Collapser, HitGroup, hit_count
from mmsearch.search.results.context import with_context
from mmsearch.search.results.explain import explained, heat_map, with_reasons
from mmsearch.search.results.facets import Counts, FacetCounter
from mmsearch.search.results.pages import ResultPager
from mmsearch.search.retrieve import Retriever
from mmsearch.search.scoring.calibration import Calibrations
from mmsearch.search.scoring.constants import CONSTANTS, ScoringConstants
from mmsearch.search.scoring.fusion import score
from mmsearch.search.scoring.rankings import Rankings
from mmsearch.search.timings import StageTimer
from mmsearch.search.warm_up import WarmUp
from mmsearch.settings_options import SettingsOptions
from mmsearch.stores.database import release_read
from mmsearch.types import Place, Source

logger = logging.getLogger(__name__)

DEEPER = 4
"""Factor by which channels are asked for more candidates when there are too few for a page."""


class SearchEngine:
    """Searches an opened library. Thread-safe; close it, or use it in a `with`::

    from mmsearch import SearchEngine

    with SearchEngine.open("my-library") as engine:
        for hit in engine.search("a red boat at sunset").hits:
            print(hit.score, hit.source.path, hit.segment.place)
    """

    def __init__(self, library: Library, constants: ScoringConstants = CONSTANTS) -> None:
        self.library = library
        self.settings = library.settings
        self.constants = constants
        composer = Composer(library.store, library.indexes)
        self.calibrations = Calibrations(library, composer)
        self.planner = Planner(library, constants)
        self.embedder = QueryEmbedder(library.indexes, composer)
        self.retriever = Retriever(library, self.calibrations)
        self.collapser = Collapser(library.store)
        self.pictures = Pictures(library.settings, library.sandbox)
        self.reranking = RerankStage(
            library.settings, library.store, self.pictures, library.rerankers
        )
        self.pager = ResultPager(library.store)
        self.facets = FacetCounter(library.store)
        self._warm_up = WarmUp(library, self.calibrations, self.reranking)
        if self.settings.fusion == "ranks":
            logger.warning("the setting fusion=ranks has no effect any more: scores are used")

    @classmethod
    def open(
        cls,
        library: str | Path | None = None,
        *,
        create: bool = False,
        models: Callable[..., ModelSet] | None = None,
        rerankers: Callable[[str, str], Sequence[Reranker]] | None = None,
        **settings: Unpack[SettingsOptions],
    ) -> Self:
        """Open the library in a folder, with the arguments of `Library.open`.

        Raises LibraryNotFoundError, LibraryVersionError, SettingsError, StorageError.
        """
        return cls(
            Library.open(library, create=create, models=models, rerankers=rerankers, **settings)
        )

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
        **options: Unpack[SearchOptions],
    ) -> SearchResult:
        """Find segments by words, a picture, a recording, another segment, or a mix of them.

        `query` is a text in the query language (docs/queries.md) or a ready `Query`, which has its
        own options. `modality` is short for `modalities`. Files named as `image` or `audio` are
        read; the words of `query` never name a file. `options` are those of
        `mmsearch.query.SearchOptions`: without, modalities, filter, limit, min_score, weights,
        collection, exact, sort, group, fold, diversity, facets, cursor, rerank, reasons, explain.
        Raises QueryError, MediaError (a picture or recording that cannot be read), NotFoundError.
        """
        query = query_of(
            query,
            image=image,
            audio=audio,
            like=like,
            modality=modality,
            default_limit=self.settings.limit,
            **options,
        )
        answer = self.search_many([query])[0]
        if isinstance(answer, MMSearchError):
            raise answer
        return answer

    def search_many(self, queries: Sequence[Query]) -> list[SearchResult | MMSearchError]:
        """Answer several queries at once, sharing model calls and index scans.

        The error of a query takes its place; the others are answered. The batch runs on one
        snapshot of the library. If a collection was switched to other models meanwhile, the batch
        is run once more on the new snapshot. So it is if the database was away for a moment.
        """
        try:
            answers = self._search_many(queries)
        except StorageError:
            return self._search_many(queries)
        if any(isinstance(answer, StorageError) for answer in answers):
            return self._search_many(queries)
        return answers

    def _search_many(self, queries: Sequence[Query]) -> list[SearchResult | MMSearchError]:
        began = time.perf_counter()
        with self.library.store.database.reading():
            snapshot = self.library.snapshot()
            answers = self._search_on(snapshot, queries, began)
            if self.library.switched_since(snapshot):
                release_read(self.library.store.database.engine)
                answers = self._search_on(self.library.snapshot(), queries, began)
        return answers

    def _search_on(
        self, snapshot: LibrarySnapshot, queries: Sequence[Query], began: float
    ) -> list[SearchResult | MMSearchError]:
        timer = StageTimer(began)
        planned = self.planner.plan_all(queries, snapshot)
        timer.done("plan")
        # Models take their time: no transaction stays open meanwhile.
        release_read(self.library.store.database.engine)
        embedded = self.embedder.embed(planned)
        timer.done("embed")
        rankings = self.retriever.retrieve(embedded)
        timer.done("retrieve")
        return [
            self._answer(query, ranking, timer.for_query())
            for query, ranking in zip(embedded, rankings, strict=True)
        ]

    def _answer(
        self,
        embedded: EmbeddedQuery | MMSearchError,
        rankings: Rankings | MMSearchError,
        timer: StageTimer,
    ) -> SearchResult | MMSearchError:
        """From the channel rankings of one query to its page of hits."""
        if isinstance(embedded, MMSearchError):
            return embedded
        if isinstance(rankings, MMSearchError):
            return rankings
        planned, query = embedded.planned, embedded.planned.query
        try:
            groups = self._collapsed(embedded, rankings)
            timer.done("fuse")
            reranked = self.reranking.rerank(planned, [group.representative for group in groups])
            timer.done("rerank")
            page = self.pager.page(planned, groups, reranked.segments)
            timer.done("hits")
            hits = with_reasons(page.hits, reranked.rerank_scores) if query.reasons else page.hits
            if query.explain:
                release_read(self.library.store.database.engine)
                words, scored_by = planned.positive_words, reranked.scored_by
                hits = explained(hits, words, planned.models, scored_by)
            hits = with_context(hits, self.library.store)
            timer.done("explain")
            facets: Counts = {}
            if query.facets:
                facets = self._facets(planned)
                timer.done("facets")
        except MMSearchError as error:
            return error
        of_indexes = self.library.indexes.warnings(planned.collection.id)
        return SearchResult(
            query,
            hits,
            timer.took_ms,
            (*planned.warnings, *embedded.warnings, *reranked.warnings, *of_indexes),
            facets=facets,
            cursor=page.cursor,
            stages=timer.milliseconds,
        )

    def _collapsed(self, embedded: EmbeddedQuery, rankings: Rankings) -> list[HitGroup]:
        """Score and collapse; ask the channels for more until there is a page, or nothing more."""
        planned, query = embedded.planned, embedded.planned.query
        passing = -1
        while True:
            ranked = score(rankings.channels, planned.thresholds, self.constants)
            groups = self.collapser.collapse(planned, ranked)
            # One more than a page shows that there is a next one.
            if hit_count(groups, query) > query.limit or rankings.exhausted:
                return groups
            if query.sort and query.cursor:
                return groups  # all pages of a sorted search come from the first page's candidates
            if len(ranked.segments) == passing:
                return groups  # deeper candidates score too little
            passing = len(ranked.segments)
            [deeper] = self.retriever.retrieve([embedded], depth=DEEPER * rankings.depth)
            if isinstance(deeper, MMSearchError):
                raise deeper
            rankings = deeper

    def _facets(self, planned: PlannedQuery) -> Counts:
        keys = planned.snapshot.metadata_keys(planned.collection.id)
        last_change = planned.snapshot.last_change
        return self.facets.count(planned.collection.id, planned.query, keys, last_change)

    def rank_channels(self, queries: Sequence[Query]) -> list[Rankings]:
        """The first stage alone: what each channel ranks for each query.

        Raises the first error of any of them.
        """
        with self.library.store.database.reading():
            planned = self.planner.plan_all(queries, self.library.snapshot())
            release_read(self.library.store.database.engine)
            rankings = self.retriever.retrieve(self.embedder.embed(planned))
        ranked: list[Rankings] = []
        for ranking in rankings:
            if isinstance(ranking, MMSearchError):
                raise ranking
            ranked.append(ranking)
        return ranked

    def heat_map(self, segment_id: int, text: str) -> npt.NDArray[np.float32]:
        """Where in a picture, frame or page the words match: (h, w) in 0..1 over the whole of it.

        Raises QueryError (no picture, no words), NotFoundError.
        """
        segment = self.library.store.segments.get(segment_id)
        source = self.library.store.sources.get(segment.source_id)
        collections = {c.id: c for c in self.library.store.collections.list()}
        models = self.library.models_of(collections[source.collection_id])
        return heat_map(segment, source, text, models, self.pictures)

    # ------------------------------------------------------------------ readiness

    def start_following(self) -> None:
        """Refresh in the background, and load the models of collections that are switched."""
        self.library.follow(self._warm_up.run_again_if_switched)

    def warm_up(self) -> None:
        """Load indexes and models now, so that the first query is as quick as the next."""
        self._warm_up.run()

    def ready(self) -> bool:
        """True once `warm_up` has run."""
        return self._warm_up.done

    def warm_up_notes(self) -> tuple[str, ...]:
        """Why some collections cannot be searched, although others can."""
        return self._warm_up.notes

    def thumbnail_path(self, source: Source, place: Place | None = None) -> Path:
        """Where the source's JPEG thumbnail is, if it has one."""
        return thumbnail_path(self.library.path, source.sha256, place)
