"""Batched augmentation on uint8 arrays: crop, flip, colour, and mixing; and plain resizing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""open_clip's default normalisation."""


def to_float(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, h, w, 3] -> float32 [n, 3, h, w] in 0..1, channels last in memory."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div_(255)


def normalise(images: Tensor) -> Tensor:
    """0..1 -> zero mean, unit deviation by ``MEAN`` and ``STD``."""
    mean = torch.tensor(MEAN).view(1, 3, 1, 1)
    std = torch.tensor(STD).view(1, 3, 1, 1)
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def plain(pixels: NDArray[np.uint8], size: int) -> Tensor:
    """Squash to ``size`` as open_clip's preprocessing does (bilinear, antialiased), normalised."""
    images = to_float(pixels)
    if images.shape[-1] != size or images.shape[-2] != size:
        images = functional.interpolate(
            images, (size, size), mode="bilinear", antialias=True, align_corners=False
        )
    return normalise(images)


def augmented(
    pixels: NDArray[np.uint8],
    size: int,
    scale: tuple[float, float] = (0.3, 1.0),
    flip: bool = True,
    colour: float = 0.3,
) -> Tensor:
    """Random resized crop (area ``scale``), flip and colour jitter, one draw per image.

    Returns normalised float32 [n, 3, size, size].
    """
    images = to_float(pixels)
    n = images.shape[0]
    if images.shape[-1] > 1.6 * size:  # avoid aliasing when a large picture shrinks
        images = functional.interpolate(images, scale_factor=0.5, mode="area")
    area = torch.empty(n).uniform_(*scale)
    ratio = torch.exp(torch.empty(n).uniform_(math.log(3 / 4), math.log(4 / 3)))
    width = (area * ratio).sqrt().clamp(max=1.0)
    height = (area / ratio).sqrt().clamp(max=1.0)
    theta = torch.zeros(n, 2, 3)
    mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0) if flip else torch.ones(n)
    theta[:, 0, 0] = width * mirror
    theta[:, 1, 1] = height
    theta[:, 0, 2] = (torch.rand(n) * 2 - 1) * (1 - width)
    theta[:, 1, 2] = (torch.rand(n) * 2 - 1) * (1 - height)
    grid = functional.affine_grid(theta, [n, 3, size, size], align_corners=False)
    out = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    if colour > 0:
        jitter = torch.empty(n, 1, 1, 1)
        out = out * (1 + colour * jitter.uniform_(-1, 1))
        centre = out.mean((1, 2, 3), keepdim=True)
        out = centre + (out - centre) * (1 + colour * jitter.uniform_(-1, 1))
        grey = out.mean(1, keepdim=True)
        out = grey + (out - grey) * (1 + colour * jitter.uniform_(-1, 1))
    return normalise(out.clamp_(0, 1))


@dataclass(frozen=True)
class Mix:
    """What of each picture is still its own, and whose the rest is: index int64 [n]."""

    partner: Tensor
    keep: float

    def share(self, own: Tensor) -> Tensor:
        """The mixture of per-picture rows: ``keep`` of the own, the rest of the partner's."""
        return self.keep * own + (1 - self.keep) * own[self.partner]


def mixed(images: Tensor, rng: np.random.Generator) -> tuple[Tensor, Mix]:
    """Blend each picture with a partner (mixup), or paste a box of it (CutMix), by a coin.

    Sources: Zhang et al., 2018; Yun et al., 2019.
    """
    n, _, height, width = images.shape
    partner = torch.randperm(n)
    if rng.random() < 0.5:
        keep = float(rng.beta(0.4, 0.4))
        return images.lerp(images[partner], 1 - keep), Mix(partner, keep)
    side = math.sqrt(1 - rng.random())
    box_h, box_w = int(height * side), int(width * side)
    top = int(rng.integers(0, height - box_h + 1))
    left = int(rng.integers(0, width - box_w + 1))
    pasted = images.clone(memory_format=torch.channels_last)
    pasted[:, :, top : top + box_h, left : left + box_w] = images[partner][
        :, :, top : top + box_h, left : left + box_w
    ]
    return pasted, Mix(partner, 1 - box_h * box_w / (height * width))
