"""Whether speech sounds like the speech that a recogniser has learnt from.

A small recogniser writes confident sentences whatever it hears, so that its own probabilities do
not tell right text from invented text. The sound itself does: speech unlike everything that the
model was trained on cannot be understood by it. A stretch is described by statistics of its mel
spectrum and scored by a linear rule that comes in the model's folder (`mmsearch.json`).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mmsearch.models.linear_rule import LinearRule
from mmsearch.models.speech.cepstrum import BANDS, SPEECH_RATE, mel_spectrum
from mmsearch.types import Samples

FEATURES = 5 * BANDS
PIECE_SECONDS = 6.0
"""A longer stretch is scored in pieces of about this length."""

_MIN_FRAMES = 20
_OWN_SHARE = 0.6
"""Weight of a stretch's own score; the rest is that of the whole recording."""

Span = tuple[int, int]
"""(first sample, last + 1)."""


@dataclass(frozen=True, slots=True)
class Familiarity(LinearRule):
    """A score above 0 is familiar."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Raises ValueError, KeyError or TypeError if it is none."""
        return cls.of(value, FEATURES)

    def score(self, samples: Samples) -> float | None:
        """Mean score of a stretch's pieces; None if it is too short to say."""
        scores = [
            self.value(features)
            for features in map(describe, pieces(samples))
            if features is not None
        ]
        return float(np.mean(scores)) if scores else None

    def familiar(self, samples: Samples, speech: Sequence[Span]) -> list[Span]:
        """Those stretches of speech that the model may understand.

        Speech of one recording mostly has one origin: what surrounds a stretch counts too.
        """
        scored = [(span, self.score(samples[span[0] : span[1]])) for span in speech]
        known = [(span, score) for span, score in scored if score is not None]
        lengths = np.array([end - start for (start, end), _ in known], np.float64)
        if not known:
            return []
        overall = float(np.average([score for _, score in known], weights=lengths))
        return [
            span for span, score in known if _OWN_SHARE * score + (1 - _OWN_SHARE) * overall > 0
        ]


def pieces(samples: Samples) -> list[Samples]:
    """Equal parts of about PIECE_SECONDS."""
    count = max(1, round(len(samples) / (PIECE_SECONDS * SPEECH_RATE)))
    edges = np.linspace(0, len(samples), count + 1).astype(int)
    return [samples[a:b] for a, b in itertools.pairwise(edges)]


def describe(samples: Samples) -> npt.NDArray[np.float64] | None:
    """Statistics of speech (16 kHz, mono), float64 (FEATURES,); None if there is too little.

    Level does not matter; pauses are left out.
    """
    mel, loud = mel_spectrum(samples)
    if int(loud.sum()) < _MIN_FRAMES:
        return None
    inside = mel[loud] - mel[loud].mean()
    steps = np.abs(np.diff(mel, axis=0)[loud[1:] & loud[:-1]])
    if len(steps) < _MIN_FRAMES // 2:
        return None
    across = np.abs(np.diff(inside, axis=1)).mean(axis=0)
    return np.concatenate(
        [
            inside.mean(axis=0),
            inside.std(axis=0),
            steps.mean(axis=0),
            np.percentile(steps, 25, axis=0),
            [*across, float(loud.mean())],
        ]
    )
