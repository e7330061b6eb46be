"""A reranker without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmsearch.types import Modality, RerankCandidate, RerankScore, RerankScores


class FakeReranker:
    """A `Reranker` that scores by a function and records what it scored.

    `opinion(query, candidate)` returns a score or None. What it raises is raised."""

    gives_reasons = True

    def __init__(
        self,
        opinion: Callable[[str, RerankCandidate], float | None],
        *,
        modalities: Sequence[Modality] = tuple(Modality),
        revision: str = "1",
        batch_size: int = 4,
        concurrency: int = 1,
    ) -> None:
        self._opinion = opinion
        self._modalities = frozenset(modalities)
        self._revision = revision
        self._batch_size = batch_size
        self._concurrency = concurrency
        self.asked: list[tuple[str, int]] = []
        """(query, segment) of everything that was scored."""

    @property
    def name(self) -> str:
        return "fake-reranker"

    @property
    def fingerprint(self) -> str:
        return f"fake-reranker-{self._revision}"

    @property
    def batch_size(self) -> int:
        return self._batch_size

    @property
    def concurrency(self) -> int:
        return self._concurrency

    def accepts(self, modality: Modality) -> bool:
        return modality in self._modalities

    def score(
        self,
        query: str,
        candidates: Sequence[RerankCandidate],
        *,
        seconds: float,  # noqa: ARG002  # it takes none
        reasons: bool = False,
    ) -> RerankScores:
        self.asked += [(query, candidate.segment) for candidate in candidates]
        scores = [self._opinion(query, candidate) for candidate in candidates]
        why = "because I say so" if reasons else None
        return RerankScores(
            tuple(None if score is None else RerankScore(score, why) for score in scores),
            ("it did not know",) if None in scores else (),
        )

    def release(self) -> None:
        """There is nothing to free."""
