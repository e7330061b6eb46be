"""One reranker's share of the candidates of a query, scored in threads within a time budget."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from mmsearch.errors import MMSearchError, RerankError
from mmsearch.protocols import Reranker
from mmsearch.search.rerank.candidates import digest
from mmsearch.stores.store import SqlStore
from mmsearch.types import RerankCandidate, RerankScore, RerankScores

logger = logging.getLogger(__name__)

FAILURES_BEFORE_GIVING_UP = 3
REPORTED_PROBLEMS = 3
"""Different problems that one warning names."""


def shared_out(
    rerankers: Sequence[Reranker], candidates: Sequence[RerankCandidate]
) -> list[tuple[Reranker, list[RerankCandidate]]]:
    """Each candidate to the first reranker that accepts its modality; no empty shares."""
    shares: list[tuple[Reranker, list[RerankCandidate]]] = [(r, []) for r in rerankers]
    for candidate in candidates:
        for reranker, share in shares:
            if reranker.accepts(candidate.modality):
                share.append(candidate)
                break
    return [(reranker, share) for reranker, share in shares if share]


class RerankShare:
    """Scores candidates by one reranker. Saved scores are read first, new ones are saved.

    A batch that is running when time is up is not waited for, but its scores are saved for the
    next query. The threads are daemons: they never delay the end of the program.
    """

    def __init__(
        self,
        reranker: Reranker,
        words: str,
        candidates: Sequence[RerankCandidate],
        *,
        reasons: bool,
        closed: threading.Event,
    ) -> None:
        self.reranker = reranker
        self.segments = [candidate.segment for candidate in candidates]
        self._words = words
        self._candidates = candidates
        self._reasons = reasons
        self._closed = closed
        self._done = threading.Event()
        self._lock = threading.Lock()
        """Guards everything below: a query that is out of time reads it while threads write."""
        self._scores: dict[int, RerankScore] = {}
        self._problems: Counter[str] = Counter()
        self._failures = 0
        self._answered = False

    @property
    def scored(self) -> bool:
        """Whether there is any score."""
        with self._lock:
            return bool(self._scores)

    @property
    def unavailable(self) -> str | None:
        """Why the reranker gave nothing at all, if that is so."""
        with self._lock:
            if not self._done.is_set() or not self._failures or self._answered:
                return None
            return next(iter(self._problems), "it failed")

    def start(self, store: SqlStore, deadline: float, paused: str | None) -> None:
        """Score in the background until `deadline`; not at all if the reranker is paused."""
        if paused is not None:
            self._report(f"{paused}; it is left alone for a while")
            self._done.set()
            return
        threading.Thread(
            target=self._run, args=(store, deadline), name="mmsearch-rerank", daemon=True
        ).start()

    def wait(self, deadline: float) -> tuple[dict[int, RerankScore], str | None]:
        """The scores when all are done or time is up, and a warning if some are missing."""
        finished = self._done.wait(max(0.0, deadline - time.monotonic()))
        with self._lock:
            scores = dict(self._scores)
            problems = [text for text, _ in self._problems.most_common(REPORTED_PROBLEMS)]
        if not finished:
            problems.append("time ran out")
        missing = len(self._candidates) - len(scores)
        if not problems and not missing:
            return scores, None
        why = f": {'; '.join(problems)}" if problems else ""
        return scores, (
            f"reranking by {self.reranker.name}: {missing} of {len(self._candidates)} hits were "
            f"not scored{why}"
        )

    # ------------------------------------------------------------------ in threads

    def _run(self, store: SqlStore, deadline: float) -> None:
        try:
            fingerprint = self.reranker.fingerprint
            keys = {
                c.segment: digest(self._words, c.content, fingerprint) for c in self._candidates
            }
            saved = self._saved(store, keys)
            with self._lock:
                self._scores |= saved
            left = [c for c in self._candidates if c.segment not in saved]
            self._score_all(store, keys, left, deadline)
        except Exception as error:  # noqa: BLE001  # a reranker may raise anything; search goes on
            self._fail(error)
        finally:
            self._done.set()

    def _saved(self, store: SqlStore, keys: Mapping[int, str]) -> dict[int, RerankScore]:
        saved = store.rerank_scores.get(list(keys.values()))
        return {
            segment: saved[key]
            for segment, key in keys.items()
            if key in saved and (saved[key].reason is not None or not self._reasons)
        }

    def _score_all(
        self,
        store: SqlStore,
        keys: Mapping[int, str],
        candidates: Sequence[RerankCandidate],
        deadline: float,
    ) -> None:
        size = max(1, self.reranker.batch_size)
        batches = [candidates[i : i + size] for i in range(0, len(candidates), size)]
        batches.reverse()

        def work() -> None:
            while True:
                with self._lock:
                    gave_up = self._failures >= FAILURES_BEFORE_GIVING_UP and not self._answered
                    late = time.monotonic() >= deadline or self._closed.is_set()
                    if not batches or gave_up or late:
                        return
                    batch = batches.pop()
                self._score(store, keys, batch, deadline)

        count = min(self.reranker.concurrency, len(batches))
        helpers = [
            threading.Thread(target=work, name="mmsearch-rerank", daemon=True)
            for _ in range(count - 1)
        ]
        for helper in helpers:
            helper.start()
        work()
        for helper in helpers:
            helper.join()
        if batches and time.monotonic() >= deadline:
            self._report("time ran out")

    def _score(
        self,
        store: SqlStore,
        keys: Mapping[int, str],
        batch: Sequence[RerankCandidate],
        deadline: float,
    ) -> None:
        seconds = max(0.05, deadline - time.monotonic())
        try:
            scores = self.reranker.score(self._words, batch, seconds=seconds, reasons=self._reasons)
            usable, problems = usable_scores(scores, batch)
        except Exception as error:  # noqa: BLE001  # see _run
            self._fail(error)
            return
        with self._lock:
            self._scores |= usable
            self._problems.update(problems)
            self._answered = True
        try:
            store.rerank_scores.save({keys[segment]: score for segment, score in usable.items()})
        except Exception as error:  # noqa: BLE001  # a full disk, or the library was closed
            logger.info("rerank scores were not saved: %s", error)

    def _fail(self, error: Exception) -> None:
        if self._closed.is_set():
            # The library was closed meanwhile, and with it what a reranker needs.
            return
        if isinstance(error, MMSearchError):
            message = error.message
        else:
            message = f"it failed ({type(error).__name__})"
            logger.error("reranker %s failed", self.reranker.name, exc_info=error)
        self._report(message, failures=1)

    def _report(self, problem: str, *, failures: int = 0) -> None:
        with self._lock:
            self._problems[problem] += 1
            self._failures += failures


def usable_scores(
    scores: RerankScores, batch: Sequence[RerankCandidate]
) -> tuple[dict[int, RerankScore], list[str]]:
    """The scores that can be used, by segment, and the problems of the others.

    Raises RerankError if the scores cannot be assigned to candidates.
    """
    if len(scores.each) != len(batch):
        raise RerankError(f"{len(scores.each)} scores for {len(batch)} candidates")
    usable: dict[int, RerankScore] = {}
    problems = list(scores.problems)
    for candidate, score in zip(batch, scores.each, strict=True):
        if score is None:
            continue
        if math.isfinite(score.score) and 0 <= score.score <= 1:
            usable[candidate.segment] = score
        else:
            problems.append("a score that is no number from 0 to 1")
    return usable, problems
