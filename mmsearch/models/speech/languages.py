"""Which language is spoken where in a recording.

Whisper names one language per 30 seconds that it is shown. Asking once per recording writes
everything in the language of its beginning; asking for every breath costs an encoder pass each.
So groups of stretches are asked first, and only a group that gives no clear answer is taken apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mmsearch.types import Samples

RATE = 16_000
Span = tuple[int, int]
"""(first sample, last + 1)."""
Detect = Callable[[Samples], tuple[str, float]]
"""Speech of at most 30 s to (ISO 639-1, probability)."""

_GROUP_SECONDS, _ENOUGH_SECONDS, _PAUSE_SECONDS = 30.0, 10.0, 1.5
_CLEAR, _LIKELY = 0.8, 0.5
_SHORTEST_SECONDS = 2.0
"""Below this a stretch goes with its neighbours."""


@dataclass(frozen=True, slots=True)
class LanguageRun:
    """A part of a recording in one language; runs follow each other without a gap."""

    start: int
    """Samples."""
    end: int
    language: str
    probability: float
    """Of the stretches in it, weighted by their length."""


def language_runs(
    samples: Samples, speech: Sequence[Span], detect: Detect, *, each: bool
) -> list[LanguageRun]:
    """The runs of a recording with these stretches of speech; none without speech.

    Not `each`: the first 30 s of speech decide for all.
    """
    groups = _groups(speech)
    if not groups:
        return []
    heard: list[tuple[Span, str | None, float]] = []
    for group in groups if each else groups[:1]:
        heard += _asked(samples, group, detect)
    if not each:
        language, probability = max(
            ((name, sure) for _, name, sure in heard if name), key=lambda found: found[1]
        )
        return [LanguageRun(0, len(samples), language, probability)]
    return _joined(_settled(heard), len(samples))


def _groups(speech: Sequence[Span]) -> list[list[Span]]:
    """Stretches together, up to 30 s; a pause ends a group that is long enough."""
    groups: list[list[Span]] = []
    for span in (part for whole in speech for part in _parts(whole)):
        group = groups[-1] if groups else None
        if group is not None:
            length = sum(end - start for start, end in group) / RATE
            pause = (span[0] - group[-1][1]) / RATE
            fits = length + (span[1] - span[0]) / RATE <= _GROUP_SECONDS
            if fits and not (length >= _ENOUGH_SECONDS and pause >= _PAUSE_SECONDS):
                group.append(span)
                continue
        groups.append([span])
    return groups


def _parts(span: Span) -> list[Span]:
    """Of at most 30 s each."""
    step = int(_GROUP_SECONDS * RATE)
    return [(at, min(at + step, span[1])) for at in range(span[0], span[1], step)]


def _asked(
    samples: Samples, group: Sequence[Span], detect: Detect
) -> list[tuple[Span, str | None, float]]:
    language, probability = detect(np.concatenate([samples[a:b] for a, b in group]))
    if probability >= _CLEAR or len(group) == 1:
        return [(span, language, probability) for span in group]
    heard: list[tuple[Span, str | None, float]] = []
    for start, end in group:
        if end - start >= _SHORTEST_SECONDS * RATE:
            own, sure = detect(samples[start:end])
            heard.append(((start, end), own, sure))
        else:
            heard.append(((start, end), None, 0.0))
    if all(name is None for _, name, _ in heard):
        return [(span, language, probability) for span in group]
    return heard


def _settled(
    heard: Sequence[tuple[Span, str | None, float]],
) -> list[tuple[Span, str, float]]:
    """Every stretch with a language: one that is not sure goes with what stands before it."""
    seconds: dict[str, float] = {}
    for (start, end), language, probability in heard:
        if language is not None:
            seconds[language] = seconds.get(language, 0.0) + (end - start) * probability
    before = main = max(seconds, key=lambda name: seconds[name])
    settled: list[tuple[Span, str, float]] = []
    for number, (span, language, probability) in enumerate(heard):
        after = heard[number + 1][1] if number + 1 < len(heard) else None
        alone = language != before and after == before and probability < _CLEAR
        if language is None or (probability < _LIKELY and language != main) or alone:
            language = before
        settled.append((span, language, probability))
        before = language
    return settled


def _joined(settled: Sequence[tuple[Span, str, float]], end: int) -> list[LanguageRun]:
    """Neighbours of one language together, cut in the middle of the pauses between them."""
    runs: list[LanguageRun] = []
    first = 0
    for number in range(1, len(settled) + 1):
        if number < len(settled) and settled[number][1] == settled[first][1]:
            continue
        members = settled[first:number]
        stop = end if number == len(settled) else (members[-1][0][1] + settled[number][0][0]) // 2
        weights = [b - a for (a, b), _, _ in members]
        probability = float(np.average([sure for _, _, sure in members], weights=weights))
        runs.append(LanguageRun(runs[-1].end if runs else 0, stop, members[0][1], probability))
        first = number
    return runs
