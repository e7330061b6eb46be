"""A text cross-encoder (sentence-transformers): passages and transcripts.

It reads query and passage together, so it sees what two separate vectors cannot.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsearch.errors import ConfigurationError
from mmsearch.models import loading
from mmsearch.models.rerankers import prompts
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
    """A hub id or a folder. The score is the logistic function of the model's one logit."""

    concurrency = 1
    gives_reasons = False

    def __init__(
        self,
        model: str,
        *,
        model_folder: Path = Path("~/.cache/mmsearch/models"),
        allow_download: bool = False,
        device: str = "auto",
        threads: int = 0,
        batch_size: int = 16,
    ) -> None:
        self._name = model
        self._model_folder = model_folder
        self._allow_download = allow_download
        self._device = device
        self._threads = loading.arithmetic_threads(threads)
        self._batch_size = batch_size
        self._lazy = loading.Lazy(self._load)
        # The tokenizers behind the library change their state with each call.
        self._using = threading.Lock()

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
        seconds: float,  # noqa: ARG002  # a forward pass cannot be broken off
        reasons: bool = False,  # noqa: ARG002  # it has none
    ) -> RerankScores:
        loaded = self._lazy.get()
        texts = [(candidate.text or "")[: prompts.MAX_TEXT] for candidate in candidates]
        with self._using:
            logits = _logits(loaded, query, texts, self._threads, self._batch_size)
        scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -60, 60)))
        return RerankScores(tuple(RerankScore(float(score)) for score in scores))

    def release(self) -> None:
        self._lazy.release()

    def _load(self) -> _Loaded:
        from sentence_transformers import CrossEncoder
        from transformers.utils.logging import disable_progress_bar

        from mmsearch.models.devices import resolve_device

        folder = loading.find_model(
            self._name,
            model_folder=self._model_folder,
            repo=self._name if "/" in self._name else f"cross-encoder/{self._name}",
            patterns=_PATTERNS,
            needs=_NEEDS,
            allow_download=self._allow_download,
            ignored=_SKIPPED,
        )
        loading.verify_manifest(folder)
        # Its bar for reading a file from the disk tells nobody anything.
        disable_progress_bar()
        try:
            model = CrossEncoder(
                str(folder),
                device=str(resolve_device(self._device)),
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
        weights = loading.weights_digest(
            path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json")
        )
        name = loading.fingerprint(adapter="cross-encoder/1", weights=weights)
        return _Loaded(model, name, self._takes_dicts(model))

    def _takes_dicts(self, model: Any) -> bool:
        """Whether texts can be marked as texts: a model for pictures too would otherwise fetch
        what looks like an address, and open what looks like a path."""
        marked = [({"text": "a probe"}, {"text": "another"})]
        try:
            model.predict(marked, show_progress_bar=False)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            if list(getattr(model, "modalities", ["text"])) == ["text"]:
                return False
            raise ConfigurationError(
                f"'{self._name}' does not take texts that are marked as texts, so a query "
                "could be taken for the address of a picture. Use another cross-encoder."
            ) from error
        return True


def _logits(
    loaded: _Loaded, query: str, texts: Sequence[str], threads: int, batch_size: int
) -> Any:
    """One raw logit per text, float32 (len(texts),)."""
    import torch

    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    pairs: list[Any] = [(query, text) for text in texts]
    if loaded.takes_dicts:
        pairs = [({"text": query}, {"text": text}) for text in texts]
    out = loaded.model.predict(
        pairs,
        batch_size=batch_size,
        show_progress_bar=False,
        activation_fn=torch.nn.Identity(),
        convert_to_numpy=True,
    )
    return np.asarray(out, np.float32).reshape(len(texts))
