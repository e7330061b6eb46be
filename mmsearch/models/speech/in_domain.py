"""In-domain detector: whether speech resembles the training data of a recogniser.

A small recogniser writes confident sentences for any input, so its own probabilities do not
separate correct from invented text. The sound does: the model cannot recognise speech unlike its
training data. The detector computes statistics of a stretch's mel spectrum and scores them by a
linear rule from the model's folder (`mmsearch.json`).
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
from mmsearch.models.speech.languages import Span
from mmsearch.types import Samples

FEATURES = 5 * BANDS
PIECE_SECONDS = 6.0
"""Longer stretches are scored in pieces of about this length."""

_MIN_FRAMES = 20
_STRETCH_WEIGHT = 0.6
"""Weight of a stretch's own score; the rest is the weight of the whole recording's score."""


@dataclass(frozen=True, slots=True)
class InDomainDetector(LinearRule):
    """A score above 0 is in-domain."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Raises ValueError, KeyError or TypeError if it is malformed."""
        return cls.of(value, FEATURES)

    def score(self, samples: Samples) -> float | None:
        """Mean score of a stretch's pieces; None if it is too short."""
        scores = [
            self.value(features)
            for features in map(describe, pieces(samples))
            if features is not None
        ]
        return float(np.mean(scores)) if scores else None

    def in_domain(self, samples: Samples, speech: Sequence[Span]) -> list[Span]:
        """The stretches of speech that are in-domain; too short ones are not.

        Speech of one recording usually has one origin, so the recording's score counts too.
        """
        scores = {span: self.score(samples[span[0] : span[1]]) for span in speech}
        scored = [(span, score) for span, score in scores.items() if score is not None]
        if not scored:
            return []
        lengths = np.array([end - start for (start, end), _ in scored], np.float64)
        overall = float(np.average([score for _, score in scored], weights=lengths))
        return [
            span
            for span, score in scored
            if _STRETCH_WEIGHT * score + (1 - _STRETCH_WEIGHT) * overall > 0
        ]


def pieces(samples: Samples) -> list[Samples]:
    """Equal pieces of about PIECE_SECONDS."""
    count = max(1, round(len(samples) / (PIECE_SECONDS * SPEECH_RATE)))
    edges = np.linspace(0, len(samples), count + 1).astype(int)
    return [samples[a:b] for a, b in itertools.pairwise(edges)]


def describe(samples: Samples) -> npt.NDArray[np.float64] | None:
    """Features of speech (16 kHz, mono), float64 (FEATURES,); None if there is too little.

    They do not depend on the level. Pauses are left out.
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
