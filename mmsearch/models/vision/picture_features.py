"""A vision-language model's pictures, encoded once each.

The image tower is most of what a picture costs, and the same pictures come up for many queries.
What it makes of a picture is kept under the picture's key and handed to the model in its place
(`mm_encoder_outputs`, which models of transformers 5 take). Models that work otherwise, or whose
answers differ when it is done so, are left as they are.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

logger = logging.getLogger(__name__)

MAX_BYTES = 256 * 2**20
TOLERANCE = 1e-2
"""Largest difference of a logit, as share of the largest one, that counts as the same."""


class PictureFeatures:
    """The features of the pictures that one loaded model has seen last."""

    def __init__(self, model: Any, *, max_bytes: int = MAX_BYTES) -> None:
        self._model = model
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Any] = OrderedDict()
        self._bytes = 0
        self._proven: bool | None = None
        self._listed = False
        """Whether the model hands its pictures on one by one rather than as one tensor."""
        if "mm_encoder_outputs" not in inspect.signature(model.forward).parameters:
            self._proven = False
        self.encoded = 0
        """Pictures that went through the image tower."""

    @property
    def works(self) -> bool | None:
        """Whether this model's pictures can be kept; None before the first batch."""
        return self._proven

    def logits(self, inputs: Mapping[str, Any], keys: Sequence[str], **extra: Any) -> Any:
        """The model's logits for `inputs`, whose pictures, in order, are called `keys`."""
        plain = dict(inputs)
        if self._proven is False or not keys:
            return self._plain(plain, keys, **extra)
        try:
            kept = self._logits(dict(inputs), keys, **extra)
        except (RuntimeError, TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
            logger.debug("pictures are not kept: %s", error)
            self._proven = False
            return self._plain(plain, keys, **extra)
        if self._proven is None:
            # Compared once: a model that does more with its pictures than pass them on shows it.
            expected = self._plain(plain, keys, **extra)
            close = (kept - expected).abs().max() <= TOLERANCE * expected.abs().max().clamp_min(1)
            self._proven = bool(close)
            return expected
        return kept

    def _plain(self, inputs: dict[str, Any], keys: Sequence[str], **extra: Any) -> Any:
        self.encoded += len(keys)
        return self._model(**inputs, **extra).logits

    def _logits(self, inputs: dict[str, Any], keys: Sequence[str], **extra: Any) -> Any:
        import torch
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        pixels = inputs.pop("pixel_values")
        grid = inputs.get("image_grid_thw")
        sizes = [1] * len(pixels) if grid is None else grid.prod(-1).tolist()
        if len(sizes) != len(keys) or sum(sizes) != len(pixels):
            raise ValueError("pictures are cut into parts")
        with self._lock:
            have = {key: self._kept[key] for key in keys if key in self._kept}
            for key in have:
                self._kept.move_to_end(key)
        new = [i for i, key in enumerate(keys) if key not in have]
        new = [i for i in new if keys.index(keys[i]) == i]
        if new:
            parts = pixels.split(sizes)
            own = {} if grid is None else {"image_grid_thw": grid[new]}
            made = self._model.get_image_features(
                pixel_values=torch.cat([parts[i] for i in new]), return_dict=True, **own
            )
            if getattr(made, "deepstack_features", None) is not None:
                raise ValueError("pictures enter the model in several places")
            self._listed = not isinstance(made.pooler_output, torch.Tensor)
            for i, features in zip(new, made.pooler_output, strict=True):
                have[keys[i]] = features
            self._keep({keys[i]: have[keys[i]] for i in new})
            self.encoded += len(new)
        rows = [have[key] for key in keys]
        pooled = rows if self._listed else torch.stack(rows)
        outputs = {"image": BaseModelOutputWithPooling(pooler_output=pooled)}
        return self._model(**inputs, mm_encoder_outputs=outputs, **extra).logits

    def _keep(self, features: Mapping[str, Any]) -> None:
        with self._lock:
            for key, value in features.items():
                if key not in self._kept:
                    # A copy: a row of a batch would hold the whole batch.
                    self._kept[key] = value.clone()
                    self._bytes += value.numel() * value.element_size()
            while self._bytes > self._max_bytes and self._kept:
                _, old = self._kept.popitem(last=False)
                self._bytes -= old.numel() * old.element_size()
