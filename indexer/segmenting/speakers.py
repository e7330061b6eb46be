"""Speakers: recognised stretches are split where the speaker changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mmsearch.types import Turn, Utterance, Word

_SHORTEST_SECONDS, _SHORTEST_WORDS = 0.4, 2
"""A shorter change of speaker counts as an error of the diariser."""


def with_speakers(utterances: Sequence[Utterance], turns: Sequence[Turn]) -> list[Utterance]:
    """The same words in the same order, each stretch by one speaker.

    Times of `utterances` and `turns` are of the same audio. Stretches without times of words are
    attributed as a whole to who speaks longest in them.
    """
    if not turns:
        return list(utterances)
    return [part for utterance in utterances for part in _split(utterance, turns)]


def _split(utterance: Utterance, turns: Sequence[Turn]) -> list[Utterance]:
    if not utterance.words or len({turn.speaker for turn in turns}) == 1:
        speaker = _speaker(utterance.start, utterance.end, turns)
        return [replace(utterance, speaker=speaker)]
    runs: list[tuple[int, list[Word]]] = []
    for word in utterance.words:
        speaker = _speaker(word.start, word.end, turns)
        if runs and runs[-1][0] == speaker:
            runs[-1][1].append(word)
        else:
            runs.append((speaker, [word]))
    runs = _smoothed(runs)
    if len(runs) == 1:
        return [replace(utterance, speaker=runs[0][0])]
    spaced = " " if " " in utterance.text.strip() else ""
    return [
        replace(
            utterance,
            start=words[0].start,
            end=words[-1].end,
            text=spaced.join(word.text for word in words),
            words=tuple(words),
            speaker=speaker,
        )
        for speaker, words in runs
    ]


def _speaker(start: float, end: float, turns: Sequence[Turn]) -> int:
    """Who speaks longest in between, or if nobody does, nearest to it."""
    seconds: dict[int, float] = {}
    for turn in turns:
        shared = min(end, turn.end) - max(start, turn.start)
        if shared > 0:
            seconds[turn.speaker] = seconds.get(turn.speaker, 0.0) + shared
    if seconds:
        return max(seconds, key=lambda speaker: seconds[speaker])
    middle = (start + end) / 2
    return min(turns, key=lambda turn: max(turn.start - middle, middle - turn.end)).speaker


def _smoothed(runs: list[tuple[int, list[Word]]]) -> list[tuple[int, list[Word]]]:
    """Runs that are too short join the run before them, or the one after at the beginning."""
    kept: list[tuple[int, list[Word]]] = []
    for speaker, words in runs:
        lasts = words[-1].end - words[0].start >= _SHORTEST_SECONDS
        if kept and (kept[-1][0] == speaker or not (lasts and len(words) >= _SHORTEST_WORDS)):
            kept[-1][1].extend(words)
        else:
            kept.append((speaker, list(words)))
    first = kept[0]
    lasts = first[1][-1].end - first[1][0].start >= _SHORTEST_SECONDS
    if len(kept) > 1 and not (lasts and len(first[1]) >= _SHORTEST_WORDS):
        kept[1] = (kept[1][0], first[1] + kept[1][1])
        kept.pop(0)
    return kept
