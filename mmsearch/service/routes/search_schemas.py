"""What POST /v1/search answers, and the form that it takes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, create_model

from mmsearch.search.parse.request import SearchRequest
from mmsearch.service.schemas import Links, Schema, SegmentPlace, SourceBrief


class HitPart(Schema):
    """Another segment of a hit."""

    score: float
    scores: dict[str, float]
    source: SourceBrief | None = Field(None, description="Of duplicates; else the hit's own.")
    segment: SegmentPlace
    links: Links


class ChannelScore(Schema):
    """The rank and score of a segment in one channel."""

    name: str
    rank: int | None
    raw: float | None = Field(description="The similarity that the index computed.")
    calibrated: float | None = Field(description="0..1, comparable across channels.")


class Match(Schema):
    """Characters of the segment's text that match."""

    start: int
    end: int
    kind: Literal["word", "meaning"]
    text: str


class Explanation(Schema):
    """Why a hit is where it is."""

    channels: list[ChannelScore]
    first_stage: float = Field(description="The score before reranking.")
    rerank: float | None
    judge: str | None = Field(description="The model that reranked it.")
    matches: list[Match]
    heat_map: bool = Field(description="Whether /v1/segments/{id}/heatmap shows where.")


class Hit(Schema):
    """A result."""

    rank: int
    score: float = Field(description="0..1, higher is better.")
    scores: dict[str, float] = Field(description="What the score consists of, per channel.")
    source: SourceBrief
    segment: SegmentPlace
    links: Links
    evidence: list[HitPart] = Field([], description="Other matches of the same moment.")
    segments: list[HitPart] = Field([], description="The best of its source, if grouped so.")
    duplicates: list[HitPart] = Field([], description="Copies that are part of it.")
    reason: str | None = Field(None, description="The reranker's reason, if `reasons` is set.")
    explanation: Explanation | None = Field(None, description="If `explain` is set.")


class FacetValue(Schema):
    """A value and how much of the filtered collection has it."""

    value: str | float | bool
    sources: int
    segments: int


class SearchResponse(Schema):
    """Hits, best first."""

    query: Any
    took_ms: float
    hits: list[Hit]
    warnings: list[str]
    cursor: str | None = Field(None, description="For the next page; null at the end.")
    facets: dict[str, list[FacetValue]] = Field({}, description="Those that were requested.")
    stages: dict[str, float] = Field({}, description="Milliseconds, if `explain` is set.")


def _search_form() -> type[Schema]:
    """The fields of `SearchRequest` as the fields of a form: texts, and JSON where they are not."""
    fields: dict[str, Any] = {
        name: (str | None, Field(None, description=_described(name)))
        for name in SearchRequest.model_fields
    }
    fields["image"] = (list[bytes] | None, Field(None, description="Picture files."))
    fields["audio"] = (list[bytes] | None, Field(None, description="Recording files."))
    return create_model(
        "SearchForm",
        __base__=Schema,
        __doc__="The same as a form, for files as they are. Structured fields are JSON texts.",
        **fields,
    )


def _described(name: str) -> str:
    description = SearchRequest.model_fields[name].description or ""
    prefix = {"text": "", "words": "", "commas": "JSON, or with commas: ", "json": "JSON: "}
    return prefix[form_style(name)] + description


def form_style(name: str) -> Literal["text", "words", "commas", "json"]:
    """How a field of the request is written in a form.

    "text": as it stands. "words": as it stands or, if it begins like JSON, as JSON. "commas": a
    list with commas between, or JSON. "json": as JSON.
    """
    schema = _PROPERTIES[name]
    parts = [_resolved(part) for part in schema.get("anyOf", [schema])]
    types = {part.get("type") for part in parts}
    if types <= {"string", "null"}:
        return "text"
    if "string" in types:
        return "words"
    for part in parts:
        if part.get("type") == "array":
            items = _resolved(part["items"])
            inner = [_resolved(item) for item in items.get("anyOf", [items])]
            if any(item.get("type") == "string" for item in inner):
                return "commas"
    return "json"


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        definition: dict[str, Any] = _DEFINITIONS[schema["$ref"].rpartition("/")[2]]
        return definition
    return schema


_SCHEMA = SearchRequest.model_json_schema()
_PROPERTIES: dict[str, Any] = _SCHEMA["properties"]
_DEFINITIONS: dict[str, Any] = _SCHEMA["$defs"]

SearchForm = _search_form()
