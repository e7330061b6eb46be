"""OpenCLIP: images and texts to one space, with any architecture of open_clip.

The vectors are open_clip's (same preprocessing, fp32) to a cosine of at least 0.999; `towers` and
`selection` describe what is faster and how that is checked. `source` finds a model's files.

A text longer than the model's context is encoded in pieces (`long_texts`); open_clip would
truncate it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmsearch.models import loading
from mmsearch.models.clip import checkpoint, tokens
from mmsearch.models.clip.source import find_source
from mmsearch.models.runtime import Runtime
from mmsearch.models.text import readable
from mmsearch.models.text.long_texts import encode_with_pieces
from mmsearch.types import Preprocess, Role, Space, Vectors

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from mmsearch.models.profiles import ModelSpec

_IMAGES_PER_CALL = 64
_TEXTS_PER_CALL = 32


def from_spec(spec: ModelSpec, runtime: Runtime) -> OpenClipEmbedder:
    """The embedder of a profile."""
    return OpenClipEmbedder(
        spec.name, weights=spec.weights, random_weights=spec.seed, runtime=runtime
    )


@dataclass(frozen=True, slots=True)
class _Loaded:
    space: Space
    preprocess: Preprocess
    images: Callable[[Tensor], Tensor]
    texts: Callable[[Tensor], Tensor]
    tokenizer: Any
    context: int
    device: torch.device
    arithmetic: tuple[str, str]
    heat: loading.Lazy[tuple[Any, tuple[int, int]]]
    """How heat maps are made and the size of their pictures; determined by the first one."""


class OpenClipEmbedder:
    """An `ImageTextEmbedder`. `source.find_source` documents the names of models.

    `runtime.precision` "auto" uses bf16 where the device computes it natively, else 8-bit
    weights on a CPU, each only for a tower whose probe vectors keep a cosine of 0.9995 to fp32;
    otherwise fp32. `random_weights` is a seed, for tests and benchmarks.
    """

    def __init__(
        self,
        model: str,
        *,
        weights: str | None = None,
        random_weights: int | None = None,
        runtime: Runtime = Runtime(),  # noqa: B008  # frozen
    ) -> None:
        self._model = model
        self._weights = weights
        self._seed = random_weights
        self._runtime = runtime
        self._lazy = loading.Lazy(self._load)
        # Hugging Face's tokenizers change their own state (padding, truncation) in each call.
        self._tokenizing = threading.Lock()
        self._description: tuple[Space, Preprocess, int] | None = None

    # -------------------------------------------------------------- protocol

    @property
    def space(self) -> Space:
        return self._described()[0]

    @property
    def preprocess(self) -> Preprocess:
        return self._described()[1]

    @property
    def max_tokens(self) -> int:
        return self._described()[2]

    @property
    def arithmetic(self) -> tuple[str, str]:
        """Of the image tower and the text tower, for example ("int8", "fp32")."""
        return self._lazy.get().arithmetic

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._counted(self._lazy.get(), texts)

    def can_read(self, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        if self._model == "nano-clip":
            return readable.in_latin_script(texts)
        loaded = self._lazy.get()
        with self._tokenizing:
            return tokens.can_read(loaded.tokenizer, texts)

    def encode_texts(self, texts: Sequence[str], role: Role) -> Vectors:  # noqa: ARG002
        """CLIP has one kind of text, so `role` has no effect."""
        loaded = self._lazy.get()
        if not texts:
            return np.empty((0, loaded.space.dimension), np.float32)
        return encode_with_pieces(
            texts,
            loaded.context,
            lambda part: self._counted(loaded, part),
            lambda part: self._encode_short(loaded, part),
        )

    def encode_pixels(self, pixels: npt.NDArray[np.uint8]) -> Vectors:
        loaded = self._lazy.get()
        expected = (*loaded.preprocess.size, 3)
        if pixels.dtype != np.uint8 or pixels.shape[1:] != expected:
            raise ValueError(f"pixels: {pixels.dtype} {pixels.shape}, not uint8 (n, {expected})")
        vectors = np.empty((len(pixels), loaded.space.dimension), np.float32)
        import torch

        with self._inference():
            for start in range(0, len(pixels), _IMAGES_PER_CALL):
                part = np.ascontiguousarray(pixels[start : start + _IMAGES_PER_CALL])
                # torch warns about read-only arrays, although it only reads this one.
                part = part if part.flags.writeable else part.copy()
                out = loaded.images(torch.from_numpy(part).to(loaded.device))
                vectors[start : start + len(part)] = _unit(out)
        return vectors

    def encode_images(self, images: Sequence[Image.Image]) -> Vectors:
        from mmsearch.media.formats.image import preprocess_pixels

        spec = self.preprocess
        if not images:
            return np.empty((0, self.space.dimension), np.float32)
        return self.encode_pixels(np.stack([preprocess_pixels(image, spec) for image in images]))

    @property
    def heat_preprocess(self) -> Preprocess:
        loaded = self._lazy.get()
        return _heatmaps().squash_preprocess(loaded.preprocess, loaded.heat.get()[1])

    def heat_map(self, pixels: npt.NDArray[np.uint8], text: str) -> npt.NDArray[np.float32]:
        import torch

        loaded = self._lazy.get()
        kind, size = loaded.heat.get()
        if pixels.dtype != np.uint8 or pixels.shape != (*size, 3):
            raise ValueError(f"pixels: {pixels.dtype} {pixels.shape}, not uint8 {(*size, 3)}")
        words = torch.from_numpy(self.encode_texts([text], "query")[0]).to(loaded.device)
        picture = torch.from_numpy(np.array(pixels)).to(loaded.device)
        self._runtime.limit_torch_threads()
        return _heatmaps().heat_map(loaded.images, kind, picture, words)

    def release(self) -> None:
        self._lazy.release()

    # -------------------------------------------------------------- encoding

    def _described(self) -> tuple[Space, Preprocess, int]:
        """Known after `release` too, so that reading it does not load the model again."""
        if self._description is None:
            self._lazy.get()
        assert self._description is not None, "loading sets it"
        return self._description

    def _counted(self, loaded: _Loaded, texts: Sequence[str]) -> list[int]:
        with self._tokenizing:
            return tokens.count_tokens(loaded.tokenizer, texts)

    def _encode_short(self, loaded: _Loaded, texts: list[str]) -> Vectors:
        with self._tokenizing:
            ids = tokens.tokenize(loaded.tokenizer, texts, loaded.context)
        vectors = np.empty((len(texts), loaded.space.dimension), np.float32)
        # Sorted by length: a batch costs as much as its longest text.
        order = (ids != 0).sum(dim=1).argsort(stable=True)
        with self._inference():
            for start in range(0, len(texts), _TEXTS_PER_CALL):
                rows = order[start : start + _TEXTS_PER_CALL]
                vectors[rows.numpy()] = _unit(loaded.texts(ids[rows].to(loaded.device)))
        return vectors

    @contextmanager
    def _inference(self) -> Iterator[None]:
        import torch

        self._runtime.limit_torch_threads()
        with torch.inference_mode():
            yield

    # -------------------------------------------------------------- loading

    def _load(self) -> _Loaded:
        source = find_source(self._model, self._weights, seed=self._seed, runtime=self._runtime)
        from mmsearch.models.clip import selection

        device = self._runtime.torch_device()
        model = checkpoint.load_model(source, device)
        preprocess = checkpoint.preprocess_of(model)
        tokenizer = tokens.load_tokenizer(source)
        context = int(getattr(model, "context_length", 0) or tokenizer.context_length)
        choices = selection.arithmetics(self._runtime.precision, device)
        with self._inference():
            images, dimension, image_arithmetic = selection.fastest_image_tower(
                model.visual, preprocess, choices, device
            )
            probes = tokens.tokenize(tokenizer, selection.PROBE_TEXTS, context).to(device)
            texts, text_arithmetic = selection.fastest_text_tower(model, probes, choices)
        space = checkpoint.space_of(source, preprocess, dimension)
        self._description = (space, preprocess, context)
        return _Loaded(
            space=space,
            preprocess=preprocess,
            images=images,
            texts=texts,
            tokenizer=tokenizer,
            context=context,
            device=device,
            arithmetic=(image_arithmetic, text_arithmetic),
            heat=loading.Lazy(lambda: _heatmaps().family(images, preprocess.size)),
        )


def _heatmaps() -> Any:
    """Imported when the first map is requested, because it imports torch."""
    from mmsearch.models.clip import heatmaps

    return heatmaps


def _unit(vectors: Tensor) -> Vectors:
    import torch

    return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()
