"""Phrases that begin in one segment and end in the next one of the same source.

A user does not know where a text was divided into segments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from sqlalchemy import Connection, and_, select
from sqlalchemy.orm import aliased

from mmsearch.stores.lexical.analysis import BREAK
from mmsearch.stores.lexical.scoring import occurrences
from mmsearch.stores.rows import chunks
from mmsearch.stores.tables import SegmentRow, SegmentWordsRow
from mmsearch.types import Ids, Modality, WordUnit

MAX_SEGMENTS = 1_000
"""Segments with half of the phrase that are examined: ordinary words are everywhere."""


@dataclass(frozen=True)
class CrossingPhrases:
    """The phrases that cross from one segment to the next, and the segments they begin in."""

    units: AbstractSet[WordUnit]
    words: Mapping[Modality, Mapping[int, Sequence[str]]]
    """By modality: segment in which a phrase begins, to its tokens and the rest of the phrase."""


def crossing_phrases(
    connection: Connection,
    holding: Callable[[WordUnit], Sequence[int]],
    units: Iterable[WordUnit],
    allowed: Mapping[Modality, Ids] | None = None,
) -> CrossingPhrases:
    """Where the quoted phrases among `units` cross from one segment of a source to the next."""
    crossed: set[WordUnit] = set()
    by_modality: dict[Modality, dict[int, list[str]]] = {}
    pairs = [(unit, phrase) for unit in units for phrase in unit.each()]
    for searched, phrase in pairs:
        if not phrase.quoted or len(phrase.tokens) < 2:
            continue
        # Wherever the text was divided, one half of the phrase is whole on one side.
        half = len(phrase.tokens) // 2
        begins = holding(replace(phrase, tokens=phrase.tokens[:half], prefix=False))
        ends = holding(replace(phrase, tokens=phrase.tokens[half:]))
        sides = begins[:MAX_SEGMENTS], ends[:MAX_SEGMENTS]
        for modality, segment_id, words in _joined(connection, *sides, phrase):
            crossed.add(searched)
            segments = by_modality.setdefault(modality, {})
            # Of two phrases over one boundary, the rest of the longer one contains the other's.
            segments[segment_id] = max(segments.get(segment_id, []), words, key=len)
    if allowed is not None:
        passing = {modality: set(ids.tolist()) for modality, ids in allowed.items()}
        by_modality = {
            modality: {i: words for i, words in segments.items() if i in passing.get(modality, ())}
            for modality, segments in by_modality.items()
        }
    return CrossingPhrases(crossed, by_modality)


def _joined(
    connection: Connection, begins: Sequence[int], ends: Sequence[int], unit: WordUnit
) -> list[tuple[Modality, int, list[str]]]:
    """(modality, segment, its words and the beginning of the next one's) for each that crosses."""
    here, there = aliased(SegmentRow), aliased(SegmentRow)
    current, following = aliased(SegmentWordsRow), aliased(SegmentWordsRow)
    pairs = (
        select(here.id, here.modality, current.words, following.words)
        .join(
            there,
            and_(
                there.source_id == here.source_id,
                there.ordinal == here.ordinal + 1,
                there.modality == here.modality,
            ),
        )
        .join(current, current.segment_id == here.id)
        .join(following, following.segment_id == there.id)
    )
    sides = [*((here.id, chunk) for chunk in chunks(begins))]
    sides += [*((there.id, chunk) for chunk in chunks(ends))]
    reach = len(unit.tokens) - 1
    crossed = []
    for column, chunk in sides:
        for segment_id, modality, before, after in connection.execute(
            pairs.where(column.in_(chunk))
        ):
            stop = before.index(BREAK) if BREAK in before else len(before)
            rest = list(after[:reach])
            if BREAK in rest:
                rest = rest[: rest.index(BREAK)]
            if occurrences(unit, [*before[max(0, stop - reach) : stop], *rest]):
                words = [*before[:stop], *rest, *before[stop:]]
                crossed.append((Modality(modality), segment_id, words))
    return crossed
