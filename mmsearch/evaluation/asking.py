"""Asks an engine every query of a data set and keeps what each stage answered.

The first stage's channels are seen one by one (what `clip:image` alone ranks first), then the
engine's own answer, fused and, if it is set so, reranked. Hits are segments; what is judged are
items (files), so an item counts where its best segment stands.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from mmsearch.errors import MMSearchError, QueryError
from mmsearch.evaluation.dataset import Dataset, EvalQuery
from mmsearch.evaluation.reciprocal_ranks import reciprocal_rank_fusion
from mmsearch.evaluation.runs import Ranking, Run
from mmsearch.query import Query, Term
from mmsearch.search.engine import SearchEngine
from mmsearch.search.scoring.rankings import Rankings
from mmsearch.types import Modality

BATCH = 16
DEPTH = 100
"""Hits asked for, as in most published figures."""

FUSED = "fused"


@dataclass(slots=True)
class IndexedDataset:
    """A data set as it lies in an opened library."""

    engine: SearchEngine
    collection: str
    items: Mapping[str, str]
    """Source URI to item id; sources that are no items of the data set are not there."""
    _known: dict[int, str | None] = field(default_factory=dict)

    def item_of(self, segments: Sequence[int]) -> list[str | None]:
        """The item of each segment, None for one that is gone or of something else."""
        unknown = [segment for segment in segments if segment not in self._known]
        if unknown:
            rows = self.engine.library.store.segments.with_sources(unknown)
            for segment in unknown:
                uri = rows[segment][1].uri if segment in rows else None
                self._known[segment] = self.items.get(uri) if uri is not None else None
        return [self._known[segment] for segment in segments]


def ask(
    library: IndexedDataset,
    dataset: Dataset,
    name: str = FUSED,
    *,
    depth: int = DEPTH,
    without: Sequence[str] = (),
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Run:
    """The engine's own answers: `name` is the run's, `without` leaves channels out, `options`
    are fields of `Query` (rerank, exact ...).

    A query that fails gets an empty ranking and a warning; if all fail, the last error is
    raised. Raises QueryError for an unknown channel in `without`.
    """
    check_channels(without)
    rankings: dict[str, Ranking] = {}
    warnings: dict[str, None] = {}
    milliseconds: list[float] = []
    failed = 0
    for queries in _batches(dataset.queries):
        began = time.perf_counter()
        requests = [replace(_query(library, query, depth), **options) for query in queries]
        if without:
            requests = [
                replace(request, weights=dict.fromkeys(without, 0.0)) for request in requests
            ]
        answers = library.engine.search_many(requests)
        milliseconds += [(time.perf_counter() - began) * 1e3 / len(queries)] * len(queries)
        for query, answer in zip(queries, answers, strict=True):
            if isinstance(answer, MMSearchError):
                warnings[f"query {query.id}: {answer.message}"] = None
                rankings[query.id] = ()
                failed += 1
                if failed == len(dataset.queries):
                    raise answer
                continue
            warnings.update(dict.fromkeys(answer.warnings))
            items = library.item_of([hit.segment.id for hit in answer.hits])
            rankings[query.id] = _once(
                (item, hit.score) for item, hit in zip(items, answer.hits, strict=True)
            )
    return Run(
        name,
        dataset.name,
        rankings,
        about={
            "milliseconds_per_query": round(float(np.mean(milliseconds)), 2),
            "failed_queries": failed,
        },
        warnings=tuple(warnings),
    )


def ask_reciprocal_ranks(
    library: IndexedDataset, dataset: Dataset, name: str, *, depth: int = DEPTH
) -> Run:
    """The first stage's channels joined by reciprocal ranks instead of calibrated scores."""
    rankings: dict[str, Ranking] = {}
    milliseconds: list[float] = []
    began = time.perf_counter()
    for queries, ranked in _ranked(library, dataset, depth):
        for query, channels in zip(queries, ranked, strict=True):
            fused = reciprocal_rank_fusion(channels.channels)
            items = library.item_of([segment.id for segment in fused])
            scored = zip(items, (segment.score for segment in fused), strict=True)
            rankings[query.id] = _once(scored)[:depth]
        milliseconds += [(time.perf_counter() - began) * 1e3 / len(queries)] * len(queries)
        began = time.perf_counter()
    about = {"milliseconds_per_query": round(float(np.mean(milliseconds)), 2), "failed_queries": 0}
    return Run(name, dataset.name, rankings, about=about)


def ask_channels(
    library: IndexedDataset, dataset: Dataset, *, depth: int = DEPTH, exact: bool = False
) -> dict[str, Run]:
    """What each channel of the first stage ranks, alone: run by channel name."""
    rankings: dict[str, dict[str, Ranking]] = {}
    for queries, ranked in _ranked(library, dataset, depth, exact=exact):
        for query, ranked_query in zip(queries, ranked, strict=True):
            for channel in ranked_query.channels:
                items = library.item_of(channel.ids.tolist())
                scored = zip(items, channel.scores.tolist(), strict=True)
                rankings.setdefault(channel.name, {})[query.id] = _once(scored)[:depth]
    return {
        name: Run(name, dataset.name, {q.id: by_query.get(q.id, ()) for q in dataset.queries})
        for name, by_query in sorted(rankings.items())
    }


def ask_raw_cosine(
    library: IndexedDataset, dataset: Dataset, *, depth: int = DEPTH
) -> dict[str, Run]:
    """What sorting raw cosines of different modalities together gives: the naive baselines.

    `raw cosine`: the engine's own vector channels, merged by cosine as if they compared.
    `raw cosine, clip`: everything in the one CLIP space, as most demonstrations do it.
    """
    merged: dict[str, Ranking] = {}
    for queries, ranked in _ranked(library, dataset, depth):
        for query, ranked_query in zip(queries, ranked, strict=True):
            merged[query.id] = _by_score(library, ranked_query, depth)
    collection = library.engine.library.store.collections.get(library.collection)
    models = library.engine.library.collection_models.of(collection)
    clip: dict[str, Ranking] = {}
    for queries in _batches([query for query in dataset.queries if query.text is not None]):
        vectors = models.clip.encode_texts([query.text or "" for query in queries], "query")
        requests = [
            Query(
                terms=(Term(vector=tuple(vector.tolist()), space="clip"),),
                limit=depth,
                collection=library.collection,
            )
            for vector in vectors
        ]
        for query, ranked_query in zip(
            queries, library.engine.rank_channels(requests), strict=True
        ):
            clip[query.id] = _by_score(library, ranked_query, depth)
    runs = {"raw cosine": merged, "raw cosine, clip": clip}
    return {
        name: Run(name, dataset.name, {q.id: by_query.get(q.id, ()) for q in dataset.queries})
        for name, by_query in runs.items()
    }


def approximation(library: IndexedDataset, dataset: Dataset, *, k: int = 10) -> dict[str, float]:
    """Per channel: the share of the exact search's best k that the index also finds."""
    indexed = ask_channels(library, dataset, depth=k)
    exact = ask_channels(library, dataset, depth=k, exact=True)
    shares: dict[str, float] = {}
    for name, run in exact.items():
        recalls = [
            len({i for i, _ in truth} & {i for i, _ in indexed[name].rankings[query]}) / len(truth)
            for query, truth in run.rankings.items()
            if truth and name in indexed
        ]
        shares[name] = float(np.mean(recalls)) if recalls else 0.0
    return shares


# ---------------------------------------------------------------- parts


def _query(
    library: IndexedDataset, evaluated: EvalQuery, depth: int, *, exact: bool = False
) -> Query:
    """Everything is ranked: whether an answer is good enough to be shown is another question."""
    query = evaluated.to_query(depth, library.collection)
    return replace(query, exact=exact, group="source", best=1, min_score=0.0)


CHANNELS: tuple[str, ...] = ("clip", "text", "sound", "lexical")


def check_channels(names: Iterable[str]) -> None:
    """Raise QueryError for a channel that no library could have."""
    for name in names:
        space, colon, modality = name.partition(":")
        if space not in CHANNELS or (colon and modality not in set(Modality)):
            raise QueryError(
                f"there is no channel '{name}'. Channels: {', '.join(CHANNELS)}, or one modality "
                "of such, as clip:image.",
                param="without",
            )


def _ranked(
    library: IndexedDataset, dataset: Dataset, depth: int, *, exact: bool = False
) -> Iterator[tuple[Sequence[EvalQuery], list[Rankings]]]:
    """The engine's first stage for all queries, in batches. Raises what a query raises."""
    for queries in _batches(dataset.queries):
        requests = [_query(library, query, depth, exact=exact) for query in queries]
        yield queries, library.engine.rank_channels(requests)


def _by_score(library: IndexedDataset, rankings: Rankings, depth: int) -> Ranking:
    """All vector channels as one list by raw cosine."""
    scored = [
        (score, segment)
        for channel in rankings.channels
        if not channel.name.startswith("lexical")
        for segment, score in zip(channel.ids.tolist(), channel.scores.tolist(), strict=True)
    ]
    scored.sort(reverse=True)
    items = library.item_of([segment for _, segment in scored])
    return _once(zip(items, (score for score, _ in scored), strict=True))[:depth]


def _once(scored: Iterable[tuple[str | None, float]]) -> Ranking:
    """Each item where its best segment stands; foreign segments left out."""
    best: dict[str, float] = {}
    for item, score in scored:
        if item is not None:
            best.setdefault(item, score)
    return tuple(best.items())


def _batches(queries: Sequence[EvalQuery]) -> Iterator[Sequence[EvalQuery]]:
    for start in range(0, len(queries), BATCH):
        yield queries[start : start + BATCH]


def describe(library: IndexedDataset) -> dict[str, Any]:
    """Models and sizes, for the head of a report."""
    store = library.engine.library.store
    collection = store.collections.get(library.collection)
    return {
        "collection": collection.name,
        "profile": collection.profile,
        "spaces": {
            stored.space.name: f"{stored.space.model} {stored.space.revision}".strip()
            for stored in store.spaces.active(collection.id)
            if stored.state == "active"
        },
    }
