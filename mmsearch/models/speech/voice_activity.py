"""Voice activity detection: where in a recording anybody speaks (Silero, from faster-whisper)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmsearch.models.speech.languages import Span
from mmsearch.types import Samples

VAD_OPTIONS: dict[str, Any] = {"speech_pad_ms": 200, "silence_ms": 500, "sentence_silence_ms": 250}
"""`silence_ms` lies between two stretches, `sentence_silence_ms` between two sentences."""


def detect_speech(samples: Samples, longest: float | None, *, sentences: bool) -> list[Span]:
    """Stretches with speech (16 kHz, mono), ascending, each of at most `longest` seconds.

    `sentences`: stretches also end at the short silences between sentences.
    """
    from faster_whisper.vad import get_speech_timestamps

    silence = "sentence_silence_ms" if sentences else "silence_ms"
    options = {
        "speech_pad_ms": VAD_OPTIONS["speech_pad_ms"],
        "min_silence_duration_ms": VAD_OPTIONS[silence],
    }
    if longest is not None:
        options["max_speech_duration_s"] = longest
    return [(part["start"], part["end"]) for part in get_speech_timestamps(samples, **options)]


def silenced_outside(samples: Samples, speech: Sequence[Span]) -> Samples:
    """A copy with zeros outside of these stretches."""
    silenced = np.zeros_like(samples)
    for start, end in speech:
        silenced[start:end] = samples[start:end]
    return silenced
