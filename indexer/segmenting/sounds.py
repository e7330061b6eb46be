"""What is heard in a recording besides words: windows of sound, merged into spans.

::

    stretches -> windows of 10 s every 5 s -> vectors -> neighbours alike -> one span

A quiet window has no vector: silence is not to be found by any sound. Memory is bounded by one
stretch and one vector per window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmsearch.models.sound.silence import is_silent
from mmsearch.protocols import SoundTextEmbedder
from mmsearch.types import SOUND_RATE, Modality, Place, Samples, SegmentDraft, Vectors

_BATCH = 8
_SHORTEST_TAIL = 0.5
"""Seconds at the end of a recording that are worth a window of their own."""


@dataclass(slots=True)
class _Span:
    """Neighbouring windows that sound alike."""

    start: float
    end: float
    total: Vectors
    """Sum of the windows' unit vectors, shape (dimension,)."""

    def direction(self) -> Vectors:
        unit: Vectors = self.total / max(float(np.linalg.norm(self.total)), 1e-9)
        return unit


class SoundCutter:
    """Takes a recording's stretches in order and gives its sound segments. Not reused."""

    def __init__(
        self,
        embedder: SoundTextEmbedder,
        *,
        similarity: float,
        longest_seconds: float,
        starts_at: float = 0.0,
    ) -> None:
        """`starts_at`: seconds by which the sound begins later than the film it belongs to."""
        self._embedder = embedder
        self._similarity = similarity
        self._longest = longest_seconds
        self._starts_at = starts_at
        self._window = round(embedder.window_seconds * SOUND_RATE)
        self._hop = self._window // 2
        self._held = np.empty(0, np.float32)
        self._held_from = 0
        """Sample of the recording at which `_held` begins."""
        self._recent = np.empty(0, np.float32)
        """The last window's length of what was heard."""
        self._heard = 0
        """Samples of the recording so far."""
        self._spans: list[_Span] = []
        self._covered = 0
        """Samples of the recording that some window has seen."""

    def add(self, samples: Samples, *, last: bool) -> None:
        """The next stretch at SOUND_RATE; with `last`, what is left becomes the last window."""
        self._heard += len(samples)
        self._recent = np.concatenate([self._recent, samples])[-self._window :]
        self._held = np.concatenate([self._held, samples])
        windows: list[tuple[int, Samples]] = []
        offset = 0
        while offset + self._window <= len(self._held):
            windows.append((self._held_from + offset, self._held[offset : offset + self._window]))
            offset += self._hop
        self._held = self._held[offset:]
        self._held_from += offset
        if windows:
            self._covered = windows[-1][0] + self._window
        if last:
            windows += self._tail()
        for first in range(0, len(windows), _BATCH):
            self._embed(windows[first : first + _BATCH])

    def segments(self) -> tuple[list[SegmentDraft], Vectors]:
        """One draft per span in the order of time, and their vectors (n, dimension)."""
        drafts = [
            SegmentDraft(Modality.SOUND, Place(start=round(s.start, 3), end=round(s.end, 3)))
            for s in self._spans
        ]
        dimension = self._embedder.space.dimension if drafts else 0
        rows = [span.direction() for span in self._spans]
        vectors = np.stack(rows) if rows else np.empty((0, dimension), np.float32)
        return drafts, vectors.astype(np.float32)

    def _tail(self) -> list[tuple[int, Samples]]:
        """A window that ends with the recording, if the others leave enough of it out."""
        left = self._heard - self._covered
        if left <= (_SHORTEST_TAIL * SOUND_RATE if self._covered else 0):
            return []
        return [(self._heard - len(self._recent), self._recent)]

    def _embed(self, windows: list[tuple[int, Samples]]) -> None:
        loud = [(start, samples) for start, samples in windows if not is_silent(samples)]
        if not loud:
            return
        vectors = self._embedder.encode_sounds([samples for _, samples in loud])
        for (start, samples), vector in zip(loud, vectors, strict=True):
            begins = self._starts_at + start / SOUND_RATE
            self._merge(begins, begins + len(samples) / SOUND_RATE, vector)

    def _merge(self, start: float, end: float, vector: Vectors) -> None:
        span = self._spans[-1] if self._spans else None
        if (
            span is not None
            and start <= span.end
            and end - span.start <= self._longest
            and float(span.direction() @ vector) >= self._similarity
        ):
            span.end = end
            span.total = span.total + vector
        else:
            self._spans.append(_Span(start, end, vector.astype(np.float32)))
