"""The command line's compact form of a query's terms: content, and ^weight behind it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmsearch.errors import QueryError
from mmsearch.types import Term, file_content

NOT_WEIGHT = -0.5
"""How hard --not pushes: strong enough to reorder, too weak to outweigh what is asked for."""

_WEIGHTED = re.compile(r"(?s)(.*)\^(-?\d+(?:\.\d+)?)")


def terms_from(
    query: str | None,
    images: Sequence[str] | None = None,
    recordings: Sequence[str] | None = None,
    segments: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    without: Sequence[str] | None = None,
) -> tuple[Term, ...]:
    """Terms in a fixed order. The words of `query` are taken as they are, a ^ in them too."""
    terms = [] if query is None else [Term(text=query)]
    for given in texts or ():
        words, weight = weighted(given)
        terms.append(Term(text=words, weight=weight))
    for given in images or ():
        name, weight = weighted(given)
        terms.append(Term(image=file_content(name), weight=weight))
    for given in recordings or ():
        name, weight = weighted(given)
        terms.append(Term(audio=file_content(name), weight=weight))
    for given in segments or ():
        number, weight = weighted(given)
        if not number.isdigit():
            raise QueryError(f"--like takes the id of a segment, not '{number}'", param="like")
        terms.append(Term(segment=int(number), weight=weight))
    terms += [Term(text=words, weight=NOT_WEIGHT) for words in without or ()]
    return tuple(terms)


def weighted(given: str) -> tuple[str, float]:
    """`beach^2` is ("beach", 2.0); without a weight it is 1."""
    match = _WEIGHTED.fullmatch(given)
    return (match[1], float(match[2])) if match else (given, 1.0)
