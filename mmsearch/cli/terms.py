"""A query as the command line gives it: a text in the query language, and options beside it.

Files are only what `--image` and `--audio` name. The text never names one, whatever it looks like.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from mmsearch.errors import QueryError
from mmsearch.query import Query, Term, file_content
from mmsearch.search.parse.request import SearchRequest, term_from_json

_WEIGHTED = re.compile(r"(?s)(.*)\^(-?\d+(?:\.\d+)?)")

FIELDS = {
    "query": "query",
    "image": "terms",
    "audio": "terms",
    "like": "terms",
    "text": "terms",
    "term": "terms",
    "without": "without",
    "modality": "modalities",
    "filter_": "filter",
    "weight": "weights",
    "best": "group",
    "fold_at": "fold",
    "facet": "facets",
}
"""The request's field of each parameter of `mmsearch search` that is named otherwise."""


def terms_from(
    query: str | None,
    images: Sequence[str] | None = None,
    recordings: Sequence[str] | None = None,
    segments: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    without: Sequence[str] | None = None,
    any_terms: Sequence[str] | None = None,
) -> tuple[Term, ...]:
    """Terms in a fixed order: the text, then those of the options."""
    terms = [Term(text=query)] if query is not None and query.strip() else []
    for option in texts or ():
        words, weight = weighted(option)
        terms.append(Term(text=words, weight=weight))
    for option in images or ():
        name, weight = weighted(option)
        terms.append(Term(image=file_content(name), weight=weight))
    for option in recordings or ():
        name, weight = weighted(option)
        terms.append(Term(audio=file_content(name), weight=weight))
    for option in segments or ():
        number, weight = weighted(option)
        if not number.isdigit():
            raise QueryError(f"--like takes the id of a segment, not '{number}'", param="like")
        terms.append(Term(segment=int(number), weight=weight))
    for option in without or ():
        words, weight = weighted(option)
        terms.append(Term(text=words, weight=-abs(weight)))
    terms += [term_from_json(json_object(option, "--term"), "--term") for option in any_terms or ()]
    return tuple(terms)


def query_from_options(terms: Sequence[Term], **options: Any) -> Query:
    """A checked query from terms and the options that were given, named as in JSON."""
    body = {
        name: value
        for name, value in options.items()
        if value is not None and value is not False and value != []
    }
    return SearchRequest.parse(body).to_query(terms)


def facet_from(option: str) -> str | dict[str, str]:
    """`taken_at:year` counts by year, `mime` by value."""
    name, _, by = option.rpartition(":")
    return {"field": name, "by": by} if name and by in {"year", "month", "day"} else option


def weights_from(options: Sequence[str]) -> dict[str, float]:
    """`lexical=0.5`, `clip:image=2`. Raises QueryError."""
    weights: dict[str, float] = {}
    for option in options:
        name, _, weight = option.rpartition("=")
        try:
            weights[name] = float(weight)
        except ValueError:
            raise QueryError(
                f"--weight takes CHANNEL=NUMBER, for example lexical=0.5, not '{option}'",
                param="weights",
            ) from None
    return weights


def json_object(text: str, option: str) -> dict[str, Any]:
    """Raises QueryError."""
    name = option.removeprefix("--")
    try:
        value = json.loads(text)
    except ValueError as error:
        raise QueryError(f"{option} is not JSON: {error}", param=name) from None
    if not isinstance(value, dict):
        raise QueryError(f"{option} takes a JSON object", param=name)
    return value


def weighted(option: str) -> tuple[str, float]:
    """`beach^2` is ("beach", 2.0); without a weight it is 1."""
    match = _WEIGHTED.fullmatch(option)
    return (match[1], float(match[2])) if match else (option, 1.0)
