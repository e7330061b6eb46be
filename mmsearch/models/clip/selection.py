"""Chooses the fastest forward pass whose vectors agree with open_clip's.

Each tower is tried in faster arithmetic first (bf16, or 8 bits on a CPU). It is used only if its
vectors of a few probe inputs agree with those of open_clip's module in fp32 (`agree`).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # torch's own convention

from mmsearch.errors import ConfigurationError
from mmsearch.models.clip import towers
from mmsearch.models.clip.towers import Arithmetic
from mmsearch.models.runtime import Precision, can_quantise, native_bf16
from mmsearch.types import Preprocess

logger = logging.getLogger(__name__)

AGREEMENT = 0.9995
"""Least cosine to open_clip's fp32 vector on every probe. The documented bound is 0.999 on any
input."""

DISTINCTION = 0.08
"""Largest error of a probe's vector, as a share of the probes' distance from their mean. A model
whose vectors are all similar has high cosines even if it has lost what distinguishes them."""

_LARGE_TOWER = 200e6
"""Parameters above which fewer probes are used."""


def arithmetics(precision: Precision, device: torch.device) -> tuple[Arithmetic, ...]:
    """Kinds of arithmetic to try on a device, the preferred one first.

    Raises ConfigurationError for int8 on a GPU.
    """
    if precision == "int8" and device.type != "cpu":
        raise ConfigurationError("precision int8 is for the CPU; use bf16 on a GPU")
    if precision == "bf16" or (precision == "auto" and native_bf16(device)):
        return ("bf16", "fp32")
    if precision == "int8" or (precision == "auto" and device.type == "cpu" and can_quantise()):
        return ("int8", "fp32")
    return ("fp32",)


def fastest_image_tower(
    visual: Any, preprocess: Preprocess, choices: tuple[Arithmetic, ...], device: torch.device
) -> tuple[Callable[[Tensor], Tensor], int, Arithmetic]:
    """(tower, dimension, arithmetic). What the tower does not need of `visual` is freed."""
    reference = towers.ModuleImageTower(visual, preprocess)
    large = sum(p.numel() for p in visual.parameters()) > _LARGE_TOWER
    probes = torch.from_numpy(probe_pixels(preprocess, 2 if large else 6)).to(device)
    expected = reference(probes)

    def build(arithmetic: Arithmetic) -> Callable[[Tensor], Tensor]:
        if towers.is_plain_vit(visual):
            return towers.VitImageTower(visual, preprocess, arithmetic)
        return towers.ModuleImageTower(_converted(visual, arithmetic), preprocess)

    for arithmetic in choices:
        tower = _tried(build, arithmetic, probes, expected)
        if tower is not None:
            if isinstance(tower, towers.VitImageTower):
                visual.transformer = nn.Identity()
            return tower, expected.shape[1], arithmetic
    logger.info("the image tower runs as open_clip's own module in fp32")
    return reference, expected.shape[1], "fp32"


def fastest_text_tower(
    model: Any, tokens: Tensor, choices: tuple[Arithmetic, ...]
) -> tuple[Callable[[Tensor], Tensor], Arithmetic]:
    """(tower, arithmetic); `tokens` are those of `PROBE_TEXTS`, (n, context) int64."""
    reference = towers.ModuleTextTower(model)
    expected = reference(tokens)

    def build(arithmetic: Arithmetic) -> Callable[[Tensor], Tensor]:
        if towers.text_parts(model) is not None:
            return towers.FastTextTower(model, arithmetic)
        if arithmetic == "fp32":
            return reference
        return towers.ModuleTextTower(_converted(model, arithmetic, without="visual"))

    for arithmetic in choices:
        tower = _tried(build, arithmetic, tokens, expected)
        if tower is not None:
            if isinstance(tower, towers.FastTextTower):
                tower.drop_originals()
            return tower, arithmetic
    logger.info("the text tower runs as open_clip's own module in fp32")
    return reference, "fp32"


def agree(vectors: Tensor, reference: Tensor, least: float = AGREEMENT) -> bool:
    """Whether every row has at least this cosine to its reference, and rows stay distinct.

    NaN does not agree. See `AGREEMENT` and `DISTINCTION`.
    """
    cosines = F.cosine_similarity(vectors.double(), reference.double(), dim=-1)
    if not bool((cosines >= least).all()):
        return False
    ours, theirs = F.normalize(vectors.double(), dim=-1), F.normalize(reference.double(), dim=-1)
    spread = (theirs - theirs.mean(dim=0)).norm(dim=-1).max()
    error = (ours - theirs).norm(dim=-1).max()
    return len(theirs) == 1 or bool(error <= DISTINCTION * spread)


def _tried(
    build: Callable[[Arithmetic], Callable[[Tensor], Tensor]],
    arithmetic: Arithmetic,
    probes: Tensor,
    expected: Tensor,
) -> Callable[[Tensor], Tensor] | None:
    """The tower, if it can be built and run and its vectors of the probes agree.

    Some modules read their layers' weights and cannot run with 8-bit ones, and the libraries
    change: any failure means that this way is not used.
    """
    try:
        tower = build(arithmetic)
        return tower if agree(tower(probes), expected) else None
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        logger.debug("%s: %s", arithmetic, error)
        return None


def _converted(module: nn.Module, arithmetic: Arithmetic, without: str = "") -> nn.Module:
    """A copy of `module` in other arithmetic. Raises ValueError where it would not be faster.

    Convolutional towers have hardly any large linear layer, so 8 bits do not help them.
    """
    if arithmetic == "fp32":
        return module.to(memory_format=torch.channels_last)
    skipped = getattr(module, without, None) if without else None
    memo = {id(skipped): None} if skipped is not None else {}
    # Ordinary tensors even in inference mode: heat maps need gradients.
    with torch.inference_mode(mode=False):
        other = copy.deepcopy(module, memo)
        if arithmetic == "bf16":
            return other.to(torch.bfloat16).to(memory_format=torch.channels_last)
    before = sum(p.numel() for p in other.parameters())
    towers.quantise_linears(other)
    if sum(p.numel() for p in other.parameters()) > before / 2:
        raise ValueError("hardly any large linear layer")
    return other


# ------------------------------------------------------------------ probes


def probe_pixels(preprocess: Preprocess, n: int = 6) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(n, height, width, 3) uint8: noise with the spectrum of photographs, the last flat."""
    height, width = preprocess.size
    random = np.random.default_rng(20240229)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    falloff = 1 / np.maximum(frequency, 1 / max(height, width))
    images = np.empty((n, height, width, 3), np.float64)
    for image in images:
        grey = random.standard_normal((height, width))
        for channel in range(3):
            noise = grey + 0.5 * random.standard_normal((height, width))
            image[..., channel] = np.fft.ifft2(np.fft.fft2(noise) * falloff).real
        image -= image.mean()
        image *= random.uniform(25, 75) / image.std()
        image += random.uniform(60, 190, size=3)
    images[-1] = (
        random.uniform(0, 255, (4, 4, 3))
        .repeat(-(-height // 4), 0)
        .repeat(-(-width // 4), 1)[:height, :width]
    )
    return images.clip(0, 255).astype(np.uint8)


PROBE_TEXTS = (
    "a dog",
    "a photo of two children who run along the beach at sunset",
    "Rechnung vom 3. März 2021, Betrag 1.249,50 €",
    " ".join(["the quick brown fox jumps over the lazy dog while a brass band plays on"] * 3),
)
