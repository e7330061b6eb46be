"""Heat maps: where in a picture a text matches, with one method per family of image towers.

- Convolutional towers: Grad-CAM (Selvaraju and others, 2017) on the last feature map. They take
  pictures of any size, and a picture three times as large gives a map three times as fine.
- open_clip's vision transformers: the values of the last block for each patch, projected like the
  pooled vector (MaskCLIP, Zhou and others, 2022, without the residual, as ClearCLIP, Lan and
  others, 2024).
- timm's vision transformers (SigLIP): gradient times activation of the last tokens.
- Others: the decrease of the similarity when a part is covered (occlusion, Zeiler and Fergus,
  2014).

tests/models/clip/test_heatmaps.py measures on the picture book, whose objects have boxes, how
often the peak of a map lies on the named object.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from open_clip.timm_model import TimmModel
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own convention

from mmsearch.models.clip.towers import ModuleImageTower, VitImageTower
from mmsearch.types import Preprocess

logger = logging.getLogger(__name__)

Tower: TypeAlias = Callable[[Tensor], Tensor]
Family: TypeAlias = Literal["cells", "patches", "tokens", "occlusion"]

FINER = 3
"""Factor by which pictures for a convolutional tower's maps are larger than for its vectors."""
_MOST_PIXELS = 1024 * 1024
_GRID, _COVERED = 7, 0.35
"""Occlusion: positions along a side, and the covered share of a side."""
_PER_CALL = 16


def family(tower: Tower, size: tuple[int, int]) -> tuple[Family, tuple[int, int]]:
    """The method for this tower, and the (height, width) of its pictures."""
    if isinstance(tower, VitImageTower):
        return ("patches" if tower.one_position else "occlusion"), size
    visual = tower.visual if isinstance(tower, ModuleImageTower) else None
    if not isinstance(visual, TimmModel) or not hasattr(visual.trunk, "forward_head"):
        return "occlusion", size
    finer = (size[0] * FINER, size[1] * FINER)
    if finer[0] * finer[1] <= _MOST_PIXELS and _works(tower, finer, dimensions=4):
        return "cells", finer
    if _works(tower, size, dimensions=4):
        return "cells", size
    return ("tokens" if _works(tower, size, dimensions=3) else "occlusion"), size


def heat_map(tower: Tower, kind: Family, pixels: Tensor, text: Tensor) -> npt.NDArray[np.float32]:
    """`pixels` (height, width, 3) uint8, `text` (dimension,) of unit length: (h, w) in 0..1.

    1 is the best match in this picture; 0 is at or below its average.
    """
    if kind == "patches":
        assert isinstance(tower, VitImageTower)
        raw = _patches(tower, pixels, text)
    elif kind in ("cells", "tokens"):
        assert isinstance(tower, ModuleImageTower)
        raw = _gradient(tower, pixels, text)
    else:
        raw = _occlusion(tower, pixels, text)
    return _scaled(raw.float().cpu().numpy())


def squash_preprocess(spec: Preprocess, size: tuple[int, int]) -> Preprocess:
    """Preprocessing that squashes the whole picture, so that the map covers every part of it."""
    return Preprocess(
        size=size,
        mean=spec.mean,
        std=spec.std,
        interpolation=spec.interpolation,
        resize_mode="squash",
        fill_color=spec.fill_color,
    )


def _patches(tower: VitImageTower, pixels: Tensor, text: Tensor) -> Tensor:
    with torch.inference_mode():
        patches = F.normalize(tower.patches(pixels[None])[0], dim=-1)
        return patches @ text.to(patches)


def _gradient(tower: ModuleImageTower, pixels: Tensor, text: Tensor) -> Tensor:
    """Sum over channels of d similarity / d activation * activation, per cell or token."""
    visual: Any = tower.visual
    with torch.no_grad():
        last = visual.trunk.forward_features(tower.normalised(pixels[None]))
    with torch.enable_grad():
        last = last.detach().clone().requires_grad_(True)
        vector = visual.head(visual.trunk.forward_head(last))
        similarity = F.cosine_similarity(vector.float()[0], text.to(vector.device).float(), dim=0)
        (gradient,) = torch.autograd.grad(similarity, last)
    relevance = (gradient * last).detach().float()
    if relevance.ndim == 4:
        return relevance[0].sum(dim=0)
    tokens = relevance[0, getattr(visual.trunk, "num_prefix_tokens", 0) :].sum(dim=-1)
    rows, columns = visual.trunk.patch_embed.grid_size
    return tokens.view(rows, columns)


def _occlusion(tower: Tower, pixels: Tensor, text: Tensor) -> Tensor:
    height, width, _ = pixels.shape
    half = (max(1, round(height * _COVERED / 2)), max(1, round(width * _COVERED / 2)))
    average = pixels.float().mean(dim=(0, 1)).to(torch.uint8)
    covered = []
    for y in np.linspace(0, height - 1, _GRID).round().astype(int).tolist():
        for x in np.linspace(0, width - 1, _GRID).round().astype(int).tolist():
            other = pixels.clone()
            other[max(0, y - half[0]) : y + half[0], max(0, x - half[1]) : x + half[1]] = average
            covered.append(other)
    pictures = torch.stack([pixels, *covered])
    with torch.inference_mode():
        vectors = torch.cat([tower(part) for part in pictures.split(_PER_CALL)])
        similarities = F.normalize(vectors.float(), dim=-1) @ text.to(vectors.device).float()
    return (similarities[0] - similarities[1:]).view(_GRID, _GRID)


def _works(tower: Tower, size: tuple[int, int], *, dimensions: int) -> bool:
    """Whether a map from `dimensions` (4: cells, 3: tokens) works for pictures of `size`."""
    assert isinstance(tower, ModuleImageTower)
    visual: Any = tower.visual
    device = next(visual.parameters()).device
    blank = torch.zeros((*size, 3), dtype=torch.uint8, device=device)
    try:
        with torch.no_grad():
            last = visual.trunk.forward_features(tower.normalised(blank[None]))
        if last.ndim != dimensions:
            return False
        with torch.no_grad():
            dimension = visual.head(visual.trunk.forward_head(last)).shape[-1]
        trial = _gradient(tower, blank, torch.ones(dimension, device=device))
        return trial.ndim == 2 and bool(torch.isfinite(trial).all())
    except (RuntimeError, AssertionError, ValueError, TypeError, AttributeError) as error:
        logger.debug("no heat map for pictures of %s: %s", size, error)
        return False


def _scaled(raw: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    above = np.maximum(np.nan_to_num(raw) - float(np.nan_to_num(raw).mean()), 0)
    highest = float(above.max())
    return (above / highest if highest > 0 else above).astype(np.float32)
