"""A second, closer look at the best hits of the first stage.

Bounded: at most `rerank_top_n` candidates, for at most `rerank_seconds`, in batches; scores
are kept in SQL under (query, content, model, prompt), so that no question is asked twice. Joined
with the first stage's scores, never put in their place. Fails open: whatever goes wrong, the
first stage's order stands and a warning names what happened.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mmsearch.errors import MMSearchError, RerankError
from mmsearch.models.rerankers.choice import NONE
from mmsearch.protocols import Reranker
from mmsearch.query import Query
from mmsearch.search.pictures import Pictures
from mmsearch.search.plan import QueryPlan
from mmsearch.search.rerank.blend import fuse
from mmsearch.search.scoring.fusion import Fused
from mmsearch.settings import Settings
from mmsearch.stores.store import SqlStore
from mmsearch.types import (
    VISUAL,
    Modality,
    RerankCandidate,
    RerankScore,
    RerankScores,
    Segment,
    Source,
)

logger = logging.getLogger(__name__)

Rows = Mapping[int, tuple[Segment, Source]]

CONTEXT_CHARACTERS = 240
"""Of what was said before and after a stretch of speech."""

FAILURES_BEFORE_GIVING_UP = 3
PAUSE_SECONDS = 15.0
"""How long a reranker that could not be had at all is left alone."""

_WORDS = frozenset({"text", "audio"})
_TOLD = 3
SPARE = 16


@dataclass(frozen=True, slots=True)
class Reranked:
    """The order after the second look."""

    fused: tuple[Fused, ...]
    """Best first; a scored one's `scores` have "rerank" and "first_stage"."""
    rerank_scores: Mapping[int, RerankScore] = field(default_factory=dict)
    """By segment."""
    scored_by: Mapping[int, str] = field(default_factory=dict)
    """By segment: who scored it."""
    warnings: tuple[str, ...] = ()


class RerankStage:
    """Reranks the answers of one library. Thread-safe.

    `rerankers(profile, choice)` gives those that a choice ("vlm", "vlm+cross-encoder") means in
    a profile, for each candidate the first that accepts its modality is asked.
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

    def answer(self, plan: QueryPlan, fused: Sequence[Fused]) -> Reranked:
        """`fused` as the query or the settings want it looked at; as it is if they do not."""
        query = plan.query
        choice = self._choice(query)
        if choice == NONE or not fused:
            return Reranked(tuple(fused))
        words = positive_words(plan)
        if not words or any(t.weight > 0 and t.kind not in _WORDS for t in query.terms):
            # "Like this, but at night": the words alone would be another question.
            said = ("only queries in words can be reranked",) if query.rerank else ()
            return Reranked(tuple(fused), warnings=said)
        # Those that may be looked at, and a few in place of what has been deleted meanwhile.
        best = fused[: self._settings.rerank_top_n + SPARE]
        rows = self._store.segments.with_sources([one.id for one in best])
        return self.rerank(
            choice, plan.collection.profile, words, fused, rows, reasons=query.reasons
        )

    def _choice(self, query: Query) -> str:
        return self._settings.rerank if query.rerank is None else query.rerank

    def rerank(
        self,
        choice: str,
        profile: str,
        words: str,
        fused: Sequence[Fused],
        rows: Rows,
        *,
        reasons: bool = False,
    ) -> Reranked:
        """`fused` in its new order; all of it, whatever happens."""
        deadline = time.monotonic() + self._settings.rerank_seconds
        offered = [one for one in fused if one.id in rows][: self._settings.rerank_top_n]
        try:
            rerankers = self._rerankers(profile, choice)
            if not rerankers:
                return Reranked(
                    tuple(fused), warnings=(f"profile {profile} has nothing to rerank with",)
                )
            candidates = self._candidates([rows[one.id] for one in offered])
        except MMSearchError as error:
            return Reranked(tuple(fused), warnings=(f"not reranked: {error.message}",))
        work = [
            _Work(
                reranker,
                words,
                own,
                reasons=reasons and reranker.gives_reasons,
                closed=self._closed,
            )
            for reranker, own in _shared_out(rerankers, candidates)
        ]
        for one in work:
            self._used[id(one.reranker)] = one.reranker
            one.start(self._store, deadline, self._pause_of(one.reranker))
        rerank_scores: dict[int, RerankScore] = {}
        scored_by: dict[int, str] = {}
        warnings: list[str] = []
        for one in work:
            got, warning = one.wait(deadline)
            rerank_scores |= got
            scored_by |= dict.fromkeys(got, one.reranker.name)
            if warning is not None:
                warnings.append(warning)
            self._note(one)
        order = fuse(
            fused,
            [one.segments for one in work],
            {segment: rerank_score.score for segment, rerank_score in rerank_scores.items()},
            offered=len(offered),
            weight=self._settings.rerank_weight,
            by=self._settings.rerank_fusion,
        )
        return Reranked(order, rerank_scores, scored_by, tuple(warnings))

    def warm_up(self, profile: str) -> None:
        """Load what the settings choose, now."""
        try:
            for reranker in self._rerankers(profile, self._settings.rerank):
                _ = reranker.fingerprint
        except MMSearchError as error:
            logger.warning("reranking will be left out: %s", error.message)

    def close(self) -> None:
        """Give back what the rerankers hold: connections, weights."""
        self._closed.set()
        while self._used:
            self._used.popitem()[1].release()

    # ------------------------------------------------------------------ candidates

    def _candidates(self, found: Sequence[tuple[Segment, Source]]) -> list[RerankCandidate]:
        spoken = [s.id for s, _ in found if s.modality is Modality.SPEECH]
        around = self._store.segments.neighbour_texts(spoken) if spoken else {}
        return [
            self._seen(segment, source)
            if segment.modality in VISUAL
            else _read(segment, *around.get(segment.id, (None, None)))
            for segment, source in found
        ]

    def _seen(self, segment: Segment, source: Source) -> RerankCandidate:
        pixels = self._settings.rerank_pixels
        place = segment.place
        content = _digest(
            "picture", source.sha256, segment.modality.value, pixels,
            place.page, place.start, place.end, place.box,
        )  # fmt: skip
        return RerankCandidate(
            segment.id,
            segment.modality,
            content,
            text=segment.text,
            load_picture=lambda most: self._pictures.jpeg(
                segment, source, min(pixels, most or pixels)
            ),
        )

    # ------------------------------------------------------------------ those out of order

    def _pause_of(self, reranker: Reranker) -> str | None:
        until, why = self._paused.get(reranker.name, (0.0, ""))
        return why if time.monotonic() < until else None

    def _note(self, work: _Work) -> None:
        """A server that is down must not cost every query its whole time budget."""
        if work.unavailable is not None:
            until = time.monotonic() + PAUSE_SECONDS
            self._paused[work.reranker.name] = (until, work.unavailable)
        elif work.scored:
            self._paused.pop(work.reranker.name, None)


def positive_words(plan: QueryPlan) -> str:
    """What is looked for in words, what recordings say included; "" if nothing is."""
    return ", ".join(text for text, weight in plan.texts if weight > 0)


def _shared_out(
    rerankers: Sequence[Reranker], candidates: Sequence[RerankCandidate]
) -> list[tuple[Reranker, list[RerankCandidate]]]:
    """Each candidate to the first reranker that accepts its modality."""
    shares: list[tuple[Reranker, list[RerankCandidate]]] = [(one, []) for one in rerankers]
    for candidate in candidates:
        for reranker, own in shares:
            if reranker.accepts(candidate.modality):
                own.append(candidate)
                break
    return [(reranker, own) for reranker, own in shares if own]


def _read(segment: Segment, before: str | None, after: str | None) -> RerankCandidate:
    parts = [
        before[-CONTEXT_CHARACTERS:] if before else "",
        segment.text or "",
        after[:CONTEXT_CHARACTERS] if after else "",
    ]
    text = "\n".join(part for part in parts if part)
    return RerankCandidate(segment.id, segment.modality, _digest("text", text), text=text)


def _digest(*parts: object) -> str:
    text = json.dumps(parts, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# ------------------------------------------------------------------ asking


class _Work:
    """One reranker's share of a query, done in threads of its own.

    A batch that is under way when time runs out is not waited for; what it finds out is kept for
    the next time. The threads are daemons: they never hold up the end of the program.
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
        self._closed = closed
        self.segments = [candidate.segment for candidate in candidates]
        self.unavailable: str | None = None
        """Why nothing at all could be had, if that is so."""
        self._words = words
        self._candidates = candidates
        self._reasons = reasons
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._rerank_scores: dict[int, RerankScore] = {}
        self._problems: Counter[str] = Counter()
        self._failures = 0
        self._answered = False

    @property
    def scored(self) -> bool:
        return bool(self._rerank_scores)

    def start(self, store: SqlStore, deadline: float, paused: str | None) -> None:
        if paused is not None:
            self._problems[f"{paused}; it is left alone for a while"] += 1
            self._done.set()
            return
        threading.Thread(
            target=self._run, args=(store, deadline), name="mmsearch-rerank", daemon=True
        ).start()

    def wait(self, deadline: float) -> tuple[dict[int, RerankScore], str | None]:
        """What is there when all is done or time is up, and a warning if that is not all."""
        finished = self._done.wait(max(0.0, deadline - time.monotonic()))
        with self._lock:
            rerank_scores = dict(self._rerank_scores)
            problems = [text for text, _ in self._problems.most_common(_TOLD)]
        if not finished:
            problems.append("time ran out")
        left = len(self._candidates) - len(rerank_scores)
        if not problems and not left:
            return rerank_scores, None
        why = f": {'; '.join(problems)}" if problems else ""
        return rerank_scores, (
            f"reranking by {self.reranker.name}: {left} of {len(self._candidates)} hits were not "
            f"scored{why}"
        )

    def _run(self, store: SqlStore, deadline: float) -> None:
        try:
            fingerprint = self.reranker.fingerprint
            keys = {
                c.segment: _digest(self._words, c.content, fingerprint) for c in self._candidates
            }
            known = self._known(store, keys)
            with self._lock:
                self._rerank_scores |= known
            left = [c for c in self._candidates if c.segment not in known]
            self._ask_all(store, keys, left, deadline)
        except Exception as error:  # noqa: BLE001  # a reranker may raise anything; search goes on
            self._failed(error)
        finally:
            if self._failures and not self._answered:
                self.unavailable = next(iter(self._problems), "it failed")
            self._done.set()

    def _known(self, store: SqlStore, keys: Mapping[int, str]) -> dict[int, RerankScore]:
        kept = store.rerank_scores.get(list(keys.values()))
        return {
            segment: kept[key]
            for segment, key in keys.items()
            if key in kept and (kept[key].reason is not None or not self._reasons)
        }

    def _ask_all(
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
                    given_up = self._failures >= FAILURES_BEFORE_GIVING_UP and not self._answered
                    late = time.monotonic() >= deadline or self._closed.is_set()
                    if not batches or given_up or late:
                        return
                    batch = batches.pop()
                self._ask(store, keys, batch, deadline)

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
            self._problems["time ran out"] += 1

    def _ask(
        self,
        store: SqlStore,
        keys: Mapping[int, str],
        batch: Sequence[RerankCandidate],
        deadline: float,
    ) -> None:
        seconds = max(0.05, deadline - time.monotonic())
        try:
            answer = self.reranker.score(self._words, batch, seconds=seconds, reasons=self._reasons)
            good, problems = checked(answer, batch)
        except Exception as error:  # noqa: BLE001  # see _run
            self._failed(error)
            return
        with self._lock:
            self._rerank_scores |= good
            self._problems.update(problems)
            self._answered = True
        try:
            store.rerank_scores.save({keys[segment]: one for segment, one in good.items()})
        except Exception as error:  # noqa: BLE001  # a full disk, or the library was closed
            logger.info("rerank scores were not saved: %s", error)

    def _failed(self, error: Exception) -> None:
        if self._closed.is_set():
            # The library was closed meanwhile, and with it what a reranker needs.
            return
        if isinstance(error, MMSearchError):
            said = error.message
        else:
            said = f"it failed ({type(error).__name__})"
            logger.error("reranker %s failed", self.reranker.name, exc_info=error)
        with self._lock:
            self._failures += 1
            self._problems[said] += 1


def checked(
    answer: RerankScores, batch: Sequence[RerankCandidate]
) -> tuple[dict[int, RerankScore], list[str]]:
    """The scores that can be used, by segment, and what was wrong with the others.

    Raises RerankError if it is not known which score is whose.
    """
    if len(answer.each) != len(batch):
        raise RerankError(f"{len(answer.each)} scores for {len(batch)} candidates")
    good: dict[int, RerankScore] = {}
    problems = list(answer.problems)
    for candidate, rerank_score in zip(batch, answer.each, strict=True):
        if rerank_score is None:
            continue
        if math.isfinite(rerank_score.score) and 0 <= rerank_score.score <= 1:
            good[candidate.segment] = rerank_score
        else:
            problems.append("a score that is no number from 0 to 1")
    return good, problems
