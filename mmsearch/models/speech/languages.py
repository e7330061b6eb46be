"""Language identification: which language is spoken where in a recording.

Whisper detects one language per window of 30 seconds. Detecting once per recording transcribes
everything in the language of its beginning, and stretches that are detected together are written
in one of their languages, with a high probability. So each stretch is detected on its own, at the
cost of an encoder pass. Stretches that are too short for that are detected together, up to the
next pause, or take the language of the stretch that is nearest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from mmsearch.models.speech.cepstrum import SPEECH_RATE
from mmsearch.types import Samples

Span = tuple[int, int]
"""(first sample, last + 1)."""
Detect = Callable[[Samples], tuple[str, float]]
"""Speech of at most 30 s to (ISO 639-1, probability)."""

_Detected = tuple[Span, str | None, float]
"""A stretch, its language (None: that of its neighbours) and the probability."""

_WINDOW_SECONDS, _PAUSE_SECONDS = 30.0, 1.5
_CLEAR, _LIKELY = 0.8, 0.5
_BEGINNING_SECONDS, _SHORTEST_SECONDS = 10.0, 2.0
"""Shorter stretches are not detected on their own (the second)."""


@dataclass(frozen=True, slots=True)
class LanguageRun:
    """A part of a recording in one language. Runs are contiguous."""

    start: int
    """Samples."""
    end: int
    language: str
    probability: float
    """Mean over the stretches in it, weighted by their lengths."""


def language_runs(
    samples: Samples, speech: Sequence[Span], detect: Detect, *, each: bool
) -> list[LanguageRun]:
    """The runs of a recording with these stretches of speech; [] without speech.

    Without `each` the first stretches, of 10 s or more together, decide for the whole recording.
    """
    stretches = [part for span in speech for part in _parts(span)]
    if not stretches:
        return []
    if not each:
        lengths = np.cumsum([end - start for start, end in stretches])
        count = int(np.searchsorted(lengths, _BEGINNING_SECONDS * SPEECH_RATE)) + 1
        beginning = np.concatenate([samples[start:end] for start, end in stretches[:count]])
        language, probability = detect(beginning[: int(_WINDOW_SECONDS * SPEECH_RATE)])
        return [LanguageRun(0, len(samples), language, probability)]
    detected: list[_Detected] = []
    for group in _groups(stretches):
        detected += _detected(samples, group, detect)
    return _merged(_completed(detected), len(samples))


def redetected(samples: Samples, run: LanguageRun, detect: Detect) -> LanguageRun:
    """A run with the language of its own samples, if they are enough to detect it."""
    part = samples[run.start : run.end]
    if len(part) < _SHORTEST_SECONDS * SPEECH_RATE:
        return run
    language, probability = detect(part[: int(_WINDOW_SECONDS * SPEECH_RATE)])
    if probability < _LIKELY:
        return run
    return replace(run, language=language, probability=probability)


def _groups(stretches: Sequence[Span]) -> list[list[Span]]:
    """Stretches without a pause between them, up to 30 s of speech each."""
    groups: list[list[Span]] = []
    for span in stretches:
        if groups:
            group = groups[-1]
            length = sum(end - start for start, end in group) + span[1] - span[0]
            fits = length <= _WINDOW_SECONDS * SPEECH_RATE
            if fits and span[0] - group[-1][1] < _PAUSE_SECONDS * SPEECH_RATE:
                group.append(span)
                continue
        groups.append([span])
    return groups


def _parts(span: Span) -> list[Span]:
    """Equal parts of at most 30 s each."""
    count = max(1, math.ceil((span[1] - span[0]) / (_WINDOW_SECONDS * SPEECH_RATE)))
    bounds = np.linspace(span[0], span[1], count + 1).astype(int).tolist()
    return list(pairwise(bounds))


def _detected(samples: Samples, group: Sequence[Span], detect: Detect) -> list[_Detected]:
    """The language of each stretch of a group: its own, or of short ones the group's."""
    shortest = _SHORTEST_SECONDS * SPEECH_RATE
    if any(end - start >= shortest for start, end in group):
        return [
            ((start, end), *detect(samples[start:end]))
            if end - start >= shortest
            else ((start, end), None, 0.0)
            for start, end in group
        ]
    language, probability = detect(np.concatenate([samples[a:b] for a, b in group]))
    return [(span, language, probability) for span in group]


def _completed(detected: Sequence[_Detected]) -> list[tuple[Span, str, float]]:
    """A language for every stretch: an uncertain one takes that of the stretch before it, and
    one that was not detected that of the stretch nearest to it."""
    seconds: dict[str, float] = {}
    for (start, end), language, probability in detected:
        if language is not None:
            seconds[language] = seconds.get(language, 0.0) + (end - start) * probability
    before = main = max(seconds, key=lambda name: seconds[name])
    completed: list[tuple[Span, str, float]] = []
    for number, (span, language, probability) in enumerate(detected):
        after = next((name for _, name, _ in detected[number + 1 :] if name is not None), None)
        short = span[1] - span[0] < _SHORTEST_SECONDS * SPEECH_RATE
        alone = language != before and after == before and probability < _CLEAR
        if language is None:
            language = _nearest(number, detected) or before
        elif alone or (probability < (_CLEAR if short else _LIKELY) and language != main):
            language = before
        completed.append((span, language, probability))
        before = language
    return completed


def _nearest(number: int, detected: Sequence[_Detected]) -> str | None:
    """The detected language that is nearest in time to this stretch."""
    (start, end), _, _ = detected[number]
    distances = [
        (max(other_start - end, start - other_end), name)
        for (other_start, other_end), name, _ in detected
        if name is not None
    ]
    return min(distances)[1] if distances else None


def _merged(stretches: Sequence[tuple[Span, str, float]], end: int) -> list[LanguageRun]:
    """Merge neighbours of one language; runs change in the middle of the pause between them."""
    runs: list[LanguageRun] = []
    first = 0
    for number in range(1, len(stretches) + 1):
        if number < len(stretches) and stretches[number][1] == stretches[first][1]:
            continue
        members = stretches[first:number]
        stop = end
        if number < len(stretches):
            stop = (members[-1][0][1] + stretches[number][0][0]) // 2
        weights = [b - a for (a, b), _, _ in members]
        probability = float(np.average([p for _, _, p in members], weights=weights))
        runs.append(LanguageRun(runs[-1].end if runs else 0, stop, members[0][1], probability))
        first = number
    return runs
