"""A query as the command line gives it: a line in compact form, and options beside it.

Files are only what `--image` and `--audio` name; whatever the line looks like, it is words
(`mmsearch.search.parse.compact`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from mmsearch.errors import QueryError
from mmsearch.query import Query, Term, file_content
from mmsearch.search.parse.compact import terms_of
from mmsearch.search.parse.json_form import query_from_json, term_from_json, term_to_json

_WEIGHTED = re.compile(r"(?s)(.*)\^(-?\d+(?:\.\d+)?)")


def terms_from(
    query: str | None,
    images: Sequence[str] | None = None,
    recordings: Sequence[str] | None = None,
    segments: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    without: Sequence[str] | None = None,
    any_terms: Sequence[str] | None = None,
) -> tuple[Term, ...]:
    """Terms in a fixed order: those of the line, then those of the options."""
    terms = [] if query is None else terms_of(query)
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
    for given in without or ():
        words, weight = weighted(given)
        terms.append(Term(text=words, weight=-abs(weight)))
    for given in any_terms or ():
        terms.append(term_from_json(json_object(given, "--term"), "--term"))
    return tuple(terms)


def query_from_options(terms: Sequence[Term], **options: Any) -> Query:
    """A checked query from terms and the options that were given, named as in JSON."""
    given = {
        name: value
        for name, value in options.items()
        if value is not None and value is not False and value != []
    }
    return query_from_json(given | {"terms": [term_to_json(term) for term in terms]})


def facet_from(given: str) -> str | dict[str, str]:
    """`taken_at:year` counts by year, `mime` by value."""
    name, _, by = given.rpartition(":")
    return {"field": name, "by": by} if name and by in {"year", "month", "day"} else given


def weights_from(given: Sequence[str]) -> dict[str, float]:
    """`lexical=0.5`, `clip:image=2`. Raises QueryError."""
    found: dict[str, float] = {}
    for one in given:
        name, _, weight = one.rpartition("=")
        try:
            found[name] = float(weight)
        except ValueError:
            raise QueryError(
                f"--weight takes CHANNEL=NUMBER, for example lexical=0.5, not '{one}'",
                param="weights",
            ) from None
    return found


def json_object(given: str, option: str) -> dict[str, Any]:
    """Raises QueryError."""
    name = option.removeprefix("--")
    try:
        found = json.loads(given)
    except ValueError as error:
        raise QueryError(f"{option} is not JSON: {error}", param=name) from None
    if not isinstance(found, dict):
        raise QueryError(f"{option} takes a JSON object", param=name)
    return found


def weighted(given: str) -> tuple[str, float]:
    """`beach^2` is ("beach", 2.0); without a weight it is 1."""
    match = _WEIGHTED.fullmatch(given)
    return (match[1], float(match[2])) if match else (given, 1.0)
