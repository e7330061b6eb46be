"""Reranking of pictures, video frames and pages by a local vision-language model."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from mmsearch.models.rerankers import prompts
from mmsearch.models.vision.vlm import VisionLanguageScorer
from mmsearch.types import VISUAL, Modality, RerankCandidate, RerankScore, RerankScores

UNREADABLE = "the picture cannot be read"
OUT_OF_DOMAIN = "{} was not trained on pictures like these"
_CACHED = 100_000
"""Most pictures that are cached as out of domain, so that each is decoded once."""


class LocalVlmReranker:
    """A `Reranker` by yes or no; see `mmsearch.models.vision.vlm`."""

    concurrency = 1

    def __init__(self, scorer: VisionLanguageScorer) -> None:
        self._scorer = scorer
        self._out_of_domain: set[str] = set()
        """The `content` of candidates."""

    @property
    def name(self) -> str:
        return self._scorer.name

    @property
    def fingerprint(self) -> str:
        return self._scorer.fingerprint

    @property
    def batch_size(self) -> int:
        return self._scorer.batch_size

    @property
    def gives_reasons(self) -> bool:
        return self._scorer.can_explain

    def accepts(self, modality: Modality) -> bool:
        return modality in VISUAL

    def score(
        self,
        query: str,
        candidates: Sequence[RerankCandidate],
        *,
        seconds: float,  # noqa: ARG002  # a forward pass cannot be interrupted
        reasons: bool = False,
    ) -> RerankScores:
        pictures: dict[int, Image.Image] = {}
        problems: set[str] = set()
        for i, candidate in enumerate(candidates):
            picture = self._picture(candidate)
            if isinstance(picture, str):
                problems.add(picture)
            else:
                pictures[i] = picture
        images, keys = list(pictures.values()), [candidates[i].content for i in pictures]
        each: list[RerankScore | None] = [None] * len(candidates)
        scores = self._scorer.score(query, images, keys).tolist()
        for (i, image), score in zip(pictures.items(), scores, strict=True):
            reason = prompts.shortened(self._scorer.explain(query, image)) if reasons else None
            each[i] = RerankScore(score, reason)
        return RerankScores(tuple(each), tuple(sorted(problems)))

    def _picture(self, candidate: RerankCandidate) -> Image.Image | str:
        """The candidate's picture, or the reason why it is not scored."""
        if candidate.content in self._out_of_domain:
            return OUT_OF_DOMAIN.format(self.name)
        image = opened(candidate, self._scorer.max_pixels)
        if image is None:
            return UNREADABLE
        if self._scorer.in_domain(image):
            return image
        if len(self._out_of_domain) >= _CACHED:
            self._out_of_domain.clear()
        self._out_of_domain.add(candidate.content)
        return OUT_OF_DOMAIN.format(self.name)

    def release(self) -> None:
        self._out_of_domain.clear()
        self._scorer.release()


def opened(candidate: RerankCandidate, max_pixels: int | None = None) -> Image.Image | None:
    """A candidate's picture, RGB; the JPEG was written by a decoding worker. None: unreadable."""
    content = candidate.picture(max_pixels)
    if content is None:
        return None
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        return image.convert("RGB")
