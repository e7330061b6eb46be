"""Images and texts to one space with open_clip: any architecture it knows.

The vectors are open_clip's own (same preprocessing, fp32) to a cosine of at least 0.999;
what is done faster, and how that is checked, is told in `openclip_towers`. Which files a
model is made of is found by `openclip_source`.

A text longer than the tower reads is encoded in pieces (`long_texts`); open_clip would
cut it.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmsearch.errors import ConfigurationError, ModelError
from mmsearch.models import loading
from mmsearch.models.clip import source as openclip_source
from mmsearch.models.text.long_texts import LONG_TEXT_RULE, encode_with_pieces
from mmsearch.types import Preprocess, Role, Space, Vectors

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from mmsearch.models.clip.towers import Arithmetic
    from mmsearch.models.profiles import ModelSpec
    from mmsearch.settings import Settings

Precision: TypeAlias = Literal["auto", "fp32", "bf16", "int8"]

logger = logging.getLogger(__name__)

_IMAGES_PER_CALL = 64
_TEXTS_PER_CALL = 32
_LONGEST_WORD = 1000
_WORDS_REMEMBERED = 100_000


def from_spec(spec: ModelSpec, settings: Settings) -> OpenClipEmbedder:
    """The embedder that a profile names, as the settings want it."""
    return OpenClipEmbedder(
        spec.name,
        weights=spec.weights,
        random_weights=spec.seed,
        model_folder=settings.model_folder,
        allow_download=settings.allow_download,
        device=settings.device,
        precision=settings.precision,
        threads=settings.threads,
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
    """How heat maps are made, found out when the first one is."""


class OpenClipEmbedder:
    """An `ImageTextEmbedder`; see `openclip_source.find` for what a model may be called.

    `precision` "auto" takes bf16 where the processor computes it natively, else 8-bit
    weights, each only for a tower whose probe vectors keep a cosine of 0.9995 to fp32;
    otherwise fp32. `random_weights` is a seed, for tests and benchmarks.
    """

    def __init__(
        self,
        model: str,
        *,
        weights: str | None = None,
        random_weights: int | None = None,
        model_folder: Path = Path("~/.cache/mmsearch/models"),
        allow_download: bool = False,
        device: str = "auto",
        precision: Precision = "auto",
        threads: int = 0,
    ) -> None:
        self._model = model
        self._weights = weights
        self._seed = random_weights
        self._model_folder = model_folder
        self._allow_download = allow_download
        self._device = device
        self._precision: Precision = precision
        self._threads = loading.arithmetic_threads(threads)
        self._lazy = loading.Lazy(self._load)
        # Hugging Face's tokenizers change their own state (padding, truncation) in a call.
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
        """What the image tower and the text tower compute with, for example ("int8", "fp32")."""
        return self._lazy.get().arithmetic

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._counted(self._lazy.get(), texts)

    def encode_texts(self, texts: Sequence[str], role: Role) -> Vectors:  # noqa: ARG002
        """CLIP has one kind of text: `role` changes nothing here."""
        loaded = self._lazy.get()
        if not texts:
            return np.empty((0, loaded.space.dimension), np.float32)
        return encode_with_pieces(
            texts,
            loaded.context,
            lambda some: self._counted(loaded, some),
            lambda some: self._encode_short(loaded, some),
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
                # A copy where the array is read-only: torch cannot say that it only reads.
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
        return _heatmaps().as_preprocess(loaded.preprocess, loaded.heat.get()[1])

    def heat_map(self, pixels: npt.NDArray[np.uint8], text: str) -> npt.NDArray[np.float32]:
        import torch

        loaded = self._lazy.get()
        kind, size = loaded.heat.get()
        if pixels.dtype != np.uint8 or pixels.shape != (*size, 3):
            raise ValueError(f"pixels: {pixels.dtype} {pixels.shape}, not uint8 {(*size, 3)}")
        words = torch.from_numpy(self.encode_texts([text], "query")[0]).to(loaded.device)
        shown = torch.from_numpy(np.array(pixels)).to(loaded.device)
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        return _heatmaps().heat_map(loaded.images, kind, shown, words)

    def release(self) -> None:
        self._lazy.release()

    # -------------------------------------------------------------- encoding

    def _described(self) -> tuple[Space, Preprocess, int]:
        """What stays known after `release`, so that asking for it loads nothing again."""
        if self._description is None:
            self._lazy.get()
        assert self._description is not None, "loading sets it"
        return self._description

    def _counted(self, loaded: _Loaded, texts: Sequence[str]) -> list[int]:
        with self._tokenizing:
            return _count(loaded.tokenizer, texts)

    def _encode_short(self, loaded: _Loaded, texts: list[str]) -> Vectors:
        with self._tokenizing:
            tokens = _tokenize(loaded.tokenizer, texts, loaded.context)
        vectors = np.empty((len(texts), loaded.space.dimension), np.float32)
        # Rows of like length together: a batch costs as much as its longest text.
        order = (tokens != 0).sum(dim=1).argsort(stable=True)
        with self._inference():
            for start in range(0, len(texts), _TEXTS_PER_CALL):
                rows = order[start : start + _TEXTS_PER_CALL]
                vectors[rows.numpy()] = _unit(loaded.texts(tokens[rows].to(loaded.device)))
        return vectors

    @contextmanager
    def _inference(self) -> Iterator[None]:
        import torch

        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            yield

    # -------------------------------------------------------------- loading

    def _load(self) -> _Loaded:
        source = openclip_source.find(
            self._model,
            self._weights,
            model_folder=self._model_folder,
            allow_download=self._allow_download,
            seed=self._seed,
        )
        from mmsearch.models.devices import resolve_device

        device = resolve_device(self._device)
        model = _create(source, device)
        preprocess = _preprocess(model)
        tokenizer = _tokenizer(source)
        context = int(getattr(model, "context_length", 0) or tokenizer.context_length)
        with self._inference():
            images, dimension, image_arithmetic = self._image_tower(model, preprocess, device)
            tokens = _tokenize(tokenizer, _probe_texts(), context).to(device)
            texts, text_arithmetic = self._text_tower(model, tokens)
        space = _space(source, preprocess, dimension)
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

    def _image_tower(
        self, model: Any, preprocess: Preprocess, device: torch.device
    ) -> tuple[Callable[[Tensor], Tensor], int, str]:
        """The fastest way through the image tower that keeps to open_clip's vectors."""
        import torch

        from mmsearch.models.clip import towers

        visual = model.visual
        reference = towers.ModuleImageTower(visual, preprocess)
        large = sum(p.numel() for p in visual.parameters()) > 200e6
        probes = torch.from_numpy(towers.probe_pixels(preprocess, 2 if large else 6)).to(device)
        expected = reference(probes)

        def build(arithmetic: Arithmetic) -> Callable[[Tensor], Tensor]:
            if towers.is_plain_vit(visual):
                return towers.VitImageTower(visual, preprocess, arithmetic)
            return towers.ModuleImageTower(_converted(visual, arithmetic), preprocess)

        for arithmetic in self._wanted(device):
            tower = _tried(build, arithmetic, probes, expected)
            if tower is not None:
                if isinstance(tower, towers.VitImageTower):
                    visual.transformer = torch.nn.Identity()  # frees what is not used any more
                return tower, expected.shape[1], arithmetic
        self._say_fallback("image")
        return reference, expected.shape[1], "fp32"

    def _text_tower(self, model: Any, tokens: Tensor) -> tuple[Callable[[Tensor], Tensor], str]:
        """The fastest way through the text tower that keeps to open_clip's vectors."""
        from mmsearch.models.clip import towers

        reference = towers.ModuleTextTower(model)
        expected = reference(tokens)

        def build(arithmetic: Arithmetic) -> Callable[[Tensor], Tensor]:
            if towers.text_parts(model) is not None:
                return towers.FastTextTower(model, arithmetic)
            if arithmetic == "fp32":
                return reference
            return towers.ModuleTextTower(_converted(model, arithmetic, without="visual"))

        for arithmetic in self._wanted(tokens.device):
            tower = _tried(build, arithmetic, tokens, expected)
            if tower is not None:
                if isinstance(tower, towers.FastTextTower):
                    tower.drop_originals()
                return tower, arithmetic
        self._say_fallback("text")
        return reference, "fp32"

    def _wanted(self, device: torch.device) -> tuple[Arithmetic, ...]:
        """Kinds of arithmetic to try, the preferred one first."""
        from mmsearch.models.devices import can_quantise, native_bf16

        if self._precision == "bf16":
            return ("bf16", "fp32")
        if self._precision == "int8" and device.type != "cpu":
            raise ConfigurationError("precision int8 is for the CPU; use bf16 on a GPU")
        if self._precision == "int8":
            return ("int8", "fp32")
        if self._precision == "auto" and native_bf16(device):
            return ("bf16", "fp32")
        if self._precision == "auto" and device.type == "cpu" and can_quantise():
            return ("int8", "fp32")
        return ("fp32",)

    def _say_fallback(self, tower: str) -> None:
        logger.info("%s: the %s tower runs as open_clip's own module in fp32", self._model, tower)


def _heatmaps() -> Any:
    """Imports torch, so only when a map is asked for."""
    from mmsearch.models.clip import heatmaps as openclip_heatmaps

    return openclip_heatmaps


def _create(source: openclip_source.Source, device: torch.device) -> Any:
    """open_clip's model in fp32, ready for inference.

    `require_pretrained`: open_clip by itself would return a random model with a warning
    where a checkpoint is missing.
    """
    import open_clip
    import torch

    pretrained = str(source.checkpoint) if source.checkpoint else None
    try:
        with _quiet_root_logger():
            if source.seed is not None:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(source.seed)
                    model = open_clip.create_model(
                        source.architecture, load_weights=False, pretrained_text=False
                    )
            else:
                in_folder = source.architecture.startswith("local-dir:")
                model = open_clip.create_model(
                    source.architecture,
                    pretrained=None if in_folder else pretrained,
                    force_preprocess_cfg=dict(source.preprocess),
                    require_pretrained=True,
                )
    except (ModelError, MemoryError):
        raise
    except Exception as error:
        raise loading.unreadable(source.model, source.architecture, error) from error
    return model.to(device).eval().requires_grad_(False)


def _preprocess(model: Any) -> Preprocess:
    cfg = model.visual.preprocess_cfg
    size = cfg["size"]
    height, width = (size, size) if isinstance(size, int) else size
    return Preprocess(
        size=(int(height), int(width)),
        mean=_three(cfg["mean"]),
        std=_three(cfg["std"]),
        interpolation=cfg["interpolation"],
        resize_mode=cfg["resize_mode"],
        fill_color=int(cfg["fill_color"]),
    )


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)


def _space(source: openclip_source.Source, preprocess: Preprocess, dimension: int) -> Space:
    weights = (
        loading.weights_digest([source.checkpoint])
        if source.checkpoint
        else f"random={source.seed}"
    )
    tokenizer = "open_clip"
    if source.tokenizer:
        names = openclip_source.TOKENIZER_FILES
        files = (source.tokenizer / name for name in names)
        tokenizer = loading.weights_digest(path for path in files if path.is_file())
    name = loading.fingerprint(
        adapter="openclip/1",
        config=source.config,
        weights=weights,
        preprocess=[getattr(preprocess, field) for field in preprocess.__slots__],
        tokenizer=tokenizer,
        long_texts=LONG_TEXT_RULE,
    )
    return Space(
        name="clip",
        model=source.model,
        revision=source.revision,
        fingerprint=name,
        dimension=dimension,
    )


def _tried(
    build: Callable[[Arithmetic], Callable[[Tensor], Tensor]],
    arithmetic: Arithmetic,
    probes: Tensor,
    expected: Tensor,
) -> Callable[[Tensor], Tensor] | None:
    """The tower, if it can be built and run and its probe vectors are open_clip's own.

    Some modules reach into their layers and cannot run on 8-bit ones; and the libraries
    change. Whatever the reason, a faster way that fails here is not taken.
    """
    from mmsearch.models.clip.towers import agree

    try:
        tower = build(arithmetic)
        return tower if agree(tower(probes), expected) else None
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        logger.debug("%s: %s", arithmetic, error)
        return None


def _converted(module: nn.Module, arithmetic: Arithmetic, without: str = "") -> nn.Module:
    """A copy of `module` in other arithmetic. Raises ValueError where that brings nothing.

    Convolutional towers hold hardly any large linear layer, so 8 bits do not help them.
    """
    import torch

    from mmsearch.models.clip.towers import quantise_linears

    if arithmetic == "fp32":
        return module.to(memory_format=torch.channels_last)
    skipped = getattr(module, without, None) if without else None
    memo = {id(skipped): None} if skipped is not None else {}
    # Ordinary tensors, also where towers are tried without gradients: heat maps need some.
    with torch.inference_mode(mode=False):
        other = copy.deepcopy(module, memo)
        if arithmetic == "bf16":
            return other.to(torch.bfloat16).to(memory_format=torch.channels_last)
    before = sum(p.numel() for p in other.parameters())
    quantise_linears(other)
    if sum(p.numel() for p in other.parameters()) > before / 2:
        raise ValueError("hardly any large linear layer")
    return other


def _tokenizer(source: openclip_source.Source) -> Any:
    import open_clip
    from open_clip.tokenizer import HFTokenizer

    if source.tokenizer is None:
        with _quiet_root_logger():
            return open_clip.get_tokenizer(source.architecture)
    text = source.config["text_cfg"]
    try:
        return HFTokenizer(
            str(source.tokenizer),
            context_length=text.get("context_length", 77),
            tokenizer_mode=text.get("tokenizer_mode"),
            local_files_only=True,
            **text.get("tokenizer_kwargs", {}),
        )
    except (OSError, ValueError, ImportError) as error:
        raise loading.unreadable(f"tokenizer of {source.model}", source.tokenizer, error) from error


def _tokenize(tokenizer: Any, texts: Sequence[str], context: int) -> Tensor:
    """(n, context) int64, padded as open_clip pads."""
    return tokenizer([_spaced(text) for text in texts], context_length=context)


def _count(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    texts = [_spaced(text) for text in texts]
    if hasattr(tokenizer, "bpe_ranks"):  # open_clip's SimpleTokenizer
        if len(tokenizer.cache) > _WORDS_REMEMBERED:
            # It remembers every word it ever saw; an index run would let it grow for ever.
            tokenizer.cache = {t: t for t in ("<start_of_text>", "<end_of_text>")}
        return [len(tokenizer.encode(text)) + 2 for text in texts]
    cleaned = [tokenizer.clean_fn(text) for text in texts]
    special = tokenizer.tokenizer_mode != "clips"
    ids = tokenizer.tokenizer(cleaned, add_special_tokens=special, verbose=False).input_ids
    return [len(row) + (0 if special else 3) for row in ids]


def _spaced(text: str) -> str:
    """Break "words" of thousands of letters: byte-pair merging takes quadratic time on them."""
    if len(text) <= _LONGEST_WORD:
        return text
    step = _LONGEST_WORD
    return " ".join(
        " ".join(word[i : i + step] for i in range(0, len(word), step)) for word in text.split()
    )


def _probe_texts() -> Sequence[str]:
    from mmsearch.models.clip.towers import PROBE_TEXTS

    return PROBE_TEXTS


def _unit(vectors: Tensor) -> Vectors:
    import torch

    return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """open_clip logs through the root logger, which would then set up a handler of its own."""
    root = logging.getLogger()
    if root.handlers:
        yield
        return
    handler = logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
