"""Sounds of a recording: windows of 10 s every 5 s, embedded, merged into spans that sound alike.

::

    stretches -> SoundWindows -> (an embedder) -> SoundSegmenter -> segments

Quiet windows are dropped: silence matches no sound. Memory is bounded by one stretch and one
vector per span.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmsearch.models.sound.silence import is_silent
from mmsearch.types import SOUND_RATE, Modality, Place, Samples, SegmentDraft, Vectors

_SHORTEST_TAIL = 0.5
"""Seconds at the end of a recording that are worth a window of their own."""


@dataclass(frozen=True, slots=True)
class SoundWindow:
    """A stretch of sound that one vector describes."""

    start: float
    """Seconds from the beginning of the source."""
    samples: Samples

    @property
    def end(self) -> float:
        return self.start + len(self.samples) / SOUND_RATE


class SoundWindows:
    """Splits a recording's stretches, given in order, into windows. Not reused."""

    def __init__(self, window_seconds: float, *, starts_at: float = 0.0) -> None:
        """`starts_at`: seconds by which the sound begins later than the film it belongs to."""
        self._window = round(window_seconds * SOUND_RATE)
        self._hop = self._window // 2
        self._starts_at = starts_at
        self._rest = np.empty(0, np.float32)
        self._rest_from = 0
        """Sample of the recording at which `_rest` begins."""
        self._recent = np.empty(0, np.float32)
        """The last samples, at most a window's length."""
        self._length = 0
        """Samples of the recording so far."""
        self._covered = 0
        """Samples of the recording that lie in some window."""

    def add(self, samples: Samples, *, last: bool) -> list[SoundWindow]:
        """The windows that the next stretch, at SOUND_RATE, completes, without the quiet ones.

        With `last`, what is left becomes the last window.
        """
        self._length += len(samples)
        self._recent = np.concatenate([self._recent, samples])[-self._window :]
        self._rest = np.concatenate([self._rest, samples])
        windows: list[tuple[int, Samples]] = []
        offset = 0
        while offset + self._window <= len(self._rest):
            windows.append((self._rest_from + offset, self._rest[offset : offset + self._window]))
            offset += self._hop
        self._rest = self._rest[offset:]
        self._rest_from += offset
        if windows:
            self._covered = windows[-1][0] + self._window
        if last:
            windows += self._tail()
        return [
            SoundWindow(self._starts_at + first / SOUND_RATE, samples)
            for first, samples in windows
            if not is_silent(samples)
        ]

    def _tail(self) -> list[tuple[int, Samples]]:
        """A window that ends with the recording, if the others leave enough of it out."""
        left = self._length - self._covered
        if left <= (_SHORTEST_TAIL * SOUND_RATE if self._covered else 0):
            return []
        return [(self._length - len(self._recent), self._recent)]


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


class SoundSegmenter:
    """Merges a recording's embedded windows, given in order, into segments. Not reused."""

    def __init__(self, *, similarity: float, longest_seconds: float) -> None:
        """Neighbours whose cosine is at least `similarity` become one span, up to
        `longest_seconds`."""
        self._similarity = similarity
        self._longest = longest_seconds
        self._spans: list[_Span] = []

    def add(self, windows: Sequence[SoundWindow], vectors: Vectors) -> None:
        """`vectors`: (len(windows), dimension), unit rows."""
        for window, vector in zip(windows, vectors, strict=True):
            span = self._spans[-1] if self._spans else None
            if (
                span is not None
                and window.start <= span.end
                and window.end - span.start <= self._longest
                and float(span.direction() @ vector) >= self._similarity
            ):
                span.end = window.end
                span.total = span.total + vector
            else:
                self._spans.append(_Span(window.start, window.end, vector.astype(np.float32)))

    def segments(self) -> tuple[list[SegmentDraft], Vectors]:
        """One draft per span in the order of time, and their vectors (n, dimension)."""
        drafts = [
            SegmentDraft(Modality.SOUND, Place(start=round(s.start, 3), end=round(s.end, 3)))
            for s in self._spans
        ]
        rows = [span.direction() for span in self._spans]
        vectors = np.stack(rows) if rows else np.empty((0, 0), np.float32)
        return drafts, vectors.astype(np.float32)
