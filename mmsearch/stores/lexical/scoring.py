"""BM25 over candidates, the same on every database.

FTS5 (`bm25`) and PostgreSQL (`ts_rank`, which ignores how rare a word is) score matches
differently. They only supply candidates, which are scored here.
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
class WeightedUnit:
    """A unit with its document frequency in the collection."""

    unit: WordUnit
    count: int
    """Segments that hold it."""
    idf: float

    @property
    def gain(self) -> float:
        return self.unit.weight * self.idf


def weigh(units: Sequence[WordUnit], counts: Sequence[int], total: int) -> list[WeightedUnit]:
    """Units with their idf among `total` segments, rarest first."""
    weighted = [
        WeightedUnit(unit, count, math.log(1 + (max(total - count, 0) + 0.5) / (count + 0.5)))
        for unit, count in zip(units, counts, strict=True)
    ]
    return sorted(weighted, key=lambda unit: unit.count)


def rank(
    candidates: Mapping[int, Sequence[str]],
    weighted: Sequence[WeightedUnit],
    mean_length: float,
    k: int,
) -> LexicalRanking:
    """The best k of candidates (id to tokens) by BM25; equal scores by id."""
    mass = sum(unit.gain for unit in weighted if unit.unit.weight > 0)
    scored: list[tuple[float, int, float]] = []
    for segment_id, words in candidates.items():
        length = sum(word != BREAK for word in words)
        norm = K1 * (1 - B + B * length / max(mean_length, 1.0))
        score = present = 0.0
        for unit in weighted:
            times = occurrences(unit.unit, words)
            if times:
                score += unit.gain * times * (K1 + 1) / (times + norm)
                present += unit.gain
        if score > 0 and present > 0:
            scored.append((score, segment_id, min(present / mass, 1.0)))
    scored.sort(key=lambda entry: (-entry[0], entry[1]))
    best = scored[:k]
    return LexicalRanking(
        np.array([entry[1] for entry in best], np.int64),
        np.array([entry[0] for entry in best], np.float32),
        np.array([entry[2] for entry in best], np.float32),
    )


def occurrences(unit: WordUnit, words: Sequence[str]) -> int:
    """How often a unit occurs in a list of tokens."""
    if unit.alternatives:
        return sum(occurrences(alternative, words) for alternative in unit.each())
    tokens = unit.tokens
    if len(tokens) == 1:
        if unit.prefix:
            return sum(word.startswith(tokens[0]) for word in words)
        return words.count(tokens[0])
    return sum(
        all(matches(unit, place, words[start + place]) for place in range(len(tokens)))
        for start in range(len(words) - len(tokens) + 1)
        if words[start] == tokens[0]
    )


def matches(unit: WordUnit, place: int, word: str) -> bool:
    """Whether `word` is the unit's token at `place`."""
    token = unit.tokens[place]
    if unit.prefix and place == len(unit.tokens) - 1:
        return word.startswith(token)
    return word == token
