"""A linear classifier from a model's folder (`mmsearch.json`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class LinearRule:
    """A score above 0 is positive."""

    weights: npt.NDArray[np.float64]
    """(features,)"""
    bias: float

    @classmethod
    def of(cls, value: Mapping[str, Any], features: int) -> Self:
        """The rule in `value`, {"weights": [...], "bias": b}, over this number of features.

        Raises ValueError, KeyError or TypeError if it is malformed.
        """
        weights = np.asarray(value["weights"], np.float64)
        if weights.shape != (features,) or not np.isfinite(weights).all():
            raise ValueError(f"{weights.size} weights, not {features}")
        return cls(weights, float(value["bias"]))

    def value(self, features: npt.NDArray[np.float64]) -> float:
        """The score of (features,)."""
        return float(features @ self.weights) + self.bias
