"""BM25 over candidates, the same on every database.

Databases order their matches each in its own way (`bm25` of FTS5, `ts_rank` of PostgreSQL,
which knows nothing of rarity). They are only asked for candidates; these are scored here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmsearch.stores.lexical.analysis import BREAK
from mmsearch.types import LexicalRanking, WordUnit

K1 = 1.2
B = 0.75
"""The usual constants of BM25 (Robertson and Zaragoza, 2009)."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """A unit with its rarity in the collection."""

    unit: WordUnit
    count: int
    """Segments that hold it."""
    idf: float

    @property
    def gain(self) -> float:
        return self.unit.weight * self.idf


def weigh(units: Sequence[WordUnit], counts: Sequence[int], total: int) -> list[Weighed]:
    """Units with their idf among `total` segments, rarest first."""
    weighed = [
        Weighed(unit, count, math.log(1 + (max(total - count, 0) + 0.5) / (count + 0.5)))
        for unit, count in zip(units, counts, strict=True)
    ]
    return sorted(weighed, key=lambda one: one.count)


def rank(
    candidates: Mapping[int, Sequence[str]], weighed: Sequence[Weighed], mean_length: float, k: int
) -> LexicalRanking:
    """The best k of candidates (id to tokens) by BM25; equal ones by id."""
    mass = sum(one.gain for one in weighed if one.unit.weight > 0)
    scored: list[tuple[float, int, float]] = []
    for segment_id, words in candidates.items():
        length = sum(word != BREAK for word in words)
        norm = K1 * (1 - B + B * length / max(mean_length, 1.0))
        score = share = 0.0
        for one in weighed:
            times = occurrences(one.unit, words)
            if times:
                score += one.gain * times * (K1 + 1) / (times + norm)
                share += one.gain
        if score > 0 and share > 0:
            scored.append((score, segment_id, min(share / mass, 1.0)))
    scored.sort(key=lambda one: (-one[0], one[1]))
    best = scored[:k]
    return LexicalRanking(
        np.array([one[1] for one in best], np.int64),
        np.array([one[0] for one in best], np.float32),
        np.array([one[2] for one in best], np.float32),
    )


def occurrences(unit: WordUnit, words: Sequence[str]) -> int:
    """How often a unit stands in a list of tokens."""
    if unit.alternatives:
        return sum(occurrences(one, words) for one in unit.each())
    wanted = unit.tokens
    if len(wanted) == 1:
        word = wanted[0]
        if unit.prefix:
            return sum(one.startswith(word) for one in words)
        return words.count(word)
    return sum(
        all(matches(unit, place, words[start + place]) for place in range(len(wanted)))
        for start in range(len(words) - len(wanted) + 1)
        if words[start] == wanted[0]
    )


def matches(unit: WordUnit, place: int, word: str) -> bool:
    """Whether `word` is the unit's token at `place`."""
    wanted = unit.tokens[place]
    if unit.prefix and place == len(unit.tokens) - 1:
        return word.startswith(wanted)
    return word == wanted
