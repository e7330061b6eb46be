"""A cache of a vision-language model's image features.

The image tower is most of the cost of a picture, and the same pictures are scored for many
queries. The tower's output is cached under the picture's key and passed to the model in place of
the pixels (`mm_encoder_outputs`, which models of transformers 5 take). The cache is not used for
models without that argument, or whose logits differ with it.
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
"""Largest difference of a logit, as a share of the largest logit, that counts as equal."""


class PictureFeatures:
    """The features of the most recent pictures of one loaded model (least recently used go)."""

    def __init__(self, model: Any, *, max_bytes: int = MAX_BYTES) -> None:
        self._model = model
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._cached: OrderedDict[str, Any] = OrderedDict()
        self._bytes = 0
        self._works: bool | None = None
        self._listed = False
        """Whether the model returns a list of features rather than one tensor."""
        if "mm_encoder_outputs" not in inspect.signature(model.forward).parameters:
            self._works = False
        self.encoded = 0
        """Number of pictures that went through the image tower."""

    @property
    def works(self) -> bool | None:
        """Whether the cache works for this model; None before the first batch."""
        return self._works

    def logits(self, inputs: Mapping[str, Any], keys: Sequence[str], **extra: Any) -> Any:
        """The model's logits for `inputs`, whose pictures have these `keys`, in order."""
        plain = dict(inputs)
        if self._works is False or not keys:
            return self._plain(plain, keys, **extra)
        try:
            logits = self._logits(dict(inputs), keys, **extra)
        except (RuntimeError, TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
            logger.debug("image features are not cached: %s", error)
            self._works = False
            return self._plain(plain, keys, **extra)
        if self._works is None:
            # Compared once: a model may use its pictures in other ways too.
            expected = self._plain(plain, keys, **extra)
            close = (logits - expected).abs().max() <= TOLERANCE * expected.abs().max().clamp_min(1)
            self._works = bool(close)
            return expected
        return logits

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
            raise ValueError("pictures are split into tiles")
        with self._lock:
            features = {key: self._cached[key] for key in keys if key in self._cached}
            for key in features:
                self._cached.move_to_end(key)
        new = [i for i, key in enumerate(keys) if key not in features]
        new = [i for i in new if keys.index(keys[i]) == i]
        if new:
            parts = pixels.split(sizes)
            grids = {} if grid is None else {"image_grid_thw": grid[new]}
            encoded = self._model.get_image_features(
                pixel_values=torch.cat([parts[i] for i in new]), return_dict=True, **grids
            )
            if getattr(encoded, "deepstack_features", None) is not None:
                raise ValueError("image features enter several layers")
            self._listed = not isinstance(encoded.pooler_output, torch.Tensor)
            for i, pooled in zip(new, encoded.pooler_output, strict=True):
                features[keys[i]] = pooled
            self._store({keys[i]: features[keys[i]] for i in new})
            self.encoded += len(new)
        rows = [features[key] for key in keys]
        stacked = rows if self._listed else torch.stack(rows)
        outputs = {"image": BaseModelOutputWithPooling(pooler_output=stacked)}
        return self._model(**inputs, mm_encoder_outputs=outputs, **extra).logits

    def _store(self, features: Mapping[str, Any]) -> None:
        with self._lock:
            for key, value in features.items():
                if key not in self._cached:
                    # A copy, because a row would keep the tensor of its whole batch alive.
                    self._cached[key] = value.clone()
                    self._bytes += value.numel() * value.element_size()
            while self._bytes > self._max_bytes and self._cached:
                _, old = self._cached.popitem(last=False)
                self._bytes -= old.numel() * old.element_size()
