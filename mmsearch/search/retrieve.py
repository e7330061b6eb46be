"""The third stage: each channel ranks the segments that may come back.

Filters are pushed down, so that a channel returns as many candidates as exist.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from mmsearch.errors import DimensionError, MMSearchError
from mmsearch.library import Library
from mmsearch.protocols import VectorIndex
from mmsearch.search.channels import LEXICAL, Channel
from mmsearch.search.embed import EmbeddedQuery
from mmsearch.search.scoring.calibration import Calibration, Calibrations
from mmsearch.search.scoring.no_answer import needs_certainty
from mmsearch.search.scoring.rankings import ChannelRanking, Rankings, with_weights
from mmsearch.stores.rows import StoredSpace
from mmsearch.types import Ids, Modality, SearchParams, Vectors, WordUnit

OVERFETCH = 16
"""Candidates beyond the limit, in place of those deleted between the index and SQL."""

_EMPTY = np.empty(0, np.int64)


@dataclass(slots=True, eq=False)
class _Pending:
    """The rankings of one query while its channels are searched."""

    embedded: EmbeddedQuery
    depth: int
    rankings: list[ChannelRanking] = field(default_factory=list)
    exhausted: bool = True
    error: MMSearchError | None = None

    @property
    def shares_scans(self) -> bool:
        planned = self.embedded.planned
        return planned.allowed is None and not planned.query.exact

    @property
    def k(self) -> int:
        """How many candidates a channel is asked for."""
        planned = self.embedded.planned
        return max(self.depth, planned.query.limit) + len(planned.excluded) + OVERFETCH

    def not_excluded(self, ids: Ids) -> npt.NDArray[np.bool_]:
        excluded = self.embedded.planned.excluded
        return ~np.isin(ids, list(excluded)) if excluded else np.ones(len(ids), np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class _Scan:
    """Which index is searched, and how."""

    index: VectorIndex
    stored: StoredSpace
    channel: Channel
    allowed: Ids | None = None
    params: SearchParams = field(default_factory=SearchParams)


class Retriever:
    """Searches every channel of a library. Thread-safe."""

    def __init__(self, library: Library, calibrations: Calibrations) -> None:
        self._settings = library.settings
        self._store = library.store
        self._indexes = library.indexes
        self._calibrations = calibrations

    def retrieve(
        self, batch: Sequence[EmbeddedQuery | MMSearchError], *, depth: int | None = None
    ) -> list[Rankings | MMSearchError]:
        """The rankings of each query; its error takes its place.

        Queries of one channel without a filter share a scan. `depth` replaces the number of
        candidates that the queries were planned with.
        """
        entries = [
            query
            if isinstance(query, MMSearchError)
            else _Pending(query, query.planned.depth if depth is None else depth)
            for query in batch
        ]
        pending = [entry for entry in entries if isinstance(entry, _Pending)]
        self._search_vectors(pending)
        for query in pending:
            if query.error is None:
                self._search_words(query)
        return [
            entry if isinstance(entry, MMSearchError) else entry.error or self._finished(entry)
            for entry in entries
        ]

    def _finished(self, query: _Pending) -> Rankings:
        """Weights: the library's, replaced by the collection's, replaced by the query's."""
        planned = query.embedded.planned
        weights = {
            **self._settings.weights,
            **dict(planned.collection.weights),
            **(planned.query.weights or {}),
        }
        channels = tuple(with_weights(query.rankings, weights))
        return Rankings(channels, query.depth, query.exhausted)

    # ------------------------------------------------------------------ vectors

    def _search_vectors(self, pending: Sequence[_Pending]) -> None:
        by_channel: dict[tuple[int, Channel], list[_Pending]] = {}
        for query in pending:
            for channel in query.embedded.vectors:
                key = (query.embedded.planned.collection.id, channel)
                by_channel.setdefault(key, []).append(query)
        for (_, channel), members in by_channel.items():
            stored = members[0].embedded.planned.spaces[channel[0]]
            index = self._indexes.get(stored.id, channel[1])
            if index is None or not len(index):
                continue
            shared = [query for query in members if query.shares_scans]
            if shared:
                self._scan_isolated(_Scan(index, stored, channel), shared)
            for query in members:
                if not query.shares_scans:
                    planned = query.embedded.planned
                    allowed = None
                    if planned.allowed is not None:
                        allowed = planned.allowed.get(channel[1], _EMPTY)
                    params = SearchParams(exact=planned.query.exact)
                    self._scan_isolated(_Scan(index, stored, channel, allowed, params), [query])

    def _scan_isolated(self, scan: _Scan, queries: Sequence[_Pending]) -> None:
        """Scan; an error becomes that of the queries, a bad vector that of its query alone."""
        try:
            rankings = self._scan(scan, queries)
        except DimensionError as error:
            # An index refuses vectors of a wrong shape or without a direction (NaN, infinite).
            if len(queries) == 1:
                queries[0].error = error
                return
            for query in queries:
                self._scan_isolated(scan, [query])
            return
        except MMSearchError as error:
            for query in queries:
                query.error = error
            return
        for query, (ranking, exhausted) in zip(queries, rankings, strict=True):
            query.exhausted &= exhausted
            query.rankings.append(ranking)

    def _scan(self, scan: _Scan, queries: Sequence[_Pending]) -> list[tuple[ChannelRanking, bool]]:
        """One search of an index for all queries: rankings, and whether that is all there is."""
        (space, modality), index = scan.channel, scan.index
        vectors = np.stack([query.embedded.vectors[scan.channel] for query in queries])
        calibrations = [
            self._calibrations.of(
                query.embedded.planned.collection,
                scan.stored,
                modality,
                query.embedded.planned.kind,
            )
            for query in queries
        ]
        # Rows of the same search: what the certainty of the channel is computed from.
        extra_rows = {
            row: calibration.minus_background(vectors[row])
            for row, calibration in enumerate(calibrations)
            if calibration is not None and needs_certainty(calibration, modality)
        }
        scores, ids = index.search(
            np.stack([*vectors, *extra_rows.values()]),
            min(max(query.k for query in queries), len(index)),
            allowed=scan.allowed,
            params=scan.params,
        )
        best = dict(zip(extra_rows, scores[len(queries) :, 0].tolist(), strict=True))
        available = len(index) if scan.allowed is None else min(len(scan.allowed), len(index))
        rankings: list[tuple[ChannelRanking, bool]] = []
        for row, (query, calibration) in enumerate(zip(queries, calibrations, strict=True)):
            valid = (ids[row] >= 0) & query.not_excluded(ids[row])
            # Each query's own depth, so that its answer does not depend on the batch.
            valid[query.k :] = False
            ranking = ChannelRanking(
                name=f"{space}:{modality.value}",
                modality=modality,
                ids=ids[row][valid],
                scores=scores[row][valid],
            )
            if calibration is not None:
                sampled = self._calibrations.sampled(scan.stored, modality, vectors[row])
                ranking = with_calibration(ranking, calibration, sampled, best.get(row))
            rankings.append((ranking, query.k >= available))
        return rankings

    # ------------------------------------------------------------------ full text

    def _search_words(self, query: _Pending) -> None:
        """Full text. Words that are only for some modalities are searched separately."""
        planned = query.embedded.planned
        groups: dict[tuple[WordUnit, ...], list[Modality]] = {}
        for modality in Modality:
            units = tuple(unit for unit, modalities in planned.words if modality in modalities)
            if any(unit.weight > 0 for unit in units):
                groups.setdefault(units, []).append(modality)
        for units, modalities in groups.items():
            allowed = None
            if planned.allowed is not None:
                allowed = {m: planned.allowed[m] for m in modalities if m in planned.allowed}
            answer = self._store.lexical.search(
                planned.collection.id,
                units,
                query.k,
                allowed=allowed,
                totals=planned.snapshot.lexical_totals(planned.collection.id),
            )
            for modality, ranking in answer.rankings.items():
                if modality not in modalities:
                    continue
                query.exhausted &= len(ranking.ids) < query.k
                valid = query.not_excluded(ranking.ids)
                query.rankings.append(
                    ChannelRanking(
                        name=f"{LEXICAL}:{modality.value}",
                        modality=modality,
                        ids=ranking.ids[valid],
                        scores=ranking.scores[valid],
                        coverage=ranking.shares[valid],
                    )
                )


def with_calibration(
    ranking: ChannelRanking,
    calibration: Calibration,
    sampled: Vectors,
    best: float | None,
) -> ChannelRanking:
    """The ranking with what is known of its channel.

    `sampled` are the query's similarities to a sample of the channel. `best` is its highest
    similarity after `Calibration.minus_background`: None if that was not searched, infinite if
    nothing was allowed.
    """
    ranking = replace(
        ranking,
        evidence=calibration.evidence(ranking.scores, sampled),
        background_evidence=calibration.background_evidence,
        true_positive_rate=calibration.true_positive_rate,
    )
    if best is None or not math.isfinite(best):
        return ranking
    return replace(
        ranking,
        certainty=float(calibration.certainty(best)),
        background_certainties=calibration.background_certainties,
    )
