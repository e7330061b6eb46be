"""Phrases that begin in one passage and end in the next: where a text is cut is our affair."""

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

MOST = 1_000
"""Passages with a half of the phrase that are looked at: ordinary words are everywhere."""


@dataclass(frozen=True)
class Crossings:
    """Phrases found across passages: which ones, and where they begin."""

    units: AbstractSet[WordUnit]
    words: Mapping[Modality, Mapping[int, Sequence[str]]]
    """By modality: {segment in which a phrase begins: its words, and the rest of the phrase}."""


def crossings(
    connection: Connection,
    holding: Callable[[WordUnit], Sequence[int]],
    units: Iterable[WordUnit],
    allowed: Mapping[Modality, Ids] | None = None,
) -> Crossings:
    """Where the quoted phrases among `units` cross from one segment of a source to the next."""
    crossed: set[WordUnit] = set()
    found: dict[Modality, dict[int, list[str]]] = {}
    phrases = [(unit, one) for unit in units for one in unit.each()]
    for unit, phrase in phrases:
        if not phrase.quoted or len(phrase.tokens) < 2:
            continue
        # Wherever it is cut, one of its halves stands whole on one side.
        half = len(phrase.tokens) // 2
        begins = holding(replace(phrase, tokens=phrase.tokens[:half], prefix=False))[:MOST]
        ends = holding(replace(phrase, tokens=phrase.tokens[half:]))[:MOST]
        for modality, segment_id, words in _joined(connection, begins, ends, phrase):
            crossed.add(unit)
            some = found.setdefault(modality, {})
            # Of two phrases over one seam the longer one's rest holds the other's too.
            some[segment_id] = max(some.get(segment_id, []), words, key=len)
    if allowed is not None:
        kept = {modality: set(ids.tolist()) for modality, ids in allowed.items()}
        found = {
            modality: {i: words for i, words in some.items() if i in kept.get(modality, ())}
            for modality, some in found.items()
        }
    return Crossings(crossed, found)


def _joined(
    connection: Connection, begins: Sequence[int], ends: Sequence[int], unit: WordUnit
) -> list[tuple[Modality, int, list[str]]]:
    """(modality, segment, its words and the beginning of the next one's) for each that crosses."""
    here, there = aliased(SegmentRow), aliased(SegmentRow)
    own, following = aliased(SegmentWordsRow), aliased(SegmentWordsRow)
    pairs = (
        select(here.id, here.modality, own.words, following.words)
        .join(
            there,
            and_(
                there.source_id == here.source_id,
                there.ordinal == here.ordinal + 1,
                there.modality == here.modality,
            ),
        )
        .join(own, own.segment_id == here.id)
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
