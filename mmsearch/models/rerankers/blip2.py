"""Reranking of pictures, video frames and pages by BLIP-2's image-text matching (transformers).

The score is P(the text describes the picture), as in the paper: the mean of two logits per query
token of the Q-Former, softmax. Li, Li, Savarese and Hoi, "BLIP-2", 2023.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmsearch.models import loading
from mmsearch.models.rerankers import prompts
from mmsearch.models.rerankers.local_vlm import UNREADABLE, opened
from mmsearch.models.runtime import Runtime
from mmsearch.types import VISUAL, Modality, RerankCandidate, RerankScore, RerankScores

_NEEDS = ("config.json",)
_PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors")
_MAX_TOKENS = 64
"""Of the query; the published heads were trained on captions of up to 32."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: Any
    processor: Any
    fingerprint: str
    tokens: int


class Blip2Reranker:
    """A `Reranker`: a hub id or a folder that `Blip2ForImageTextRetrieval` loads."""

    concurrency = 1
    gives_reasons = False

    def __init__(
        self,
        model: str,
        *,
        runtime: Runtime = Runtime(),  # noqa: B008  # frozen
        batch_size: int = 8,
    ) -> None:
        self._name = model
        self._runtime = runtime
        self._batch_size = batch_size
        self._lazy = loading.Lazy(self._load)
        # Tokenizers change their own state in each call.
        self._preparing = threading.Lock()

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        return self._lazy.get().fingerprint

    @property
    def batch_size(self) -> int:
        return self._batch_size

    def accepts(self, modality: Modality) -> bool:
        return modality in VISUAL

    def score(
        self,
        query: str,
        candidates: Sequence[RerankCandidate],
        *,
        seconds: float,  # noqa: ARG002  # a forward pass cannot be interrupted
        reasons: bool = False,  # noqa: ARG002  # it has none
    ) -> RerankScores:
        loaded = self._lazy.get()
        pictures = [opened(candidate) for candidate in candidates]
        images = [picture for picture in pictures if picture is not None]
        scores = iter(self._score(loaded, query, images) if images else ())
        each = tuple(None if picture is None else RerankScore(next(scores)) for picture in pictures)
        return RerankScores(each, (UNREADABLE,) if len(images) < len(pictures) else ())

    def release(self) -> None:
        self._lazy.release()

    def _score(self, loaded: _Loaded, query: str, images: list[Any]) -> list[float]:
        import torch

        self._runtime.limit_torch_threads()
        text = " ".join(query.split())[: prompts.MAX_QUERY]
        with self._preparing:
            inputs = loaded.processor.image_processor(images=images, return_tensors="pt")
            words = loaded.processor.tokenizer(
                [text], truncation=True, max_length=loaded.tokens, return_tensors="pt"
            )
        ids, mask = words["input_ids"], words["attention_mask"]
        image_token = loaded.model.config.image_token_index
        if image_token is not None:
            # These checkpoints expect one picture token per query token before the text; the
            # model removes them again.
            count = loaded.model.config.num_query_tokens
            ids = torch.cat([torch.full((1, count), image_token, dtype=ids.dtype), ids], dim=1)
            mask = torch.cat([torch.ones((1, count), dtype=mask.dtype), mask], dim=1)
        device, dtype = loaded.model.device, loaded.model.dtype
        with torch.inference_mode():
            out = loaded.model(
                pixel_values=inputs["pixel_values"].to(device, dtype),
                input_ids=ids.to(device).expand(len(images), -1),
                attention_mask=mask.to(device).expand(len(images), -1),
                use_image_text_matching_head=True,
            ).logits_per_image
        scores: list[float] = out.float().softmax(dim=1)[:, 1].tolist()
        return scores

    def _load(self) -> _Loaded:
        import torch
        from transformers import AutoProcessor, Blip2ForImageTextRetrieval
        from transformers.utils.logging import disable_progress_bar

        folder = self._runtime.find_model(
            self._name,
            repo=self._name if "/" in self._name else None,
            patterns=_PATTERNS,
            needs=_NEEDS,
        )
        weights = loading.folder_digest(folder, (".safetensors", ".json"))
        device = self._runtime.torch_device()
        disable_progress_bar()
        try:
            processor = AutoProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            model = Blip2ForImageTextRetrieval.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.bfloat16 if self._runtime.use_bf16(device) else torch.float32,
            )
        except MemoryError:
            raise
        except Exception as error:
            raise loading.unreadable(self._name, folder, error) from error
        longest = int(model.config.qformer_config.max_position_embeddings)
        return _Loaded(
            model=model.eval().to(device),
            processor=processor,
            fingerprint=loading.fingerprint(adapter="blip2/1", weights=weights),
            tokens=min(_MAX_TOKENS, longest),
        )
