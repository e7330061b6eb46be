"""Silence: windows of sound that are not embedded, in indexing and in queries alike."""

from __future__ import annotations

import numpy as np

from mmsearch.types import SOUND_RATE, Samples

QUIET = 1e-3
"""Level (RMS, full scale 1: -60 dB) below which sound is silence."""

_BLOCK_SECONDS = 0.5


def is_silent(samples: Samples) -> bool:
    """Whether even the loudest half second of `samples` (SOUND_RATE, mono) is below QUIET."""
    block = round(_BLOCK_SECONDS * SOUND_RATE)
    levels = (
        float(np.sqrt(np.mean(np.square(samples[first : first + block]))))
        for first in range(0, len(samples), block)
    )
    return max(levels, default=0.0) < QUIET
