"""The JSON form of queries and results, shared by the command line and the service."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mmsearch.errors import EmptyQueryError, LimitError, QueryError
from mmsearch.types import Hit, Modality, Query, SearchResult, Term

MAX_LIMIT = 1000
MAX_TERMS = 32

QUERY_FIELDS = (
    "query",
    "terms",
    "modalities",
    "filter",
    "limit",
    "min_score",
    "collection",
    "exact",
)
TERM_FIELDS = ("text", "image", "audio", "segment", "vector", "space", "weight")


def query_from_json(body: Mapping[str, Any], *, default_limit: int = 10) -> Query:
    """A checked `Query` from its JSON form.

    Either ``{"query": "words"}`` or ``{"terms": [{"text": ..., "weight": 1}, ...]}``, or
    both; pictures and recordings are base64. Raises QueryError, whose `param` names the field.
    """
    _refuse_unknown(body, QUERY_FIELDS, "the query")
    terms = [_term(item, f"terms[{i}]") for i, item in enumerate(_typed(body, "terms", list, []))]
    words = _typed(body, "query", str, "")
    if words.strip():
        terms.insert(0, Term(text=words))
    return check_query(
        Query(
            terms=tuple(terms),
            modalities=modalities(_typed(body, "modalities", list, [])),
            filter=_typed(body, "filter", dict, None),
            limit=_typed(body, "limit", int, default_limit),
            min_score=float(_typed(body, "min_score", (int, float), 0.0)),
            collection=_typed(body, "collection", str, None),
            exact=_typed(body, "exact", bool, False),
        )
    )


def check_query(query: Query) -> Query:
    """The same query, or the QueryError that says what is wrong with it."""
    if not query.terms:
        raise EmptyQueryError("the query is empty: give words, a picture, a recording or a segment")
    if len(query.terms) > MAX_TERMS:
        raise LimitError(f"a query has at most {MAX_TERMS} terms", param="terms")
    for term in query.terms:
        given = [
            name
            for name in ("text", "image", "audio", "segment", "vector")
            if getattr(term, name) is not None
        ]
        if len(given) != 1:
            raise QueryError(
                "a term has exactly one of text, image, audio, segment, vector; "
                f"this one has {', '.join(given) or 'none'}",
                param="terms",
            )
        if term.text is not None and not term.text.strip():
            raise EmptyQueryError("the query's text is blank", param="terms")
        if not math.isfinite(term.weight) or term.weight == 0:
            raise LimitError("a term's weight is a number other than 0", param="weight")
    if not any(term.weight > 0 for term in query.terms):
        raise QueryError("a query needs at least one term with a positive weight", param="weight")
    if not 1 <= query.limit <= MAX_LIMIT:
        raise LimitError(f"limit is from 1 to {MAX_LIMIT}, not {query.limit}", param="limit")
    if not 0 <= query.min_score <= 1:
        raise LimitError(f"min_score is from 0 to 1, not {query.min_score}", param="min_score")
    return query


def modalities(names: Sequence[Any]) -> tuple[Modality, ...]:
    """Modalities by name. Raises QueryError with the list of names."""
    try:
        return tuple(Modality(name) for name in names)
    except ValueError:
        known = ", ".join(m.value for m in Modality)
        raise QueryError(
            f"unknown modality in {list(names)!r}. Modalities: {known}.", param="modalities"
        ) from None


def result_to_json(result: SearchResult) -> dict[str, Any]:
    """The JSON form of an answer; bytes of pictures and recordings are not echoed."""
    return {
        "query": _echo(result.query),
        "took_ms": round(result.took_ms, 3),
        "hits": [hit_to_json(hit) for hit in result.hits],
        "warnings": list(result.warnings),
    }


def hit_to_json(hit: Hit) -> dict[str, Any]:
    """The JSON form of one hit; keys are only ever added."""
    place = hit.segment.place
    return {
        "rank": hit.rank,
        "score": round(hit.score, 6),
        "scores": {name: round(value, 6) for name, value in hit.scores.items()},
        "source": {
            "id": hit.source.id,
            "path": hit.source.path,
            "uri": hit.source.uri,
            "mime": hit.source.mime,
            "metadata": dict(hit.source.metadata),
        },
        "segment": {
            "id": hit.segment.id,
            "modality": hit.segment.modality.value,
            "start": place.start,
            "end": place.end,
            "page": place.page,
            "text": hit.segment.text,
            "char_start": place.char_start,
            "char_end": place.char_end,
            "box": list(place.box) if place.box else None,
        },
    }


def _echo(query: Query) -> dict[str, Any]:
    terms = []
    for term in query.terms:
        value: Any = getattr(term, term.kind)
        if isinstance(value, bytes):
            value = f"{len(value)} bytes"
        elif isinstance(value, tuple):
            value = f"{len(value)} numbers"
        terms.append({term.kind: value, "weight": term.weight})
    return {
        "terms": terms,
        "modalities": [m.value for m in query.modalities],
        "filter": query.filter,
        "limit": query.limit,
        "min_score": query.min_score,
        "collection": query.collection,
    }


def _term(item: Any, where: str) -> Term:
    if not isinstance(item, Mapping):
        raise QueryError(f"{where} must be an object", param=where)
    _refuse_unknown(item, TERM_FIELDS, where)
    vector = _typed(item, "vector", list, None, where)
    if vector is not None and not all(
        isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in vector
    ):
        raise QueryError(f"{where}.vector must be a list of finite numbers", param=where)
    return Term(
        text=_typed(item, "text", str, None, where),
        image=_binary(item, "image", where),
        audio=_binary(item, "audio", where),
        segment=_typed(item, "segment", int, None, where),
        vector=tuple(float(x) for x in vector) if vector is not None else None,
        space=_typed(item, "space", str, None, where),
        weight=float(_typed(item, "weight", (int, float), 1.0, where)),
    )


def _binary(item: Mapping[str, Any], name: str, where: str) -> bytes | None:
    encoded = _typed(item, name, str, None, where)
    if encoded is None:
        return None
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise QueryError(f"{where}.{name} is not base64", param=f"{where}.{name}") from None


def _typed(
    body: Mapping[str, Any],
    name: str,
    kind: type | tuple[type, ...],
    default: Any,
    where: str | None = None,
) -> Any:
    value = body.get(name)
    if value is None:
        return default
    kinds = kind if isinstance(kind, tuple) else (kind,)
    # bool is an int in Python, not in JSON.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        label = f"{where}.{name}" if where else name
        wanted = {str: "a string", list: "a list", dict: "an object", bool: "true or false"}
        raise QueryError(f"{label} must be {wanted.get(kinds[0], 'a number')}", param=label)
    return value


def _refuse_unknown(body: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for name in body:
        if name not in known:
            raise QueryError(
                f"unknown field '{name}' in {where}. Fields: {', '.join(known)}.", param=str(name)
            )
