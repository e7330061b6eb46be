"""The JSON form of queries and results, shared by the command line and the service.

Reading is strict: what is unknown, of a wrong type or out of range is an error that names the
field. `query_to_json` writes what `query_from_json` reads, so that a query can be saved, sent
and asked again.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from mmsearch.query import Facet, Hit, HitPart, Query, SearchResult, SortKey, Term
from mmsearch.search.parse.request import OPTIONS, SearchRequest, check_query, term_from_json
from mmsearch.search.parse.values import FOLD_COSINE, check_weight
from mmsearch.search.results.explain import explanation_to_json
from mmsearch.types import Segment, Source

__all__ = [
    "FOLD_COSINE",
    "check_query",
    "check_weight",
    "hit_to_json",
    "query_from_json",
    "query_to_json",
    "result_to_json",
    "term_from_json",
    "term_to_json",
]

ONLY_IF_SET = frozenset(("cursor", "rerank", "reasons", "explain"))
"""Options that the JSON form of a query leaves out where they are not set."""


def query_from_json(body: Mapping[str, Any], *, default_limit: int = 10) -> Query:
    """A checked `Query` from its JSON form, see `mmsearch.search.parse.request.SearchRequest`.

    Raises QueryError, whose `param` names the field.
    """
    return SearchRequest.parse(body).to_query(default_limit=default_limit)


def query_to_json(query: Query, *, contents: bool = True) -> dict[str, Any]:
    """The JSON form that `query_from_json` reads as the same query.

    Without `contents`, pictures, recordings and vectors are only named by their size.
    """
    body: dict[str, Any] = {
        "terms": [term_to_json(term, contents=contents) for term in query.terms]
    }
    for name in OPTIONS:
        value = getattr(query, name)
        if value or name not in ONLY_IF_SET:
            body[name] = _option_to_json(value)
    body["group"] = {"by": query.group, "best": query.best}
    body["weights"] = body["weights"] or None
    return body


def _option_to_json(value: Any) -> Any:
    if isinstance(value, SortKey):
        return {value.field: "desc" if value.descending else "asc"}
    if isinstance(value, Facet):
        return {"field": value.field, "by": value.by, "limit": value.limit}
    if isinstance(value, tuple):
        return [_option_to_json(item) for item in value]
    if isinstance(value, str):
        return str(value)
    return dict(value) if isinstance(value, Mapping) else value


def term_to_json(term: Term, *, contents: bool = True) -> dict[str, Any]:
    """The JSON form of a term; without `contents`, bytes and numbers are only counted."""
    value: Any = getattr(term, term.kind)
    if isinstance(value, bytes):
        value = base64.b64encode(value).decode("ascii") if contents else f"{len(value)} bytes"
    elif isinstance(value, tuple):
        value = list(value) if contents else f"{len(value)} numbers"
    body: dict[str, Any] = {term.kind: value, "weight": term.weight}
    if term.space is not None:
        body["space"] = term.space
    if term.modalities:
        body["modalities"] = [m.value for m in term.modalities]
    if term.channels:
        body["channels"] = list(term.channels)
    return body


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

    `evidence`, `segments`, `duplicates`, `reason` and `explanation` are written only where the
    hit has them. So are the segment's `context`, `speaker`, `language`, `translated`, `caption`.
    """
    body: dict[str, Any] = {
        "rank": hit.rank,
        "score": round(hit.score, 6),
        "scores": {name: round(value, 6) for name, value in hit.scores.items()},
        "source": _source_to_json(hit.source),
        "segment": segment_to_json(hit.segment),
    }
    if hit.context is not None:
        around = {"before": hit.context.before, "after": hit.context.after}
        body["segment"]["context"] = around
    for name, parts in (
        ("evidence", hit.evidence),
        ("segments", hit.segments),
        ("duplicates", hit.duplicates),
    ):
        if parts:
            # All but the duplicates lie in the hit's own source.
            body[name] = [_part_to_json(part, source=name == "duplicates") for part in parts]
    if hit.reason is not None:
        body["reason"] = hit.reason
    if hit.explanation is not None:
        body["explanation"] = explanation_to_json(hit.explanation, hit.segment.text)
    return body


def _part_to_json(part: HitPart, *, source: bool) -> dict[str, Any]:
    body = {
        "score": round(part.score, 6),
        "scores": {name: round(value, 6) for name, value in part.scores.items()},
        "segment": segment_to_json(part.segment),
    }
    return {"source": _source_to_json(part.source), **body} if source else body


def _source_to_json(source: Source) -> dict[str, Any]:
    return {
        "id": source.id,
        "path": source.path,
        "uri": source.uri,
        "mime": source.mime,
        "metadata": dict(source.metadata),
    }


SEGMENT_METADATA = ("speaker", "language", "translated", "caption")
"""What of a segment's metadata is part of its JSON form, where it is known."""


def segment_to_json(segment: Segment) -> dict[str, Any]:
    """The JSON form of a segment, in a hit and alone."""
    place = segment.place
    metadata = {
        name: segment.metadata[name] for name in SEGMENT_METADATA if name in segment.metadata
    }
    return metadata | {
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
