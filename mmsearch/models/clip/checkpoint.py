"""Loads an open_clip model from a `Source`, and describes its input and its space."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mmsearch.errors import ModelError
from mmsearch.models import loading
from mmsearch.models.clip.source import TOKENIZER_FILES, Source
from mmsearch.models.text.long_texts import LONG_TEXT_RULE
from mmsearch.types import Preprocess, Space

if TYPE_CHECKING:
    import torch


def load_model(source: Source, device: torch.device) -> Any:
    """open_clip's model in fp32, ready for inference. Raises DamagedModelError.

    `require_pretrained`: without it open_clip returns a random model with a warning if a
    checkpoint is missing.
    """
    import open_clip
    import torch

    pretrained = str(source.checkpoint) if source.checkpoint else None
    try:
        with quiet_root_logger():
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


def preprocess_of(model: Any) -> Preprocess:
    """The preprocessing that open_clip applies to this model's pictures."""
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


def space_of(source: Source, preprocess: Preprocess, dimension: int) -> Space:
    """The model's space; its fingerprint covers everything that changes a vector."""
    weights = (
        loading.weights_digest([source.checkpoint])
        if source.checkpoint
        else f"random={source.seed}"
    )
    tokenizer = "open_clip"
    if source.tokenizer:
        files = (source.tokenizer / name for name in TOKENIZER_FILES)
        tokenizer = loading.weights_digest(path for path in files if path.is_file())
    fingerprint = loading.fingerprint(
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
        fingerprint=fingerprint,
        dimension=dimension,
    )


@contextmanager
def quiet_root_logger() -> Iterator[None]:
    """Keep open_clip, which logs through the root logger, from installing a handler on it."""
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
