"""Texts to a text space with sentence-transformers.

Query and document prompts are those of the model, or of its profile where the model's own
files name none. Every text reaches the library as `{"text": ...}`: a bare string that looks
like the address or path of a picture would be fetched and embedded as a picture by a
multimodal model.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmsearch.errors import ConfigurationError
from mmsearch.models import loading
from mmsearch.models.text.long_texts import LONG_TEXT_RULE, encode_with_pieces
from mmsearch.types import Role, Space, Vectors

if TYPE_CHECKING:
    from mmsearch.models.profiles import ModelSpec
    from mmsearch.settings import Settings

_NEEDS = ("modules.json", "config_sentence_transformers.json", "config.json")
_PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors")
_SKIPPED = ("onnx/*", "openvino/*")
_UNLIMITED = 8192
"""`max_tokens` of models that take any length (bags of static word vectors)."""
_BATCH = 32


def from_spec(spec: ModelSpec, settings: Settings) -> SentenceEmbedder:
    """The embedder that a profile names, as the settings want it."""
    return SentenceEmbedder(
        spec.name,
        prompts=spec.prompts,
        model_folder=settings.model_folder,
        allow_download=settings.allow_download,
        device=settings.device,
        precision=settings.precision,
        threads=settings.threads,
    )


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: Any
    space: Space
    limit: int
    """Tokens that fit, prompt not counted."""
    takes_dicts: bool


class SentenceEmbedder:
    """A `TextEmbedder`: a hub id, a folder, or "nano-text", which ships with mmsearch."""

    def __init__(
        self,
        model: str,
        *,
        prompts: Mapping[Role, str] | None = None,
        model_folder: Path = Path("~/.cache/mmsearch/models"),
        allow_download: bool = False,
        device: str = "auto",
        precision: str = "auto",
        threads: int = 0,
    ) -> None:
        self._name = model
        self._prompts = dict(prompts) if prompts else None
        self._model_folder = model_folder
        self._allow_download = allow_download
        self._device = device
        self._precision = precision
        self._threads = loading.arithmetic_threads(threads)
        self._lazy = loading.Lazy(self._load)
        # The tokenizers behind the library change their state with each call.
        self._tokenizing = threading.Lock()
        self._description: tuple[Space, int] | None = None

    @property
    def space(self) -> Space:
        return self._described()[0]

    @property
    def max_tokens(self) -> int:
        return self._described()[1]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        with self._tokenizing:
            return _count(self._lazy.get().model, texts)

    def encode_texts(self, texts: Sequence[str], role: Role) -> Vectors:
        loaded = self._lazy.get()
        if not texts:
            return np.empty((0, loaded.space.dimension), np.float32)
        with self._tokenizing:
            return encode_with_pieces(
                texts,
                loaded.limit,
                lambda some: _count(loaded.model, some),
                lambda some: self._encode(loaded, some, role),
            )

    def release(self) -> None:
        self._lazy.release()

    def _described(self) -> tuple[Space, int]:
        """What stays known after `release`, so that asking for it loads nothing again."""
        if self._description is None:
            self._lazy.get()
        assert self._description is not None, "loading sets it"
        return self._description

    def _encode(self, loaded: _Loaded, texts: list[str], role: Role) -> Vectors:
        import torch

        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        return _encode(loaded.model, texts, role, self._prompts, dicts=loaded.takes_dicts)

    # -------------------------------------------------------------- loading

    def _load(self) -> _Loaded:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        from mmsearch.models.devices import resolve_device

        folder = self._folder()
        # Its bar for reading a file from the disk tells nobody anything.
        disable_progress_bar()
        dtype = torch.bfloat16 if self._precision == "bf16" else torch.float32
        try:
            model = SentenceTransformer(
                str(folder),
                device=str(resolve_device(self._device)),
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"dtype": dtype},
            ).eval()
        except MemoryError:
            raise
        except Exception as error:
            raise loading.unreadable(self._name, folder, error) from error
        dicts = self._takes_dicts(model)
        probe = _encode(model, ["a probe"], "query", self._prompts, dicts=dicts)
        space = self._space_of(model, folder, probe.shape[1])
        limit = _limit(model, self._prompts)
        self._description = (space, limit)
        return _Loaded(model=model, space=space, limit=limit, takes_dicts=dicts)

    def _folder(self) -> Path:
        if self._name == "nano-text":
            return loading.nano_folder("text")
        folder = loading.find_model(
            self._name,
            model_folder=self._model_folder,
            repo=self._name if "/" in self._name else f"sentence-transformers/{self._name}",
            patterns=_PATTERNS,
            needs=_NEEDS,
            allow_download=self._allow_download,
            ignored=_SKIPPED,
        )
        loading.verify_manifest(folder)
        return folder

    def _takes_dicts(self, model: Any) -> bool:
        """Whether texts can be handed over as {"text": ...}; only then are strings safe.

        Modules that know nothing but text (static word vectors) take strings alone, and
        cannot read anything else into them.
        """
        try:
            model.preprocess([{"text": "a probe"}])
        except (TypeError, ValueError, AttributeError) as error:
            if list(model.modalities) == ["text"]:
                return False
            raise ConfigurationError(
                f"'{self._name}' does not take texts that are marked as texts, so a query "
                "could be taken for the address of a picture. Use another text model."
            ) from error
        return True

    def _space_of(self, model: Any, folder: Path, dimension: int) -> Space:
        files = [
            path
            for path in sorted(folder.rglob("*"))
            if path.suffix in (".safetensors", ".bin", ".json", ".txt", ".model")
            and path.name != loading.MANIFEST
            and not {"onnx", "openvino"} & set(path.relative_to(folder).parts)
        ]
        weights = loading.weights_digest(files)
        prompts = self._prompts or {role: _own_prompt(model, role) for role in _ROLES}
        return Space(
            name="text",
            model=self._name,
            revision=folder.name[:12] if folder.parent.name == "snapshots" else weights[:12],
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
    # A text without any known word has no direction; one that is near to nothing keeps
    # the promise of unit rows.
    vectors = np.where(lengths > 1e-9, vectors, np.float32(1.0))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _own_prompt(model: Any, role: Role) -> str:
    """The prompt that `encode_query` or `encode_document` would choose by itself."""
    names = ("query",) if role == "query" else ("document", "passage", "corpus")
    named = next((model.prompts[n] for n in names if model.prompts.get(n)), None)
    return named or model.prompts.get(model.default_prompt_name or "", "") or ""


def _count(model: Any, texts: Sequence[str]) -> list[int]:
    tokenizer = model.tokenizer
    if hasattr(tokenizer, "encode_batch"):  # static embeddings: a bare `tokenizers.Tokenizer`
        encodings = tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [len(encoding.ids) for encoding in encodings]
    if not texts:
        return []
    ids = tokenizer(list(texts), truncation=False, padding=False, verbose=False)["input_ids"]
    return [len(row) for row in ids]


def _limit(model: Any, prompts: Mapping[Role, str] | None) -> int:
    """Tokens of a text, special tokens included, that fit beside the longer prompt."""
    longest = model.max_seq_length
    if longest is None:
        longest = getattr(model.tokenizer, "model_max_length", _UNLIMITED)
    if longest > 10**6:
        return _UNLIMITED
    texts = [prompts[role] if prompts else _own_prompt(model, role) for role in _ROLES]
    empty, *counts = _count(model, ["", *texts])
    # One token of slack: prompt and text may be divided otherwise when they stand together.
    room = max(count - empty for count in counts)
    return int(longest) - (room + 1 if room else 0)
