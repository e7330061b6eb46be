"""Stretches of speech as Whisper decodes them: without the long pauses between them.

Whisper reads windows of 30 seconds. Windows that are mostly silence cost as much as others, and
invite hallucinations. So long pauses are cut out before decoding, and times are mapped back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmsearch.models.speech.cepstrum import SPEECH_RATE
from mmsearch.models.speech.languages import Span
from mmsearch.types import Samples, Utterance

_MARGIN_SECONDS = 0.2
"""Silence that is kept on both sides of a stretch, besides that of voice activity detection."""
_PAUSE_SECONDS = 1.2
"""Shorter pauses between such stretches are kept."""
_UNCOVERED_SECONDS = 1.0
"""Shorter parts of a stretch are edges of utterances, or breath."""
_WORD_SECONDS = 0.5
"""Shorter stretches hold no word."""


@dataclass(frozen=True, slots=True, eq=False)
class SpeechClips:
    """Parts of a recording, one after the other."""

    samples: Samples
    """Of all parts, joined."""
    spans: tuple[Span, ...]
    """Each part's place in the recording, ascending."""

    @classmethod
    def of(cls, samples: Samples, speech: Sequence[Span]) -> SpeechClips:
        """The parts of a recording around stretches of speech, which are ascending."""
        spans: list[Span] = []
        margin, pause = (round(s * SPEECH_RATE) for s in (_MARGIN_SECONDS, _PAUSE_SECONDS))
        for start, end in speech:
            start, end = max(0, start - margin), min(len(samples), end + margin)
            if spans and start - spans[-1][1] < pause:
                spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            else:
                spans.append((start, end))
        parts = [samples[start:end] for start, end in spans]
        return cls(np.concatenate(parts) if parts else samples[:0], tuple(spans))

    def windows(self, seconds: float) -> list[tuple[float, float]]:
        """Seconds in `samples`: as many whole parts as fit in each window of this length."""
        windows: list[tuple[float, float]] = []
        at = 0.0
        for start, end in self.spans:
            length = (end - start) / SPEECH_RATE
            # A part that is too long is decoded in several windows.
            for first in np.arange(0.0, length, seconds).tolist():
                stop = at + min(length, first + seconds)
                if windows and stop - windows[-1][0] <= seconds:
                    windows[-1] = (windows[-1][0], stop)
                else:
                    windows.append((at + first, stop))
            at += length
        return windows

    def restored(self, utterances: Iterable[Utterance]) -> Iterator[Utterance]:
        """Utterances with times in the recording in place of those in `samples`."""
        lengths = [(end - start) / SPEECH_RATE for start, end in self.spans]
        begins = np.concatenate([[0.0], np.cumsum(lengths)])

        def moved(start: float, end: float, middle: float) -> tuple[float, float]:
            last = len(self.spans) - 1
            part = min(max(int(np.searchsorted(begins, middle, side="right")) - 1, 0), last)
            offset = self.spans[part][0] / SPEECH_RATE - float(begins[part])
            first, stop = (sample / SPEECH_RATE for sample in self.spans[part])
            start, end = (min(max(time + offset, first), stop) for time in (start, end))
            return start, end

        for utterance in utterances:
            words = []
            for word in utterance.words:
                start, end = moved(word.start, word.end, (word.start + word.end) / 2)
                words.append(replace(word, start=start, end=end))
            if words:
                start, end = words[0].start, max(word.end for word in words)
            else:
                start, _ = moved(utterance.start, utterance.start, utterance.start)
                # An end at the border of two parts is that of the first.
                _, end = moved(utterance.end, utterance.end, utterance.end - 1e-3)
            yield replace(utterance, start=start, end=max(start, end), words=tuple(words))


def without_text(speech: Sequence[Span], utterances: Sequence[Utterance]) -> list[Span]:
    """Stretches of speech that no utterance covers, and parts of a second or more of others."""
    covered = sorted(
        (round(utterance.start * SPEECH_RATE), round(utterance.end * SPEECH_RATE))
        for utterance in utterances
    )
    uncovered: list[Span] = []
    for start, end in speech:
        gaps: list[Span] = []
        at = start
        for first, last in covered:
            if at < last and first < end:
                gaps.append((at, first))
                at = last
        gaps.append((at, end))
        shortest = _WORD_SECONDS if len(gaps) == 1 else _UNCOVERED_SECONDS
        uncovered += [(a, b) for a, b in gaps if b - a >= shortest * SPEECH_RATE]
    return uncovered
