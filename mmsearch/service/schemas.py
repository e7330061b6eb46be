"""What the API takes and gives, for OpenAPI.

Queries are read by `mmsearch.search.parse.json_form`, which the command line shares, and
answers are written by orjson straight from the values: these models document, and a test holds real
answers against them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mmsearch.types import Modality

JsonObject = dict[str, Any]


class Schema(BaseModel):
    """Base: unknown keys are an error in tests, which is how a forgotten one is found."""

    model_config = ConfigDict(extra="forbid")


class Term(Schema):
    """One weighted part of a query: exactly one of text, image, audio, segment, vector."""

    text: str | None = None
    image: str | None = Field(None, description="A picture in any common format, as base64.")
    audio: str | None = Field(None, description="A recording, as base64; its words are searched.")
    segment: int | None = Field(None, description="A segment's id: more like this.")
    vector: list[float] | None = Field(None, description="A ready vector of `space`.")
    space: str | None = Field(None, description='The space of `vector`; "clip" if not given.')
    weight: float = Field(1.0, description="Negative: away from it.")
    modalities: list[Modality] | None = Field(None, description="This term is only about these.")
    channels: list[str] | None = Field(
        None, description='Only there: "clip", "text", "sound", "lexical", or "clip:image".'
    )


class Group(Schema):
    """What one hit is."""

    by: Literal["segment", "moment", "source"] = "moment"
    best: int = Field(3, ge=1, le=100, description="Segments told of each source.")


class FacetRequest(Schema):
    """A field whose values are to be counted."""

    field: str
    by: Literal["value", "year", "month", "day"] = "value"
    limit: int = Field(20, ge=1, le=1000)


class SearchRequest(Schema):
    """`query`, `compact` or `terms`, and how to search."""

    query: str | None = Field(None, description="Words; short for one text term.")
    compact: str | None = Field(None, description='As typed: `beach -people "red boat"^2 like:12`.')
    without: str | list[str] | None = Field(None, description="Words to keep away from.")
    terms: list[Term] | None = None
    modalities: list[Modality] | None = Field(None, description="Not given: all of them.")
    filter: JsonObject | None = Field(None, description="See docs/http-api.md.")
    limit: int = Field(10, ge=1, le=1000)
    min_score: float | None = Field(None, ge=0, le=1)
    weights: dict[str, float] | None = None
    collection: str | None = None
    exact: bool = Field(False, description="Compare with every vector, however many there are.")
    sort: list[str | dict[str, Literal["asc", "desc"]]] | None = Field(
        None, description='`[{"taken_at": "desc"}]` or `["-taken_at"]`.'
    )
    group: Literal["segment", "moment", "source"] | Group | None = Field(
        None, description="What one hit is; moment if not given."
    )
    fold: bool | float | None = Field(
        None, description="Copies and near-duplicates in one hit; a number is the cosine."
    )
    diversity: float = Field(0.0, ge=0, le=1, description="Hits unlike each other (MMR).")
    facets: list[str | FacetRequest] | None = Field(None, description="Fields to count values of.")
    cursor: str | None = Field(None, description="The `cursor` of the page before.")
    rerank: str | None = Field(
        None, description="none, auto, vlm, blip2, cross-encoder, openai, server, or two with +."
    )
    reasons: bool = Field(False, description="With what the reranker says about each hit.")
    explain: bool = Field(False, description="Why each hit is where it is; time per stage.")


class SearchForm(Schema):
    """The same as a form, for files as they are. Structured fields are JSON texts."""

    query: str | None = None
    image: list[bytes] | None = Field(None, description="Picture files.")
    audio: list[bytes] | None = Field(None, description="Recording files.")
    terms: str | None = Field(None, description="JSON: further terms.")
    modalities: str | None = Field(None, description='JSON list, or "image,text".')
    filter: str | None = Field(None, description="JSON object.")
    limit: str | None = None
    min_score: str | None = None
    weights: str | None = Field(None, description="JSON object.")
    collection: str | None = None
    exact: str | None = Field(None, description='"true" or "false".')
    compact: str | None = None
    without: str | None = Field(None, description="JSON list, or words.")
    sort: str | None = Field(None, description='JSON, or "-taken_at".')
    group: str | None = Field(None, description="segment, moment or source, or JSON.")
    fold: str | None = Field(None, description='"true", "false" or a cosine.')
    diversity: str | None = None
    facets: str | None = Field(None, description='JSON list, or "mime,tags".')
    cursor: str | None = None
    rerank: str | None = None
    reasons: str | None = Field(None, description='"true" or "false".')
    explain: str | None = Field(None, description='"true" or "false".')


class SourceBrief(Schema):
    """The source of a hit."""

    id: int
    path: str
    uri: str
    mime: str
    metadata: JsonObject = {}


class SpeechContext(Schema):
    """What was said just before and just after."""

    before: str | None
    after: str | None


class Caption(Schema):
    """A description that a model wrote: nobody has checked it."""

    text: str
    model: str
    machine: bool


class SegmentPlace(Schema):
    """A segment and where it lies; what does not apply is null."""

    id: int
    modality: Modality
    start: float | None = Field(description="Seconds.")
    end: float | None
    page: int | None = Field(description="1-based.")
    text: str | None
    char_start: int | None = Field(None, description="Characters into the decoded text.")
    char_end: int | None = None
    box: list[float] | None = Field(None, description="Left, top, right, bottom; each 0..1.")
    context: SpeechContext | None = Field(None, description="Of a hit in speech.")
    speaker: int | None = Field(None, description="1 for who speaks first in the recording.")
    language: str | None = Field(None, description="Spoken, ISO 639-1.")
    translated: bool | None = Field(None, description="`text` is an English translation.")
    caption: Caption | None = Field(None, description="Of a picture or frame.")


class Links(Schema):
    """Where a source's content and preview are."""

    thumbnail: str
    media: str


class HitPart(Schema):
    """Another segment that a hit stands for."""

    score: float
    scores: dict[str, float]
    source: SourceBrief | None = Field(None, description="Of duplicates; else the hit's own.")
    segment: SegmentPlace
    links: Links


class ChannelScore(Schema):
    """What one first-stage channel said of a segment."""

    name: str
    rank: int | None
    raw: float | None = Field(description="The similarity as the index gave it.")
    calibrated: float | None = Field(description="0..1, comparable across channels.")


class Match(Schema):
    """Characters of the segment's text that speak for it."""

    start: int
    end: int
    kind: Literal["word", "meaning"]
    text: str


class Explanation(Schema):
    """Why a hit is where it is."""

    channels: list[ChannelScore]
    first_stage: float = Field(description="The score before reranking.")
    rerank: float | None
    judge: str | None = Field(description="The model that looked at it again.")
    matches: list[Match]
    heat_map: bool = Field(description="Whether /v1/segments/{id}/heatmap shows where.")


class Hit(Schema):
    """One segment found."""

    rank: int
    score: float = Field(description="0..1, higher is better.")
    scores: dict[str, float] = Field(description="What made the score up, per channel.")
    source: SourceBrief
    segment: SegmentPlace
    links: Links
    evidence: list[HitPart] = Field([], description="What else speaks for the same moment.")
    segments: list[HitPart] = Field([], description="The best of its source, if grouped so.")
    duplicates: list[HitPart] = Field([], description="What was folded into it.")
    reason: str | None = Field(None, description="What the reranker said, if asked to.")
    explanation: Explanation | None = Field(None, description="If `explain` was asked for.")


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
    facets: dict[str, list[FacetValue]] = Field({}, description="Those that were asked for.")
    stages: dict[str, float] = Field({}, description="Milliseconds, if `explain` was asked for.")


class Failure(Schema):
    """Why a file could not be taken in."""

    path: str
    code: str
    reason: str


class Source(SourceBrief):
    """A file of the library."""

    sha256: str
    size: int = Field(description="Bytes.")
    status: str = Field(description="indexed or failed.")
    failure: Failure | None
    indexed_at: datetime
    links: Links


class SourcePage(Schema):
    """Some sources in the order of their ids."""

    sources: list[Source]
    next: int | None = Field(description="Give it as `after` for the next page; null at the end.")


class SourceWithSegments(Schema):
    """A source and everything in it that can be found."""

    source: Source
    segments: list[SegmentPlace]


class SegmentWithSource(Schema):
    """A segment and the source it lies in."""

    segment: SegmentPlace
    source: Source


class IndexState(Schema):
    """The vector index of one space."""

    model_config = ConfigDict(extra="allow")

    type: str
    size: int
    generation: int = Field(description="Counts up with every published snapshot.")


class LibraryStatus(Schema):
    """How much the library holds."""

    model_config = ConfigDict(extra="allow")

    sources: int
    segments: int
    vectors: dict[str, int] = Field(description="By space.")
    index: dict[str, IndexState] = Field(description="By space.")
    switching: dict[str, Any] = Field(
        {}, description="Collections on their way to other models, and how far each space is."
    )
    warnings: list[str] = Field([], description="What went wrong with an index; told once.")


class CollectionBrief(Schema):
    """A named set of sources."""

    id: int
    name: str
    profile: str


class Collections(Schema):
    """The library's collections."""

    collections: list[CollectionBrief]


class JobItem(Schema):
    """What a job did with one file."""

    path: str
    outcome: str
    code: str | None
    reason: str | None


class JobProgress(Schema):
    """How far a job is."""

    done: int = Field(description="Files that have their outcome.")
    total: int | None = Field(description="Files in all, where that is known.")
    rate: float | None = Field(description="Files per second.")


class JobBrief(Schema):
    """Work in the background. It is over when `finished_at` is set."""

    id: int
    kind: str
    state: str = Field(
        description="queued, running, paused, done, failed, cancelled or interrupted."
    )
    started_at: datetime
    heartbeat_at: datetime
    finished_at: datetime | None
    counts: JsonObject
    error: str | None = Field(description="Why it failed, or why it is tried again.")
    progress: JobProgress
    priority: int = Field(description="Higher goes first.")
    attempts: int
    max_attempts: int = Field(description="0 for a run of `mmsearch index`, which is no job.")
    retry_at: datetime | None = Field(description="Not before then.")
    worker: str | None
    wanted: str | None = Field(description="cancel or pause, until its worker has heard.")
    links: dict[str, str]


class Job(JobBrief):
    """A job and what it did with its files."""

    items: list[JobItem]


class JobList(Schema):
    """Jobs, the newest first."""

    jobs: list[JobBrief]
    next: int | None = Field(description="Give it as `before` for the next page; null at the end.")


class JobRequest(Schema):
    """Files to fetch and take in."""

    urls: list[str] = Field(min_length=1, max_length=1000, description="http(s) addresses.")
    collection: str | None = None


class JobAnswer(Schema):
    """A job."""

    job: Job


class ErrorBody(Schema):
    """What went wrong."""

    type: str
    code: str
    message: str
    param: str | None
    request_id: str | None


class ErrorResponse(Schema):
    """The one shape of every error."""

    error: ErrorBody


class Ready(Schema):
    """The service can answer queries."""

    status: str


class HeatMap(Schema):
    """Where in a picture words match."""

    width: int
    height: int
    values: list[list[float]] = Field(description="Rows from the top, each 0..1.")


DOCUMENTED: tuple[type[Schema], ...] = (SearchRequest, SearchForm, JobRequest)
"""Bodies that routes read by themselves, so that FastAPI does not know them."""
