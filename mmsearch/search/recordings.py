"""A recording as a query: its words and its sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmsearch.media.parts import AudioPart, SoundPart
from mmsearch.media.requests import decode_request
from mmsearch.media.sandbox.pool import Sandbox
from mmsearch.models.sets import ModelSet
from mmsearch.models.sound.silence import is_silent
from mmsearch.protocols import SoundTextEmbedder
from mmsearch.settings import Settings
from mmsearch.types import SOUND_RATE, Samples, Vectors

_BATCH = 8


@dataclass(frozen=True, slots=True)
class Recording:
    """The words of a query's recording, and its sound as a vector."""

    words: str
    """Empty where no words were recognised, or it was not transcribed."""
    sound: Vectors | None
    """Unit vector (dimension,) in the sound space; None for silence."""


def read_recording(
    content: bytes,
    models: ModelSet,
    settings: Settings,
    sandbox: Sandbox,
    *,
    transcribe: bool,
    embed_sound: bool,
) -> Recording:
    """Decode a recording, transcribe it, embed its sound. Raises MediaError."""
    request = decode_request(settings, content=content, kinds=("audio",), sounds=embed_sound)
    words: list[str] = []
    sounds: list[Vectors] = []
    for part in sandbox.decode(request):
        if isinstance(part, SoundPart) and models.sound is not None:
            sounds += _embedded(part.samples, models.sound)
        elif isinstance(part, AudioPart) and transcribe:
            transcript = models.transcriber.transcribe(part.samples, language=settings.language)
            words += [utterance.text.strip() for utterance in transcript.utterances]
    total = np.sum(sounds, axis=0) if sounds else None
    norm = 0.0 if total is None else float(np.linalg.norm(total))
    sound = None if total is None or norm < 1e-6 else (total / norm).astype(np.float32)
    return Recording(" ".join(words).strip(), sound)


def _embedded(samples: Samples, embedder: SoundTextEmbedder) -> list[Vectors]:
    """One vector for each window that is not silent."""
    size = round(embedder.window_seconds * SOUND_RATE)
    windows = [samples[first : first + size] for first in range(0, len(samples), size)]
    loud = [window for window in windows if not is_silent(window)]
    if len(loud) > 1 and len(loud[-1]) < size // 2:
        # The end of a longer sound, too short to be recognised.
        loud.pop()
    rows: list[Vectors] = []
    for first in range(0, len(loud), _BATCH):
        rows += list(embedder.encode_sounds(loud[first : first + _BATCH]))
    return rows
