"""The first stage: each channel's own ranking of the segments that may come back.

Filters are pushed down, so that a channel returns as many candidates as exist.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mmsearch.errors import MMSearchError
from mmsearch.search.composition import Composer
from mmsearch.search.fusion import ChannelRanking
from mmsearch.search.indexes import ChannelIndexes
from mmsearch.search.modelset import ModelSet
from mmsearch.search.plan import Channel, QueryPlan
from mmsearch.settings import Settings
from mmsearch.stores.rows import StoredSpace, check_same_space
from mmsearch.stores.sql import SqlStore
from mmsearch.types import Collection, Ids, SearchParams

SPARE = 16
"""Candidates beyond the limit, for those deleted between the index and SQL."""


class Retriever:
    """Ranks the segments of every channel that a plan looks into. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        store: SqlStore,
        indexes: ChannelIndexes,
        models_of: Callable[[Collection], ModelSet],
    ) -> None:
        self.settings = settings
        self.store = store
        self.indexes = indexes
        self.models_of = models_of
        self.composer = Composer(store, indexes)

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

    def _rank(self, stored: StoredSpace, channel: Channel, members: Sequence[QueryPlan]) -> None:
        together = [p for p in members if p.query.filter is None and not p.query.exact]
        if together:
            self._scan(stored, channel, together, None, SearchParams())
        for plan in members:
            if plan not in together:
                allowed = plan.allowed.get(channel[1]) if plan.query.filter else None
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
        matrix = np.stack([p.vectors[channel] for p in plans])
        scores, ids = index.search(
            matrix, min(max(wanted), len(index)), allowed=allowed, params=params
        )
        for plan, own, row_scores, row_ids in zip(plans, wanted, scores, ids, strict=True):
            plan.more |= own < there
            keep = row_ids >= 0
            # Each its own depth, so that an answer does not depend on who asks beside it.
            keep[own:] = False
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
