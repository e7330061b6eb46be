"""Encoded recordings."""

from __future__ import annotations

import io
import math
import struct
import wave

RATE = 8000


def recording(seconds: float = 2.0, *, level: float = 0.0) -> bytes:
    """A WAV file of silence, or of a 440 Hz tone at this level (0 to 1)."""
    samples = [
        round(32767 * level * math.sin(2 * math.pi * 440 * n / RATE))
        for n in range(round(RATE * seconds))
    ]
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return buffer.getvalue()
