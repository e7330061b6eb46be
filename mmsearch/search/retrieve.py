"""The first stage: each channel's own ranking of the segments that may come back.

Filters are pushed down, so that a channel returns as many candidates as exist.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mmsearch.errors import MMSearchError
from mmsearch.library import Library
from mmsearch.search.compose import Composer
from mmsearch.search.plan import LEXICAL, Channel, QueryPlan
from mmsearch.search.scoring.calibration import Calibration, Calibrations
from mmsearch.search.scoring.fusion import ChannelRanking, weighted
from mmsearch.stores.rows import StoredSpace, check_same_space
from mmsearch.types import VERBAL, Collection, Ids, Modality, SearchParams, Vectors, WordUnit

NOTHING = np.empty(0, np.int64)


SPARE = 16
"""Candidates beyond the limit, for those deleted between the index and SQL."""


class Retriever:
    """Ranks the segments of every channel that a plan looks into. Thread-safe."""

    def __init__(self, library: Library) -> None:
        self.settings = library.settings
        self.store = library.store
        self.indexes = library.indexes
        self.models_of = library.models_of
        self.composer = Composer(library.store, library.indexes)
        self.calibrations = Calibrations(library, self.composer)

    def retrieve(self, plans: Sequence[QueryPlan]) -> None:
        """Fill in `rankings` of all plans; unfiltered queries of a channel share a scan.

        What goes wrong becomes the `error` of the plans that it concerns.
        """
        jobs: dict[tuple[int, Channel], list[QueryPlan]] = {}
        for plan in plans:
            plan.rankings, plan.more = [], False
            for channel in plan.parts:
                jobs.setdefault((plan.collection.id, channel), []).append(plan)
        # As the indexes know them: a space without its indexes has no answers.
        spaces = {(s.collection_id, s.space.name): s for s in self.indexes.spaces}
        for (collection_id, channel), members in jobs.items():
            stored = spaces.get((collection_id, channel[0]))
            if stored is None:
                continue
            try:
                self._rank(stored, channel, members)
            except MMSearchError as error:
                for plan in members:
                    plan.error = error
        for plan in plans:
            if plan.error is None:
                self._look_for_words(plan)
                plan.rankings = weighted(plan.rankings, self._weights(plan))

    def size(self, collection: Collection) -> int:
        """Vectors of a collection, in all spaces."""
        indexes = [
            self.indexes.get(stored.id, modality)
            for stored in self.indexes.spaces
            if stored.collection_id == collection.id
            for modality in Modality
        ]
        return sum(len(index) for index in indexes if index is not None)

    def _weights(self, plan: QueryPlan) -> dict[str, float]:
        """Of channels: the library's, over them the collection's, over them the query's."""
        own = plan.collection.weights
        return {**self.settings.weights, **dict(own), **(plan.query.weights or {})}

    def _look_for_words(self, plan: QueryPlan) -> None:
        """Full text; words that are only for some modalities are looked for on their own."""
        apart: dict[tuple[WordUnit, ...], list[Modality]] = {}
        for modality in Modality:
            units = tuple(unit for unit, where in plan.words if modality in where)
            if any(unit.weight > 0 for unit in units):
                apart.setdefault(units, []).append(modality)
        for units, modalities in apart.items():
            allowed = None
            if plan.allowed is not None:
                allowed = {m: plan.allowed[m] for m in modalities if m in plan.allowed}
            wanted = max(plan.depth, plan.query.limit) + len(plan.excluded) + SPARE
            answer = self.store.lexical.search(plan.collection.id, units, wanted, allowed=allowed)
            for modality, found in answer.rankings.items():
                if modality not in modalities:
                    continue
                plan.more |= len(found.ids) >= wanted
                keep = ~np.isin(found.ids, list(plan.excluded))
                plan.rankings.append(
                    ChannelRanking(
                        name=f"{LEXICAL}:{modality.value}",
                        modality=modality,
                        ids=found.ids[keep],
                        scores=found.scores[keep],
                        shares=found.shares[keep],
                    )
                )

    def _rank(self, stored: StoredSpace, channel: Channel, members: Sequence[QueryPlan]) -> None:
        together = [p for p in members if p.allowed is None and not p.query.exact]
        if together:
            self._scan(stored, channel, together, None, SearchParams())
        for plan in members:
            if plan not in together:
                allowed = None if plan.allowed is None else plan.allowed.get(channel[1], NOTHING)
                self._scan(stored, channel, [plan], allowed, SearchParams(exact=plan.query.exact))

    def _scan(
        self,
        stored: StoredSpace,
        channel: Channel,
        plans: Sequence[QueryPlan],
        allowed: Ids | None,
        params: SearchParams,
    ) -> None:
        index = self.indexes.get(stored.id, channel[1])
        if index is None or not len(index) or (allowed is not None and not len(allowed)):
            return
        self._check_space(plans[0].collection, stored)
        plans = [plan for plan in plans if self._has_direction(plan, stored, channel)]
        if not plans:
            return
        wanted = [max(p.depth, p.query.limit) + len(p.excluded) + SPARE for p in plans]
        there = len(index) if allowed is None else min(len(allowed), len(index))
        queries = np.stack([p.vectors[channel] for p in plans])
        calibrations = [
            self.calibrations.of(p.collection, stored, channel[1], p.kind) for p in plans
        ]
        # Looked for in the same search: how certain the channel is of having an answer.
        distinct = {
            row: calibration.distinct(queries[row])
            for row, calibration in enumerate(calibrations)
            if calibration is not None and _can_be_certain(calibration, channel[1])
        }
        scores, ids = index.search(
            np.stack([*queries, *distinct.values()]),
            min(max(wanted), len(index)),
            allowed=allowed,
            params=params,
        )
        best = dict(zip(distinct, scores[len(plans) :, 0].tolist(), strict=True))
        for row, (plan, own, calibration) in enumerate(
            zip(plans, wanted, calibrations, strict=True)
        ):
            plan.more |= own < there
            keep = ids[row] >= 0
            # Each its own depth, so that an answer does not depend on who asks beside it.
            keep[own:] = False
            if plan.excluded:
                keep &= ~np.isin(ids[row], list(plan.excluded))
            ranking = ChannelRanking(
                name=f"{channel[0]}:{channel[1].value}",
                modality=channel[1],
                ids=ids[row][keep],
                scores=scores[row][keep],
            )
            if calibration is not None:
                sampled = self.calibrations.sampled(stored, channel[1], queries[row])
                ranking = calibrated_by(ranking, calibration, sampled, best.get(row))
            plan.rankings.append(ranking)

    def _check_space(self, collection: Collection, stored: StoredSpace) -> None:
        """Refuse to search vectors with a query from other weights than made them."""
        models = self.models_of(collection)
        check_same_space(stored.space, models.embedder(stored.space.name).space)

    def _has_direction(self, plan: QueryPlan, stored: StoredSpace, channel: Channel) -> bool:
        """Join the plan's parts; False, with a warning, if they leave nothing to look for."""
        if channel not in plan.vectors:
            joined = self.composer.join(stored.id, channel[1], plan.parts[channel])
            if joined is None:
                return False
            plan.vectors[channel] = joined
            if not joined.any():
                plan.warnings.append(
                    f"the query's terms cancel each other out in {channel[0]}:{channel[1].value}"
                )
        return bool(plan.vectors[channel].any())


def calibrated_by(
    ranking: ChannelRanking, calibration: Calibration, sampled: Vectors, best: float | None
) -> ChannelRanking:
    """With what is known of the channel: `sampled` as `Calibration.evidence` takes it, `best` is
    the best match of what is distinct, if it was looked for (it may have found nothing allowed)."""
    ranking = replace(
        ranking,
        evidence=calibration.evidence(ranking.scores, sampled),
        unrelated=calibration.best,
        power=calibration.power,
    )
    if best is None or not math.isfinite(best):
        return ranking
    return replace(
        ranking,
        certainty=float(calibration.certainty(best)),
        unrelated_certainties=calibration.certainties,
    )


def _can_be_certain(calibration: Calibration, modality: Modality) -> bool:
    """Whether `Calibration.certainty` says something, and it is known how much."""
    known = bool(calibration.centre) and calibration.power is not None
    return known and modality not in VERBAL
