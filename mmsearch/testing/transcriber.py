"""A speech model without weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmsearch.types import Transcript, Utterance, Word


class FakeTranscriber:
    """A `Transcriber` that returns one line of `script` per loud stretch, in turn.

    A stretch is loud where half-second windows exceed a hundredth of full scale. The script
    starts again when it ends. Silence has no utterances.
    """

    def __init__(
        self, script: Sequence[str] = ("hello from the recording",), *, language: str = "en"
    ) -> None:
        self._script = tuple(script)
        self._language = language
        self.calls = 0
        """Calls of `transcribe`."""

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256("\n".join(self._script).encode()).hexdigest()
        return f"fake-{digest[:12]}"

    @property
    def weights(self) -> str:
        return ""

    def transcribe(
        self, samples: npt.NDArray[np.float32], *, language: str | None = None
    ) -> Transcript:
        self.calls += 1
        window = 8000
        count = -(-len(samples) // window)
        padded = np.zeros(count * window, np.float32)
        padded[: len(samples)] = samples
        loud = np.abs(padded).reshape(count, window).max(axis=1, initial=0) > 0.01
        edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]])))
        spans = edges.reshape(-1, 2) * window / 16_000
        utterances = tuple(
            _utterance(
                self._script[i % len(self._script)],
                float(start),
                float(min(end, len(samples) / 16_000)),
            )
            for i, (start, end) in enumerate(spans)
        )
        if not utterances:
            return Transcript(language=None, language_probability=0.0, utterances=())
        return Transcript(
            language=language or self._language, language_probability=1.0, utterances=utterances
        )

    def release(self) -> None:
        """There is nothing to free."""


def _utterance(text: str, start: float, end: float) -> Utterance:
    words = text.split()
    step = (end - start) / max(1, len(words))
    return Utterance(
        start=start,
        end=end,
        text=text,
        words=tuple(
            Word(word, start + i * step, start + (i + 1) * step, 1.0)
            for i, word in enumerate(words)
        ),
        avg_logprob=-0.1,
        no_speech_prob=0.01,
    )
