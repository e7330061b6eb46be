"""The JSON form of queries and results, shared by the command line and the service.

Reading is strict: what is unknown, of a wrong type or out of range is an error that names the
field. `query_to_json` writes what `query_from_json` reads, so that a query can be kept, sent
and asked again.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mmsearch.errors import EmptyQueryError, LimitError, QueryError
from mmsearch.models.rerankers.choice import check_choice
from mmsearch.query import Facet, GroupBy, Hit, HitPart, Query, SearchResult, SortKey, Term
from mmsearch.search.parse.compact import terms_of
from mmsearch.search.results.explain import explanation_to_json
from mmsearch.types import Modality, Segment, Source

MAX_LIMIT = 1000
MAX_TERMS = 32
MAX_WEIGHT = 10
MAX_FACETS = 20
MAX_FACET_VALUES = 1000
MAX_SORT_KEYS = 8
MAX_BEST = 100

FOLD_COSINE = 0.95
"""What `"fold": true` takes for the same: pictures sent on, made smaller or saved anew are mostly
above it, and different ones of like subjects below (measured: docs/queries.md)."""

QUERY_FIELDS = (
    "query",
    "compact",
    "without",
    "terms",
    "modalities",
    "filter",
    "limit",
    "min_score",
    "weights",
    "collection",
    "exact",
    "sort",
    "group",
    "fold",
    "diversity",
    "facets",
    "cursor",
    "rerank",
    "reasons",
    "explain",
)
TERM_FIELDS = (
    "text",
    "image",
    "audio",
    "segment",
    "vector",
    "space",
    "weight",
    "modalities",
    "channels",
)
GROUPS: tuple[GroupBy, ...] = ("segment", "moment", "source")


def query_from_json(body: Mapping[str, Any], *, default_limit: int = 10) -> Query:
    """A checked `Query` from its JSON form.

    ``{"query": "words"}``, ``{"compact": "beach -people like:12"}`` (see
    `mmsearch.search.parse.compact`), ``{"terms": [{"text": ..., "weight": 1}, ...]}``,
    ``{"without": ["people"]}``, or several of them; pictures and recordings are base64.
    Raises QueryError, whose `param` names the field.
    """
    _refuse_unknown(body, QUERY_FIELDS, "the query")
    terms = [
        term_from_json(item, f"terms[{i}]")
        for i, item in enumerate(_typed(body, "terms", list, []))
    ]
    terms[:0] = terms_of(_typed(body, "compact", str, ""))
    words = _typed(body, "query", str, "")
    if words.strip():
        terms.insert(0, Term(text=words))
    terms += [Term(text=one, weight=-1.0) for one in _words(body, "without")]
    group, best = _group(body)
    return check_query(
        Query(
            terms=tuple(terms),
            modalities=modalities(_typed(body, "modalities", list, [])),
            filter=_typed(body, "filter", dict, None),
            limit=_typed(body, "limit", int, default_limit),
            min_score=_typed(body, "min_score", (int, float), None),
            weights=_typed(body, "weights", dict, None),
            collection=_typed(body, "collection", str, None),
            exact=_typed(body, "exact", bool, False),
            sort=_sort(body),
            group=group,
            best=best,
            fold=_fold(body),
            diversity=float(_typed(body, "diversity", (int, float), 0.0)),
            facets=_facets(body),
            cursor=_typed(body, "cursor", str, None),
            rerank=_typed(body, "rerank", str, None),
            reasons=_typed(body, "reasons", bool, False),
            explain=_typed(body, "explain", bool, False),
        )
    )


def query_to_json(query: Query, *, contents: bool = True) -> dict[str, Any]:
    """The JSON form that `query_from_json` reads as the same query.

    Without `contents`, pictures, recordings and vectors are only named by their size.
    """
    body: dict[str, Any] = {
        "terms": [term_to_json(term, contents=contents) for term in query.terms],
        "modalities": [m.value for m in query.modalities],
        "filter": query.filter,
        "limit": query.limit,
        "min_score": query.min_score,
        "weights": dict(query.weights) if query.weights else None,
        "collection": query.collection,
        "exact": query.exact,
        "sort": [{key.field: "desc" if key.descending else "asc"} for key in query.sort],
        "group": {"by": query.group, "best": query.best},
        "fold": query.fold,
        "diversity": query.diversity,
        "facets": [{"field": f.field, "by": f.by, "limit": f.limit} for f in query.facets],
    }
    if query.cursor is not None:
        body["cursor"] = query.cursor
    if query.rerank is not None:
        body["rerank"] = query.rerank
    return body | {name: True for name in ("reasons", "explain") if getattr(query, name)}


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
    for value, name in ((query.diversity, "diversity"), (query.fold, "fold")):
        if value is not None and not 0 <= value <= 1:
            raise LimitError(f"{name} is from 0 to 1, not {value}", param=name)
    if query.group not in GROUPS:
        raise QueryError(f"group is one of {', '.join(GROUPS)}, not {query.group!r}", param="group")
    if not 1 <= query.best <= MAX_BEST:
        raise LimitError(f"best is from 1 to {MAX_BEST}, not {query.best}", param="group")
    if len(query.sort) > MAX_SORT_KEYS:
        raise LimitError(f"at most {MAX_SORT_KEYS} fields to sort by", param="sort")
    if query.sort and query.diversity:
        raise QueryError("hits are either sorted or made diverse, not both", param="diversity")
    if len(query.facets) > MAX_FACETS:
        raise LimitError(f"at most {MAX_FACETS} facets", param="facets")
    for facet in query.facets:
        if not 1 <= facet.limit <= MAX_FACET_VALUES:
            raise LimitError(f"a facet's limit is from 1 to {MAX_FACET_VALUES}", param="facets")
        if facet.by not in {"value", "year", "month", "day"}:
            raise QueryError("a facet counts by value, year, month or day", param="facets")
    if query.rerank is not None:
        check_choice(query.rerank)
    if query.min_score is not None and not 0 <= query.min_score <= 1:
        raise LimitError(f"min_score is from 0 to 1, not {query.min_score}", param="min_score")
    for name, weight in (query.weights or {}).items():
        check_weight(name, weight)
    return query


def check_weight(name: str, weight: Any) -> None:
    """Raise LimitError unless it can be the weight of a channel, QueryError for its name."""
    space, colon, modality = name.partition(":")
    if not space or (colon and modality not in set(Modality)):
        raise QueryError(
            f"'{name}' is no channel: a space (clip, text, sound, lexical), or a space and one "
            f"of {', '.join(Modality)} after a colon",
            param="weights",
        )
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not 0 <= weight <= MAX_WEIGHT:
        raise LimitError(
            f"the weight of a channel is from 0 to {MAX_WEIGHT}, not {weight!r}", param="weights"
        )


def modalities(names: Sequence[Any], param: str = "modalities") -> tuple[Modality, ...]:
    """Modalities by name. Raises QueryError with the list of names."""
    try:
        return tuple(Modality(name) for name in names)
    except ValueError:
        known = ", ".join(m.value for m in Modality)
        raise QueryError(
            f"unknown modality in {list(names)!r}. Modalities: {known}.", param=param
        ) from None


def result_to_json(result: SearchResult) -> dict[str, Any]:
    """The JSON form of an answer; bytes of pictures and recordings are not echoed."""
    answer: dict[str, Any] = {
        "query": query_to_json(result.query, contents=False),
        "took_ms": round(result.took_ms, 3),
        "hits": [hit_to_json(hit) for hit in result.hits],
        "warnings": list(result.warnings),
        "cursor": result.cursor,
    }
    if result.query.facets:
        answer["facets"] = {
            name: [{"value": v.value, "sources": v.sources, "segments": v.segments} for v in values]
            for name, values in result.facets.items()
        }
    if result.query.explain:
        answer["stages"] = {name: round(value, 3) for name, value in result.stages.items()}
    return answer


def hit_to_json(hit: Hit) -> dict[str, Any]:
    """The JSON form of one hit; keys are only ever added.

    `evidence`, `segments`, `duplicates`, `reason` and `explanation` are there where there are
    such; so are the segment's `context`, `speaker`, `language`, `translated` and `caption`.
    """
    found: dict[str, Any] = {
        "rank": hit.rank,
        "score": round(hit.score, 6),
        "scores": {name: round(value, 6) for name, value in hit.scores.items()},
        "source": _source_to_json(hit.source),
        "segment": _segment_to_json(hit.segment),
    }
    if hit.context is not None:
        around = {"before": hit.context.before, "after": hit.context.after}
        found["segment"]["context"] = around
    for name, parts in (
        ("evidence", hit.evidence),
        ("segments", hit.segments),
        ("duplicates", hit.duplicates),
    ):
        if parts:
            # All but the duplicates lie in the hit's own source.
            found[name] = [_part_to_json(part, source=name == "duplicates") for part in parts]
    if hit.reason is not None:
        found["reason"] = hit.reason
    if hit.explanation is not None:
        found["explanation"] = explanation_to_json(hit.explanation, hit.segment.text)
    return found


def _part_to_json(part: HitPart, *, source: bool) -> dict[str, Any]:
    told = {
        "score": round(part.score, 6),
        "scores": {name: round(value, 6) for name, value in part.scores.items()},
        "segment": _segment_to_json(part.segment),
    }
    return {"source": _source_to_json(part.source), **told} if source else told


def _source_to_json(source: Source) -> dict[str, Any]:
    return {
        "id": source.id,
        "path": source.path,
        "uri": source.uri,
        "mime": source.mime,
        "metadata": dict(source.metadata),
    }


TOLD_OF_SEGMENTS = ("speaker", "language", "translated", "caption")
"""What of a segment's metadata is told with it, where it is known."""


def _segment_to_json(segment: Segment) -> dict[str, Any]:
    place = segment.place
    told = {name: segment.metadata[name] for name in TOLD_OF_SEGMENTS if name in segment.metadata}
    return told | {
        "id": segment.id,
        "modality": segment.modality.value,
        "start": place.start,
        "end": place.end,
        "page": place.page,
        "text": segment.text,
        "char_start": place.char_start,
        "char_end": place.char_end,
        "box": list(place.box) if place.box else None,
    }


def term_to_json(term: Term, *, contents: bool = True) -> dict[str, Any]:
    """The JSON form of a term; without `contents`, bytes and numbers are only counted."""
    value: Any = getattr(term, term.kind)
    if isinstance(value, bytes):
        value = base64.b64encode(value).decode("ascii") if contents else f"{len(value)} bytes"
    elif isinstance(value, tuple):
        value = list(value) if contents else f"{len(value)} numbers"
    told: dict[str, Any] = {term.kind: value, "weight": term.weight}
    if term.space is not None:
        told["space"] = term.space
    if term.modalities:
        told["modalities"] = [m.value for m in term.modalities]
    if term.channels:
        told["channels"] = list(term.channels)
    return told


def term_from_json(item: Any, where: str) -> Term:
    """A term from its JSON form; `where` names it in errors. Raises QueryError."""
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
        modalities=modalities(_typed(item, "modalities", list, [], where), f"{where}.modalities"),
        channels=tuple(_strings(_typed(item, "channels", list, [], where), f"{where}.channels")),
    )


def _strings(values: Sequence[Any], where: str) -> list[str]:
    if not all(isinstance(one, str) and one.strip() for one in values):
        raise QueryError(f"{where} must be a list of strings", param=where)
    return list(values)


def _words(body: Mapping[str, Any], name: str) -> list[str]:
    """A string, or a list of strings."""
    given = _typed(body, name, (str, list), [])
    return _strings([given] if isinstance(given, str) else given, name)


def _sort(body: Mapping[str, Any]) -> tuple[SortKey, ...]:
    given = _typed(body, "sort", (list, str, dict), [])
    keys: list[SortKey] = []
    for i, one in enumerate(given if isinstance(given, list) else [given]):
        where = f"sort[{i}]" if isinstance(given, list) else "sort"
        if isinstance(one, str) and one.removeprefix("-"):
            keys.append(SortKey(one.removeprefix("-"), one.startswith("-")))
        elif isinstance(one, Mapping) and one and all(v in ("asc", "desc") for v in one.values()):
            keys += [SortKey(str(name), order == "desc") for name, order in one.items()]
        else:
            raise QueryError(f'{where} must be like {{"taken_at": "desc"}}', param=where)
    return tuple(keys)


def _group(body: Mapping[str, Any]) -> tuple[GroupBy, int]:
    given = _typed(body, "group", (str, dict), "moment")
    best = 3
    if isinstance(given, Mapping):
        _refuse_unknown(given, ("by", "best"), "group")
        best = _typed(given, "best", int, best, "group")
        given = _typed(given, "by", str, "moment", "group")
    for name in GROUPS:
        if given == name:
            return name, best
    raise QueryError(f"group is one of {', '.join(GROUPS)}, not {given!r}", param="group")


def _fold(body: Mapping[str, Any]) -> float | None:
    given = _typed(body, "fold", (bool, int, float), None)
    if isinstance(given, bool):
        return FOLD_COSINE if given else None
    return None if given is None else float(given)


def _facets(body: Mapping[str, Any]) -> tuple[Facet, ...]:
    made: list[Facet] = []
    for i, one in enumerate(_typed(body, "facets", list, [])):
        where = f"facets[{i}]"
        if isinstance(one, str):
            made.append(Facet(one))
            continue
        if not isinstance(one, Mapping):
            raise QueryError(f"{where} must be a field's name or an object", param=where)
        _refuse_unknown(one, ("field", "by", "limit"), where)
        name = _typed(one, "field", str, None, where)
        if name is None:
            raise QueryError(f"{where}.field is missing", param=where)
        by = _typed(one, "by", str, "value", where)
        made.append(Facet(name, _typed(one, "limit", int, 20, where), by))
    return tuple(made)


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
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise QueryError(
                f"unknown field '{name}' in {where}.{hint} Fields: {', '.join(known)}.",
                param=str(name),
            )
