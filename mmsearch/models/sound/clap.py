"""Sounds and texts to one space with CLAP (transformers).

The vectors are those of `ClapModel.get_audio_features` and `get_text_features` on what
`ClapProcessor` makes of the input. The library would crop longer sounds at random: they are
refused here, and callers split them into windows.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmsearch.errors import ConfigurationError
from mmsearch.models import loading
from mmsearch.models.runtime import Runtime
from mmsearch.models.text import readable
from mmsearch.types import SOUND_RATE, Role, Samples, Space, Vectors

if TYPE_CHECKING:
    from mmsearch.models.profiles import ModelSpec

WINDOW_SECONDS = 10.0
"""The length that CLAP was trained on; loading compares it with the model's feature extractor."""

_NEEDS = ("model.safetensors", "model.safetensors.index.json")
_PATTERNS = ("*.json", "*.txt", "*.safetensors")
_SUFFIXES = (".safetensors", ".json", ".txt")
_BATCH = 8
_MIN_SAMPLES = 480
"""10 ms: shorter sounds are padded with silence before the library repeats them."""


def from_spec(spec: ModelSpec, runtime: Runtime) -> ClapEmbedder:
    """The embedder of a profile."""
    prompts = spec.prompts or {}
    return ClapEmbedder(
        spec.name,
        query_prompt=prompts.get("query", "the sound of "),
        document_prompt=prompts.get("document", ""),
        runtime=runtime,
    )


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: Any
    extractor: Any
    tokenizer: Any
    space: Space
    max_tokens: int


class ClapEmbedder:
    """A `SoundTextEmbedder`: a hub id or a folder of a transformers CLAP model.

    Loads on first use and may be called from several threads.
    """

    def __init__(
        self,
        model: str,
        *,
        query_prompt: str = "the sound of ",
        document_prompt: str = "",
        runtime: Runtime = Runtime(),  # noqa: B008  # frozen
    ) -> None:
        self._name = model
        self._prompts: dict[Role, str] = {"query": query_prompt, "document": document_prompt}
        self._runtime = runtime
        self._lazy = loading.Lazy(self._load)
        # Tokenizers with padding change their own state in each call.
        self._tokenizing = threading.Lock()
        self._description: tuple[Space, int] | None = None

    @property
    def space(self) -> Space:
        return self._described()[0]

    @property
    def max_tokens(self) -> int:
        return self._described()[1]

    @property
    def window_seconds(self) -> float:
        return WINDOW_SECONDS

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        if not texts:
            return []
        loaded = self._lazy.get()
        with self._tokenizing:
            ids = loaded.tokenizer(
                readable.without_surrogates(texts), truncation=False, padding=False
            )["input_ids"]
        return [len(row) for row in ids]

    def can_read(self, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        tokenizer = self._lazy.get().tokenizer
        with self._tokenizing:
            return readable.by_tokenizer(tokenizer, texts)

    def encode_texts(self, texts: Sequence[str], role: Role) -> Vectors:
        loaded = self._lazy.get()
        if not texts:
            return np.empty((0, loaded.space.dimension), np.float32)
        prompt, plain = self._prompts[role], readable.without_surrogates(texts)
        rows = [
            self._texts(loaded, [prompt + text for text in plain[first : first + _BATCH]])
            for first in range(0, len(texts), _BATCH)
        ]
        return _unit(np.concatenate(rows))

    def encode_sounds(self, sounds: Sequence[Samples]) -> Vectors:
        loaded = self._lazy.get()
        if not sounds:
            return np.empty((0, loaded.space.dimension), np.float32)
        longest = round(WINDOW_SECONDS * SOUND_RATE)
        for samples in sounds:
            if samples.ndim != 1 or not 0 < len(samples) <= longest:
                raise ValueError(
                    f"a sound has the shape {samples.shape}, not mono with 1 to {longest} samples"
                )
        rows = [
            self._sounds(loaded, sounds[first : first + _BATCH])
            for first in range(0, len(sounds), _BATCH)
        ]
        return _unit(np.concatenate(rows))

    def release(self) -> None:
        self._lazy.release()

    def _described(self) -> tuple[Space, int]:
        """Known after `release` too, so that reading it does not load the model again."""
        if self._description is None:
            self._lazy.get()
        assert self._description is not None, "loading sets it"
        return self._description

    # -------------------------------------------------------------- one batch

    def _texts(self, loaded: _Loaded, texts: list[str]) -> npt.NDArray[np.float32]:
        with self._tokenizing:
            inputs = loaded.tokenizer(
                texts,
                padding=True,
                truncation=True,
                max_length=loaded.max_tokens,
                return_tensors="pt",
            )
        tokens = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        return self._forward(loaded, loaded.model.get_text_features, tokens)

    def _sounds(self, loaded: _Loaded, sounds: Sequence[Samples]) -> npt.NDArray[np.float32]:
        padded = [
            np.pad(samples, (0, max(0, _MIN_SAMPLES - len(samples)))).astype(np.float32)
            for samples in sounds
        ]
        inputs = loaded.extractor(padded, sampling_rate=SOUND_RATE, return_tensors="pt")
        # Without a long sound in a batch, a fusion model's extractor marks one at random as long.
        features = {
            "input_features": inputs["input_features"].float(),
            "is_longer": inputs["is_longer"].zero_(),
        }
        return self._forward(loaded, loaded.model.get_audio_features, features)

    def _forward(
        self, loaded: _Loaded, tower: Any, inputs: dict[str, Any]
    ) -> npt.NDArray[np.float32]:
        import torch

        self._runtime.limit_torch_threads()
        device = loaded.model.device
        with torch.inference_mode():
            output = tower(**{name: value.to(device) for name, value in inputs.items()})
        # transformers 4 returns the tensor itself.
        vectors = getattr(output, "pooler_output", output)
        rows: npt.NDArray[np.float32] = vectors.float().cpu().numpy()
        return rows

    # -------------------------------------------------------------- loading

    def _load(self) -> _Loaded:
        from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel
        from transformers.utils.logging import disable_progress_bar

        folder = self._runtime.find_model(
            self._name,
            repo=self._name if "/" in self._name else None,
            patterns=_PATTERNS,
            needs=_NEEDS,
        )
        disable_progress_bar()
        try:
            extractor = ClapFeatureExtractor.from_pretrained(folder, local_files_only=True)
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            model = ClapModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        except MemoryError:
            raise
        except Exception as error:
            raise loading.unreadable(self._name, folder, error) from error
        rate, seconds = extractor.sampling_rate, float(extractor.max_length_s)
        if (rate, seconds) != (SOUND_RATE, WINDOW_SECONDS):
            raise ConfigurationError(
                f"'{self._name}' takes windows of {seconds:g} s at {rate} Hz; mmsearch needs a "
                f"model for {WINDOW_SECONDS:g} s at {SOUND_RATE} Hz. Use another CLAP model.",
                param="sound_model",
            )
        model = model.eval().to(self._runtime.torch_device())
        # RoBERTa's positions begin behind its padding token.
        positions = int(model.config.text_config.max_position_embeddings) - 2
        max_tokens = min(int(tokenizer.model_max_length), positions)
        space = self._space_of(folder, int(model.config.projection_dim))
        self._description = (space, max_tokens)
        return _Loaded(model, extractor, tokenizer, space, max_tokens)

    def _space_of(self, folder: Path, dimension: int) -> Space:
        weights = loading.folder_digest(folder, _SUFFIXES)
        return Space(
            name="sound",
            model=self._name,
            revision=loading.revision_of(folder, weights),
            fingerprint=loading.fingerprint(
                adapter="clap/1", weights=weights, prompts=self._prompts
            ),
            dimension=dimension,
        )


def _unit(vectors: npt.NDArray[np.float32]) -> Vectors:
    """Rows of length 1; a row of zeros becomes the first axis."""
    vectors = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.where(lengths > 1e-9, vectors, np.eye(1, vectors.shape[1], dtype=np.float32))
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
