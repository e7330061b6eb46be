"""Captions by a local vision-language model (transformers)."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from mmsearch.models import loading
from mmsearch.models.vision.captions.answers import INSTRUCTION, MAX_TOKENS, caption_of
from mmsearch.models.vision.vlm import VisionLanguageScorer


class LocalCaptioner:
    """A `Captioner`: any instruction-tuned model that `VisionLanguageScorer` loads."""

    def __init__(self, model: VisionLanguageScorer, *, instruction: str = INSTRUCTION) -> None:
        self._model = model
        self._instruction = instruction

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def fingerprint(self) -> str:
        return loading.fingerprint(
            adapter="caption/1", model=self._model.fingerprint, asked=self._instruction
        )

    @property
    def weights(self) -> str | None:
        return self._model.weights

    def caption(self, pictures: Sequence[bytes]) -> list[str | None]:
        captions: list[str | None] = []
        for content in pictures:
            with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
                answer = self._model.answer(self._instruction, image.convert("RGB"), MAX_TOKENS)
            captions.append(caption_of(answer))
        return captions

    def release(self) -> None:
        self._model.release()
