"""Batched augmentation on uint8 arrays: crop, flip, colour; and plain resizing."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

MEAN = (0.5, 0.5, 0.5)
STD = (0.5, 0.5, 0.5)
"""What the backbone was trained with."""


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
