"""Language identification: which language is spoken where in a recording.

Whisper detects one language per window of 30 seconds. Detecting once per recording transcribes
everything in the language of its beginning. Detecting for each stretch of speech costs an encoder
pass each. So stretches are detected in groups, and a group without a clear result is split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mmsearch.models.speech.cepstrum import SPEECH_RATE
from mmsearch.types import Samples

Span = tuple[int, int]
"""(first sample, last + 1)."""
Detect = Callable[[Samples], tuple[str, float]]
"""Speech of at most 30 s to (ISO 639-1, probability)."""

_Detected = tuple[Span, str | None, float]
"""A stretch, its language (None: too short to detect) and the probability."""

_GROUP_SECONDS, _ENOUGH_SECONDS, _PAUSE_SECONDS = 30.0, 10.0, 1.5
_CLEAR, _LIKELY = 0.8, 0.5
_SHORTEST_SECONDS = 2.0
"""Shorter stretches take the language of their neighbours."""


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

    Without `each` the first 30 s of speech decide for the whole recording.
    """
    groups = _groups(speech)
    if not groups:
        return []
    detected: list[_Detected] = []
    for group in groups if each else groups[:1]:
        detected += _detected(samples, group, detect)
    if not each:
        probability, language = max((p, name) for _, name, p in detected if name)
        return [LanguageRun(0, len(samples), language, probability)]
    return _merged(_completed(detected), len(samples))


def _groups(speech: Sequence[Span]) -> list[list[Span]]:
    """Groups of up to 30 s of speech; a pause ends a group of 10 s or more."""
    groups: list[list[Span]] = []
    for span in (part for whole in speech for part in _parts(whole)):
        group = groups[-1] if groups else None
        if group is not None:
            length = sum(end - start for start, end in group) / SPEECH_RATE
            pause = (span[0] - group[-1][1]) / SPEECH_RATE
            fits = length + (span[1] - span[0]) / SPEECH_RATE <= _GROUP_SECONDS
            if fits and not (length >= _ENOUGH_SECONDS and pause >= _PAUSE_SECONDS):
                group.append(span)
                continue
        groups.append([span])
    return groups


def _parts(span: Span) -> list[Span]:
    """Parts of at most 30 s each."""
    step = int(_GROUP_SECONDS * SPEECH_RATE)
    return [(at, min(at + step, span[1])) for at in range(span[0], span[1], step)]


def _detected(samples: Samples, group: Sequence[Span], detect: Detect) -> list[_Detected]:
    """The language of each stretch of a group: the group's, if that is clear, else its own."""
    language, probability = detect(np.concatenate([samples[a:b] for a, b in group]))
    if probability >= _CLEAR or len(group) == 1:
        return [(span, language, probability) for span in group]
    detected: list[_Detected] = []
    for start, end in group:
        if end - start >= _SHORTEST_SECONDS * SPEECH_RATE:
            detected.append(((start, end), *detect(samples[start:end])))
        else:
            detected.append(((start, end), None, 0.0))
    if all(name is None for _, name, _ in detected):
        return [(span, language, probability) for span in group]
    return detected


def _completed(detected: Sequence[_Detected]) -> list[tuple[Span, str, float]]:
    """A language for every stretch: an uncertain stretch takes that of the stretch before it."""
    seconds: dict[str, float] = {}
    for (start, end), language, probability in detected:
        if language is not None:
            seconds[language] = seconds.get(language, 0.0) + (end - start) * probability
    before = main = max(seconds, key=lambda name: seconds[name])
    completed: list[tuple[Span, str, float]] = []
    for number, (span, language, probability) in enumerate(detected):
        after = detected[number + 1][1] if number + 1 < len(detected) else None
        alone = language != before and after == before and probability < _CLEAR
        if language is None or (probability < _LIKELY and language != main) or alone:
            language = before
        completed.append((span, language, probability))
        before = language
    return completed


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
