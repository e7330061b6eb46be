"""What a query's texts ask for beyond words: filters, other terms, what to move away from.

`expand` is the first step of planning, because only there it is known which fields the library has.
It makes of every text the terms and the filter that it stands for, so that the same text means the
same from everywhere. An expanded query stays as it is when it is expanded again.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from mmsearch.errors import QueryError
from mmsearch.query import Query, Term
from mmsearch.search.parse.filters import known_fields
from mmsearch.search.parse.language import (
    Alternatives,
    FieldValue,
    Item,
    Phrase,
    Word,
    parse,
    source_of,
    unparse,
)
from mmsearch.search.parse.typed_filters import PLAIN_WORDS, SHORTCUTS, Filter, filter_of

WITHOUT = "without"
LIKE = "like"
MAX_DIGITS = 18
"""Of a segment's id: SQL has no larger integers."""


@dataclass(slots=True)
class Reading:
    """A text, read with the fields that a collection has."""

    rest: list[Item] = field(default_factory=list)
    """The words, phrases and exclusions."""
    filters: list[Filter] = field(default_factory=list)
    """All must hold."""
    filter_values: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)
    """Meanings to move away from."""
    like: list[tuple[int, bool]] = field(default_factory=list)
    """Ids of segments, and whether to move away from them."""
    unknown: list[FieldValue] = field(default_factory=list)
    """What looks like a filter and is searched as words."""

    @property
    def recognised(self) -> bool:
        """Whether the text is more than words, phrases and exclusions."""
        return bool(self.filters or self.without or self.like)


def expand(
    query: Query, metadata_keys: Callable[[], Sequence[str]]
) -> tuple[Query, tuple[str, ...]]:
    """The query with its texts read, and warnings about what looks like a filter but is none.

    `metadata_keys` is called only if some text has a field in it. Raises QueryError if nothing is
    left to search for.
    """
    terms: list[Term] = []
    filters: list[Filter] = []
    warnings: list[str] = []
    for term in query.terms:
        if term.text is None or term.weight <= 0:
            terms.append(term)
            continue
        items = parse(term.text)
        keys = metadata_keys() if any(_has_field(item) for item in items) else ()
        reading = read(items, keys)
        others = any(other is not term and other.weight > 0 for other in query.terms)
        terms += _terms(term, reading, others=others)
        filters += reading.filters
        warnings += [
            warning for item in reading.unknown if (warning := _about(item, keys)) is not None
        ]
    if not any(term.weight > 0 for term in terms):
        raise QueryError("The query only moves away from something: add what to look for.",
                         param="query")  # fmt: skip
    if filters:
        query = replace(query, filter=_joined(query, filters))
    return replace(query, terms=tuple(terms)), tuple(warnings)


def read(items: Sequence[Item], metadata_keys: Sequence[str]) -> Reading:
    """Sort the items of a text by what they mean in a collection with these metadata keys."""
    reading = Reading()
    for item in items:
        if isinstance(item, Alternatives):
            _read_alternatives(reading, item, metadata_keys)
        elif isinstance(item, FieldValue):
            _read_field(reading, item, metadata_keys)
        else:
            reading.rest.append(item)
    return reading


def _read_field(reading: Reading, item: FieldValue, metadata_keys: Sequence[str]) -> None:
    if item.field == WITHOUT and not item.excluded:
        reading.without.append(_as_words(item.value))
    elif item.field == LIKE and item.value.isdecimal() and len(item.value) <= MAX_DIGITS:
        reading.like.append((int(item.value), item.excluded))
    elif (typed := filter_of(item, metadata_keys)) is not None:
        reading.filters.append(typed)
        reading.filter_values.append(item.value)
    else:
        reading.unknown.append(item)
        reading.rest.append(item)


def _read_alternatives(reading: Reading, item: Alternatives, metadata_keys: Sequence[str]) -> None:
    """Filters are alternatives of filters, words of words; of a mixture each stands for itself."""
    words: list[Word | Phrase | FieldValue] = []
    filters: list[Filter] = []
    for part in item.items:
        typed = filter_of(part, metadata_keys) if isinstance(part, FieldValue) else None
        if typed is not None and isinstance(part, FieldValue):
            filters.append(typed)
            reading.filter_values.append(part.value)
        elif isinstance(part, FieldValue) and part.field in {WITHOUT, LIKE}:
            _read_field(reading, part, metadata_keys)
        else:
            words.append(part)
    if filters and not words:
        reading.filters.append({"or": filters})
    else:
        reading.filters += filters
    if len(words) > 1:
        reading.rest.append(replace(item, items=tuple(words)))
    else:
        reading.rest += words


def _terms(term: Term, reading: Reading, *, others: bool) -> list[Term]:
    """The terms that a text stands for; `others` tells whether something else is searched for."""
    rest, away = list(reading.rest), list(reading.without)
    if not any(not item.excluded for item in rest):
        if reading.like or others:
            # Full text excludes only from what it finds: here there is nothing that it looks for.
            away += [unparse([replace(item, excluded=False)]) for item in rest]
            rest = []
        else:
            # Filters alone find all that passes. Their values put it in order.
            rest += [Word(word) for value in reading.filter_values for word in value.split()]
    terms: list[Term] = []
    if len(rest) == len(reading.rest) and not reading.recognised and rest:
        terms.append(term)
    elif rest:
        terms.append(replace(term, text=unparse(rest)))
    for segment, is_away in reading.like:
        weight = -term.weight if is_away else term.weight
        terms.append(replace(term, text=None, segment=segment, weight=weight))
    return [*terms, *(replace(term, text=text, weight=-term.weight) for text in away)]


def _as_words(text: str) -> str:
    """A text in which nothing is syntax."""
    return unparse([Word(word) for word in text.split()])


def _joined(query: Query, filters: Sequence[Filter]) -> Filter | None:
    """The query's own filter and the typed ones, joined by AND; none of them twice."""
    sent = dict(query.filter) if query.filter else None
    parts: list[Filter] = []
    if sent is not None:
        is_and = list(sent) == ["and"] and isinstance(sent["and"], list) and sent["and"]
        parts += sent["and"] if is_and else [sent]
    for typed in filters:
        if typed not in parts:
            parts.append(typed)
    if len(parts) > 1:
        return {"and": parts}
    return parts[0] if parts else None


def _has_field(item: Item) -> bool:
    if isinstance(item, Alternatives):
        return any(isinstance(part, FieldValue) for part in item.items)
    return isinstance(item, FieldValue)


def _about(item: FieldValue, metadata_keys: Sequence[str]) -> str | None:
    """A warning about what was probably meant as a filter."""
    fields = [f for f in known_fields(metadata_keys) if f in metadata_keys or f not in PLAIN_WORDS]
    known = [*fields, *SHORTCUTS, WITHOUT, LIKE]
    typed = source_of(item)
    if item.field in known:
        return f"'{item.value}' is no value of '{item.field}': '{typed}' is searched as words."
    near = difflib.get_close_matches(item.field, known, n=1, cutoff=0.8)
    if not near or item.value.startswith("/"):
        return None
    return (
        f"There is no field '{item.field}' (did you mean '{near[0]}'?): "
        f"'{typed}' is searched as words."
    )
