"""Reranking of passages and transcripts by a text cross-encoder (sentence-transformers).

It reads query and passage together, which is more accurate than comparing two vectors.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmsearch.errors import ConfigurationError
from mmsearch.models import loading
from mmsearch.models.rerankers import prompts
from mmsearch.models.runtime import Runtime
from mmsearch.models.text.tokenizing import lock_preprocessing
from mmsearch.types import VERBAL, Modality, RerankCandidate, RerankScore, RerankScores

_NEEDS = ("config.json", "modules.json")
_PATTERNS = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors")
_SKIPPED = ("onnx/*", "openvino/*")


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: Any
    fingerprint: str
    takes_dicts: bool


class CrossEncoderReranker:
    """A `Reranker`: a hub id or a folder. The score is the logistic function of the one logit."""

    concurrency = 1
    gives_reasons = False

    def __init__(
        self,
        model: str,
        *,
        runtime: Runtime = Runtime(),  # noqa: B008  # frozen
        batch_size: int = 16,
    ) -> None:
        self._name = model
        self._runtime = runtime
        self._batch_size = batch_size
        self._lazy = loading.Lazy(self._load)
        self._tokenizing = threading.Lock()

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
        return modality in VERBAL

    def score(
        self,
        query: str,
        candidates: Sequence[RerankCandidate],
        *,
        seconds: float,  # noqa: ARG002  # a forward pass cannot be interrupted
        reasons: bool = False,  # noqa: ARG002  # it has none
    ) -> RerankScores:
        loaded = self._lazy.get()
        texts = [(candidate.text or "")[: prompts.MAX_TEXT] for candidate in candidates]
        self._runtime.limit_torch_threads()
        logits = _logits(loaded, query, texts, self._batch_size)
        scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -60, 60)))
        return RerankScores(tuple(RerankScore(float(score)) for score in scores))

    def release(self) -> None:
        self._lazy.release()

    def _load(self) -> _Loaded:
        from sentence_transformers import CrossEncoder
        from transformers.utils.logging import disable_progress_bar

        folder = self._runtime.find_model(
            self._name,
            repo=self._name if "/" in self._name else f"cross-encoder/{self._name}",
            patterns=_PATTERNS,
            needs=_NEEDS,
            ignored=_SKIPPED,
        )
        weights = loading.folder_digest(folder, (".safetensors", ".json"), recursive=True)
        disable_progress_bar()
        try:
            model = CrossEncoder(
                str(folder),
                device=str(self._runtime.torch_device()),
                local_files_only=True,
                trust_remote_code=False,
            )
        except MemoryError:
            raise
        except Exception as error:
            raise loading.unreadable(self._name, folder, error) from error
        if model.num_labels != 1:
            raise ConfigurationError(
                f"'{self._name}' has {model.num_labels} outputs; a reranker has one",
                param="rerank_text_model",
            )
        lock_preprocessing(model, self._tokenizing)
        fingerprint = loading.fingerprint(adapter="cross-encoder/1", weights=weights)
        return _Loaded(model, fingerprint, self._takes_dicts(model))

    def _takes_dicts(self, model: Any) -> bool:
        """Whether the model takes texts as {"text": ...}.

        Raises ConfigurationError for a multimodal model that takes bare strings only: it would
        load a picture from an address or a path.
        """
        marked = [({"text": "a probe"}, {"text": "another"})]
        try:
            model.predict(marked, show_progress_bar=False)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            if list(getattr(model, "modalities", ["text"])) == ["text"]:
                return False
            raise ConfigurationError(
                f"'{self._name}' does not take texts that are marked as texts, so it could load a "
                "picture from the address in a query. Use another cross-encoder."
            ) from error
        return True


def _logits(loaded: _Loaded, query: str, texts: Sequence[str], batch_size: int) -> Any:
    """One raw logit per text, float32 (len(texts),)."""
    import torch

    pairs: list[Any] = [(query, text) for text in texts]
    if loaded.takes_dicts:
        pairs = [({"text": query}, {"text": text}) for text in texts]
    logits = loaded.model.predict(
        pairs,
        batch_size=batch_size,
        show_progress_bar=False,
        activation_fn=torch.nn.Identity(),
        convert_to_numpy=True,
    )
    return np.asarray(logits, np.float32).reshape(len(texts))
