"""Texts to a text space with sentence-transformers.

Query and document prompts are those of the profile, else those in the model's files. Texts are
passed to the library as `{"text": ...}`: a multimodal model would load and embed a bare string
that looks like the address or path of a picture as that picture.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmsearch.errors import ConfigurationError
from mmsearch.models import loading
from mmsearch.models.runtime import Runtime
from mmsearch.models.text import readable
from mmsearch.models.text.long_texts import LONG_TEXT_RULE, encode_with_pieces
from mmsearch.models.text.tokenizing import lock_preprocessing
from mmsearch.types import Role, Space, Vectors

if TYPE_CHECKING:
    from mmsearch.models.profiles import ModelSpec

_NEEDS = ("modules.json", "config_sentence_transformers.json", "config.json")
_PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors")
_SKIPPED = ("onnx/*", "openvino/*")
_SUFFIXES = (".safetensors", ".bin", ".json", ".txt", ".model")
"""Of the files that change a vector."""
_UNLIMITED = 8192
"""`max_tokens` of models without a limit (static word vectors)."""
_BATCH = 32


def from_spec(spec: ModelSpec, runtime: Runtime) -> SentenceEmbedder:
    """The embedder of a profile."""
    return SentenceEmbedder(spec.name, prompts=spec.prompts, runtime=runtime)


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: Any
    space: Space
    limit: int
    """Tokens that fit beside the prompt."""
    takes_dicts: bool


class SentenceEmbedder:
    """A `TextEmbedder`: a hub id, a folder, or "nano-text", which ships with mmsearch."""

    def __init__(
        self,
        model: str,
        *,
        prompts: Mapping[Role, str] | None = None,
        runtime: Runtime = Runtime(),  # noqa: B008  # frozen
    ) -> None:
        self._name = model
        self._prompts = dict(prompts) if prompts else None
        self._runtime = runtime
        self._lazy = loading.Lazy(self._load)
        self._tokenizing = threading.Lock()
        self._description: tuple[Space, int] | None = None

    @property
    def space(self) -> Space:
        return self._described()[0]

    @property
    def max_tokens(self) -> int:
        return self._described()[1]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._count(self._lazy.get().model, readable.without_surrogates(texts))

    def can_read(self, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        tokenizer = self._lazy.get().model.tokenizer
        with self._tokenizing:
            return readable.by_tokenizer(tokenizer, texts)

    def encode_texts(self, texts: Sequence[str], role: Role) -> Vectors:
        loaded = self._lazy.get()
        if not texts:
            return np.empty((0, loaded.space.dimension), np.float32)
        return encode_with_pieces(
            readable.without_surrogates(texts),
            loaded.limit,
            lambda part: self._count(loaded.model, part),
            lambda part: self._encode(loaded, part, role),
        )

    def release(self) -> None:
        self._lazy.release()

    def _described(self) -> tuple[Space, int]:
        """Known after `release` too, so that reading it does not load the model again."""
        if self._description is None:
            self._lazy.get()
        assert self._description is not None, "loading sets it"
        return self._description

    def _count(self, model: Any, texts: Sequence[str]) -> list[int]:
        with self._tokenizing:
            return _count(model, texts)

    def _encode(self, loaded: _Loaded, texts: list[str], role: Role) -> Vectors:
        self._runtime.limit_torch_threads()
        return _encode(loaded.model, texts, role, self._prompts, dicts=loaded.takes_dicts)

    # -------------------------------------------------------------- loading

    def _load(self) -> _Loaded:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        folder = self._folder()
        disable_progress_bar()
        dtype = torch.bfloat16 if self._runtime.precision == "bf16" else torch.float32
        try:
            model = SentenceTransformer(
                str(folder),
                device=str(self._runtime.torch_device()),
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"dtype": dtype},
            ).eval()
        except MemoryError:
            raise
        except Exception as error:
            raise loading.unreadable(self._name, folder, error) from error
        lock_preprocessing(model, self._tokenizing)
        dicts = self._takes_dicts(model)
        probe = _encode(model, ["a probe"], "query", self._prompts, dicts=dicts)
        space = self._space_of(model, folder, probe.shape[1])
        limit = _limit(model, self._prompts)
        self._description = (space, limit)
        return _Loaded(model=model, space=space, limit=limit, takes_dicts=dicts)

    def _folder(self) -> Path:
        if self._name == "nano-text":
            return loading.nano_folder("text")
        return self._runtime.find_model(
            self._name,
            repo=self._name if "/" in self._name else f"sentence-transformers/{self._name}",
            patterns=_PATTERNS,
            needs=_NEEDS,
            ignored=_SKIPPED,
        )

    def _takes_dicts(self, model: Any) -> bool:
        """Whether the model takes texts as {"text": ...}.

        Text-only modules (static word vectors) take bare strings, and never treat one as a
        path. Raises ConfigurationError for a multimodal model that takes bare strings only.
        """
        try:
            model.preprocess([{"text": "a probe"}])
        except (TypeError, ValueError, AttributeError) as error:
            if list(model.modalities) == ["text"]:
                return False
            raise ConfigurationError(
                f"'{self._name}' does not take texts that are marked as texts, so it could load a "
                "picture from the address in a query. Use another text model."
            ) from error
        return True

    def _space_of(self, model: Any, folder: Path, dimension: int) -> Space:
        weights = loading.folder_digest(folder, _SUFFIXES, recursive=True)
        prompts = self._prompts or {role: _own_prompt(model, role) for role in _ROLES}
        return Space(
            name="text",
            model=self._name,
            revision=loading.revision_of(folder, weights),
            fingerprint=loading.fingerprint(
                adapter="sentence/1",
                weights=weights,
                prompts=prompts,
                long_texts=LONG_TEXT_RULE,
            ),
            dimension=dimension,
        )


_ROLES: tuple[Role, Role] = ("query", "document")


def _encode(
    model: Any, texts: list[str], role: Role, prompts: Mapping[Role, str] | None, *, dicts: bool
) -> Vectors:
    """(len(texts), dimension) float32, unit rows."""
    encode = model.encode_query if role == "query" else model.encode_document
    vectors = np.asarray(
        encode(
            [{"text": text} for text in texts] if dicts else texts,
            prompt=prompts[role] if prompts else None,
            batch_size=_BATCH,
            show_progress_bar=False,
            normalize_embeddings=False,
            convert_to_numpy=True,
        ),
        dtype=np.float32,
    )
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    # The vector of a text without any known word is zero; it gets an arbitrary unit vector.
    vectors = np.where(lengths > 1e-9, vectors, np.float32(1.0))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _own_prompt(model: Any, role: Role) -> str:
    """The prompt that `encode_query` or `encode_document` uses by default."""
    names = ("query",) if role == "query" else ("document", "passage", "corpus")
    prompt = next((model.prompts[n] for n in names if model.prompts.get(n)), None)
    return prompt or model.prompts.get(model.default_prompt_name or "", "") or ""


def _count(model: Any, texts: Sequence[str]) -> list[int]:
    tokenizer = model.tokenizer
    if hasattr(tokenizer, "encode_batch"):  # static word vectors: a `tokenizers.Tokenizer`
        encodings = tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [len(encoding.ids) for encoding in encodings]
    if not texts:
        return []
    ids = tokenizer(list(texts), truncation=False, padding=False, verbose=False)["input_ids"]
    return [len(row) for row in ids]


def _limit(model: Any, prompts: Mapping[Role, str] | None) -> int:
    """Tokens of a text, with special tokens, that fit beside the longer prompt."""
    longest = model.max_seq_length
    if longest is None:
        longest = getattr(model.tokenizer, "model_max_length", _UNLIMITED)
    if longest > 10**6:
        return _UNLIMITED
    texts = [prompts[role] if prompts else _own_prompt(model, role) for role in _ROLES]
    empty, *counts = _count(model, ["", *texts])
    # One token of slack: prompt and text may be tokenised differently when joined.
    room = max(count - empty for count in counts)
    return int(longest) - (room + 1 if room else 0)
