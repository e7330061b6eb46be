"""Recordings made of tones and silence."""

from __future__ import annotations

import io
import wave

import numpy as np

from mmsearch.types import SOUND_RATE, Samples

LOW, MIDDLE, HIGH = 120, 1000, 6000
"""Hz; what the fake sound model calls these."""


def tone(seconds: float, hertz: float, level: float = 0.3) -> Samples:
    """A sine at SOUND_RATE; `level` is its peak."""
    at = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
    return (level * np.sin(2 * np.pi * hertz * at)).astype(np.float32)


def silence(seconds: float) -> Samples:
    """Zeros at SOUND_RATE."""
    return np.zeros(round(seconds * SOUND_RATE), np.float32)


def wav(*pieces: Samples) -> bytes:
    """A WAVE file, 16 bit, of the pieces one after the other."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SOUND_RATE)
        file.writeframes((np.concatenate(pieces) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()
