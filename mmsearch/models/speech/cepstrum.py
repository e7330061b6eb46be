"""Mel spectra and cepstra of speech at 16 kHz, in NumPy."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from mmsearch.types import Samples

SPEECH_RATE = 16_000
HOP_SECONDS = 0.01
BANDS = 40

_FRAME, _HOP, _FFT = 400, 160, 512
_RANGE_DB = 40.0
"""Frames this far below the loudest frames of a stretch are pauses."""
_COEFFICIENTS = 16
_BLOCK = 2048
"""Frames per batch, to bound memory: a stretch may last for twenty minutes."""


def mel_spectrum(samples: Samples) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Power in dB (frames, BANDS), every 10 ms over 25 ms, and a mask (frames,) of non-pauses."""
    if len(samples) < _FRAME:
        return np.empty((0, BANDS)), np.zeros(0, np.bool_)
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::_HOP]
    mel = np.empty((len(frames), BANDS))
    for first in range(0, len(frames), _BLOCK):
        block = frames[first : first + _BLOCK] * np.hanning(_FRAME)
        spectrum = np.abs(np.fft.rfft(block, _FFT)) ** 2
        mel[first : first + _BLOCK] = 10 * np.log10(spectrum @ _filters() + 1e-10)
    loudness = mel.mean(axis=1)
    return mel, loudness > np.percentile(loudness, 95) - _RANGE_DB


def cepstra(samples: Samples) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Cepstral coefficients 1 to 16 (frames, 16), which are independent of the level, and a mask
    (frames,) of non-pauses."""
    mel, loud = mel_spectrum(samples)
    band = np.arange(BANDS)
    order = np.arange(1, _COEFFICIENTS + 1)[:, None]
    transform = np.cos(np.pi * order * (band + 0.5) / BANDS) * np.sqrt(2 / BANDS)
    return mel @ transform.T, loud


@cache
def _filters() -> npt.NDArray[np.float64]:
    """Triangles on the mel scale from 60 Hz to 7600 Hz, (FFT bins, BANDS), each summing to 1."""
    low_mel, high_mel = (2595 * np.log10(1 + hertz / 700) for hertz in (60, 7600))
    edges = 700 * (10 ** (np.linspace(low_mel, high_mel, BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(_FFT, 1 / SPEECH_RATE)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rise, fall = (bins - low) / (middle - low), (high - bins) / (high - middle)
    filters = np.maximum(0, np.minimum(rise, fall))
    return np.asarray(filters / np.maximum(filters.sum(axis=0), 1e-9))
