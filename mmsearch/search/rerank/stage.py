"""The sixth stage: rerankers look at the best hits of the first stage.

Bounded: at most `rerank_top_n` candidates, for at most `rerank_seconds`, in batches. Scores are
saved in SQL under (query, content, model, prompt), so that nothing is scored twice. They are
blended with the first stage's scores and never replace them. Fails open: whatever goes wrong, the
first stage's order stands and a warning names what happened.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mmsearch.errors import MMSearchError
from mmsearch.models.rerankers.choice import NONE
from mmsearch.protocols import Reranker
from mmsearch.query import Query
from mmsearch.search.pictures import Pictures
from mmsearch.search.plan import PlannedQuery
from mmsearch.search.rerank.blend import blend
from mmsearch.search.rerank.candidates import candidates_of
from mmsearch.search.rerank.share import RerankShare, shared_out
from mmsearch.search.scoring.rankings import ScoredSegment
from mmsearch.settings import Settings
from mmsearch.stores.database import release_read
from mmsearch.stores.store import SqlStore
from mmsearch.types import RerankScore

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 15.0
"""How long a reranker that was not available at all is not tried again."""

OVERFETCH = 16
"""Candidates that are read beyond `rerank_top_n`, in place of those deleted meanwhile."""

_WORDS = frozenset({"text", "audio"})


@dataclass(frozen=True, slots=True)
class Reranked:
    """The segments after reranking."""

    segments: tuple[ScoredSegment, ...]
    """Best first; the `scores` of those that were scored have "rerank" and "first_stage"."""
    rerank_scores: Mapping[int, RerankScore] = field(default_factory=dict)
    """By segment."""
    scored_by: Mapping[int, str] = field(default_factory=dict)
    """By segment: the name of the reranker."""
    warnings: tuple[str, ...] = ()


class RerankStage:
    """Reranks the answers of one library. Thread-safe.

    `rerankers(profile, choice)` returns those that a choice ("vlm", "vlm+cross-encoder") means in
    a profile. Each candidate goes to the first that accepts its modality.
    """

    def __init__(
        self,
        settings: Settings,
        store: SqlStore,
        pictures: Pictures,
        rerankers: Callable[[str, str], Sequence[Reranker]],
    ) -> None:
        self._settings = settings
        self._store = store
        self._pictures = pictures
        self._rerankers = rerankers
        self._paused: dict[str, tuple[float, str]] = {}
        self._used: dict[int, Reranker] = {}
        self._closed = threading.Event()

    def choice(self, query: Query) -> str:
        """The rerankers of a query: its own, or those of the settings."""
        return self._settings.rerank if query.rerank is None else query.rerank

    def rerank(self, planned: PlannedQuery, segments: Sequence[ScoredSegment]) -> Reranked:
        """All segments in their new order, or in the old one if nothing is to be reranked."""
        query = planned.query
        choice = self.choice(query)
        unchanged = tuple(segments)
        if choice == NONE or not unchanged:
            return Reranked(unchanged)
        words = planned.positive_words
        if not words or any(t.weight > 0 and t.kind not in _WORDS for t in query.terms):
            # "Like this, but at night": the words alone would be another query.
            warnings = ("only queries in words can be reranked",) if query.rerank else ()
            return Reranked(unchanged, warnings=warnings)
        try:
            return self._rerank(choice, planned.collection.profile, words, unchanged, query)
        except MMSearchError as error:
            return Reranked(unchanged, warnings=(f"not reranked: {error.message}",))
        except Exception as error:
            logger.exception("reranking failed")
            why = f"it failed ({type(error).__name__})"
            return Reranked(unchanged, warnings=(f"not reranked: {why}",))

    def _rerank(
        self,
        choice: str,
        profile: str,
        words: str,
        segments: tuple[ScoredSegment, ...],
        query: Query,
    ) -> Reranked:
        top_n = self._settings.rerank_top_n
        rows = self._store.segments.with_sources([s.id for s in segments[: top_n + OVERFETCH]])
        deadline = time.monotonic() + self._settings.rerank_seconds
        rerankers = self._rerankers(profile, choice)
        if not rerankers:
            return Reranked(segments, warnings=(f"profile {profile} has nothing to rerank with",))
        offered = [rows[s.id] for s in segments if s.id in rows][:top_n]
        candidates = candidates_of(
            offered, self._store, self._pictures, self._settings.rerank_pixels
        )
        # No transaction stays open while rerankers work.
        release_read(self._store.database.engine)
        shares = [
            RerankShare(
                reranker,
                words,
                share,
                reasons=query.reasons and reranker.gives_reasons,
                closed=self._closed,
            )
            for reranker, share in shared_out(rerankers, candidates)
        ]
        scores, scored_by, warnings = self._score(shares, deadline)
        order = blend(
            segments,
            [share.segments for share in shares],
            {segment: score.score for segment, score in scores.items()},
            offered=len(offered),
            weight=self._settings.rerank_weight,
            by=self._settings.rerank_fusion,
        )
        return Reranked(order, scores, scored_by, tuple(warnings))

    def _score(
        self, shares: Sequence[RerankShare], deadline: float
    ) -> tuple[dict[int, RerankScore], dict[int, str], list[str]]:
        """Run all shares at once: scores and rerankers by segment, and warnings."""
        for share in shares:
            self._used[id(share.reranker)] = share.reranker
            share.start(self._store, deadline, self._pause_of(share.reranker))
        scores: dict[int, RerankScore] = {}
        scored_by: dict[int, str] = {}
        warnings: list[str] = []
        for share in shares:
            share_scores, warning = share.wait(deadline)
            scores |= share_scores
            scored_by |= dict.fromkeys(share_scores, share.reranker.name)
            if warning is not None:
                warnings.append(warning)
            self._pause_if_unavailable(share)
        return scores, scored_by, warnings

    def warm_up(self, profile: str) -> None:
        """Load the rerankers that the settings name, now."""
        try:
            for reranker in self._rerankers(profile, self._settings.rerank):
                _ = reranker.fingerprint
        except MMSearchError as error:
            logger.warning("hits will not be reranked: %s", error.message)

    def close(self) -> None:
        """Release what the rerankers hold: connections, weights."""
        self._closed.set()
        while self._used:
            self._used.popitem()[1].release()

    # ------------------------------------------------------------------ unavailable rerankers

    def _pause_of(self, reranker: Reranker) -> str | None:
        until, why = self._paused.get(reranker.name, (0.0, ""))
        return why if time.monotonic() < until else None

    def _pause_if_unavailable(self, share: RerankShare) -> None:
        """A server that is down must not cost every query its whole time budget."""
        if (why := share.unavailable) is not None:
            self._paused[share.reranker.name] = (time.monotonic() + PAUSE_SECONDS, why)
        elif share.scored:
            self._paused.pop(share.reranker.name, None)
