"""A vision-language model on this machine: pictures, video frames and pages, by yes or no."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from mmsearch.models.rerankers import prompts
from mmsearch.models.vision.vlm import VisionLanguageScorer
from mmsearch.types import VISUAL, Modality, RerankCandidate, RerankScore, RerankScores

UNREADABLE = "the picture cannot be read"
UNFAMILIAR = "{} has learnt from other pictures than these"
_REMEMBERED = 100_000
"""Pictures that are known to be unfamiliar; each is decoded for that once."""


class LocalVlmReranker:
    """See `mmsearch.models.vision.vlm`: sigmoid(logit(yes) - logit(no)) at the last position."""

    concurrency = 1

    def __init__(self, scorer: VisionLanguageScorer) -> None:
        self._scorer = scorer
        self._unfamiliar: set[str] = set()
        """Their `content`."""

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
        seconds: float,  # noqa: ARG002  # a forward pass cannot be broken off
        reasons: bool = False,
    ) -> RerankScores:
        shown = [self._shown(candidate) for candidate in candidates]
        seen = [i for i, image in enumerate(shown) if image is not None]
        images = [image for image in shown if image is not None]
        scores = self._scorer.score(query, images, [candidates[i].content for i in seen])
        each: list[RerankScore | None] = [None] * len(candidates)
        for i, image, score in zip(seen, images, scores.tolist(), strict=True):
            why = prompts.shortened(self._scorer.explain(query, image)) if reasons else None
            each[i] = RerankScore(score, why)
        problems = {
            UNFAMILIAR.format(self.name) if one.content in self._unfamiliar else UNREADABLE
            for one, image in zip(candidates, shown, strict=True)
            if image is None
        }
        return RerankScores(tuple(each), tuple(sorted(problems)))

    def _shown(self, candidate: RerankCandidate) -> Image.Image | None:
        """The picture, if it can be read and the model can be asked about it."""
        if candidate.content in self._unfamiliar:
            return None
        image = opened(candidate, self._scorer.max_pixels)
        if image is None or self._scorer.familiar(image):
            return image
        if len(self._unfamiliar) >= _REMEMBERED:
            self._unfamiliar.clear()
        self._unfamiliar.add(candidate.content)
        return None

    def release(self) -> None:
        self._unfamiliar.clear()
        self._scorer.release()


def opened(candidate: RerankCandidate, max_pixels: int | None = None) -> Image.Image | None:
    """A candidate's picture: a JPEG that our own decoding worker wrote."""
    content = candidate.picture(max_pixels)
    if content is None:
        return None
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        return image.convert("RGB")
