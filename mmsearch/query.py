"""The values of a search: terms, a query, hits and a result. Nothing here does any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, TypedDict

from mmsearch.errors import MediaError
from mmsearch.types import Metadata, Modality, Segment, Source


@dataclass(frozen=True, slots=True)
class Term:
    """One weighted part of a query; exactly one of the content fields is set."""

    text: str | None = None
    image: bytes | None = None
    """An encoded picture (any format that Pillow reads)."""
    audio: bytes | None = None
    """An encoded recording. Its words are recognised and searched; so is its sound."""
    segment: int | None = None
    """The id of a segment: find what is like it."""
    vector: tuple[float, ...] | None = None
    space: str | None = None
    """The space that `vector` belongs to; "clip" if not given."""
    weight: float = 1.0
    """Negative: the query moves away from it."""
    modalities: tuple[Modality, ...] = ()
    """Restricts the term to segments of these modalities. Empty: those of the query."""
    channels: tuple[str, ...] = ()
    """Restricts the term to these channels: "clip", "text", "sound", "lexical", or one modality
    of them ("clip:image"). Empty: all channels that its kind of content is searched in."""

    @property
    def kind(self) -> Literal["text", "image", "audio", "segment", "vector"]:
        for name in ("text", "image", "audio", "segment", "vector"):
            if getattr(self, name) is not None:
                return name
        raise ValueError("a term needs one of text, image, audio, segment, vector")


@dataclass(frozen=True, slots=True)
class SortKey:
    """A field that hits are ordered by: a field of the filter, a metadata key or "score"."""

    field: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Facet:
    """A field whose values are counted."""

    field: str
    limit: int = 20
    """At most this many values, the most frequent ones."""
    by: Literal["value", "year", "month", "day"] = "value"
    """"year", "month" and "day" count dates by what they begin with."""


@dataclass(frozen=True, slots=True)
class FacetValue:
    """A value of a facet, and how many sources and segments of the filtered collection have it."""

    value: str | float | bool
    sources: int
    segments: int


GroupBy: TypeAlias = Literal["segment", "moment", "source"]


class SearchOptions(TypedDict, total=False):
    """The options of a search as keyword arguments (see `Query` for their meaning).

    A test compares them with the fields of `mmsearch.search.parse.request.SearchRequest`.
    """

    without: str | Sequence[str]
    modalities: Sequence[str]
    filter: Mapping[str, Any] | None
    limit: int | None
    min_score: float | None
    weights: Mapping[str, float] | None
    collection: str | None
    exact: bool
    sort: str | Sequence[str | SortKey | Mapping[str, Literal["asc", "desc"]]]
    group: GroupBy | Mapping[str, Any]
    fold: bool | float | None
    diversity: float
    facets: Sequence[str | Facet | Mapping[str, Any]]
    cursor: str | None
    rerank: str | None
    reasons: bool
    explain: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A search: weighted terms, a filter and options.

    Construct it from its fields, or step by step. Every step returns a new query::

        Query.words("a beach").without("people").add(image="sunset.jpg", weight=0.5)
        Query.like(image="boat.jpg").add("but at night").with_modalities("image").with_limit(20)

    Texts of terms are in the query language (`mmsearch.search.parse.language`).
    """

    terms: tuple[Term, ...] = ()
    modalities: tuple[Modality, ...] = ()
    """Empty: every modality."""
    filter: Metadata | None = None
    """The JSON grammar of `mmsearch.search.parse.filters`."""
    limit: int = 10
    min_score: float | None = None
    """Hits that score less are left out. None: the setting `min_score`, and no hits at all if the
    best one scores less than the setting `answer_score`."""
    weights: Mapping[str, float] | None = None
    """Of channels, 0 to 10, by channel ("clip:image") or space ("lexical"). Not listed: 1."""
    collection: str | None = None
    """None: the library's only collection, or "default"."""
    exact: bool = False
    sort: tuple[SortKey, ...] = ()
    """Empty: by score, descending."""
    group: GroupBy = "moment"
    """What one hit is. "moment": a shot and what is said in it are one hit. "source": a file."""
    best: int = 3
    """With "source": how many of a file's best segments a hit lists."""
    fold: float | None = None
    """Near-duplicates of at least this similarity (cosine) are one hit. None: no deduplication."""
    diversity: float = 0.0
    """0: by relevance alone. Towards 1: hits unlike those before them come earlier (MMR)."""
    facets: tuple[Facet, ...] = ()
    cursor: str | None = None
    """The `cursor` of the previous page."""
    rerank: str | None = None
    """The rerankers of the best hits, as in the setting `rerank`. None: that setting."""
    reasons: bool = False
    """Return the reranker's reason with each hit, where it gives one."""
    explain: bool = False
    """Return an explanation with each hit, and the duration of each stage."""

    @classmethod
    def words(cls, text: str, *, weight: float = 1.0, **term: Any) -> Self:
        """A query in words. Further arguments are fields of `Term` (channels, modalities)."""
        return cls().add(text, weight=weight, **term)

    @classmethod
    def like(
        cls,
        segment: int | None = None,
        *,
        image: str | Path | bytes | None = None,
        audio: str | Path | bytes | None = None,
        vector: Sequence[float] | None = None,
        weight: float = 1.0,
        **term: Any,
    ) -> Self:
        """A query by example: a segment's id, a picture, a recording or a vector of `space`."""
        return cls().add(
            segment=segment, image=image, audio=audio, vector=vector, weight=weight, **term
        )

    def add(
        self,
        text: str | None = None,
        *,
        image: str | Path | bytes | None = None,
        audio: str | Path | bytes | None = None,
        vector: Sequence[float] | None = None,
        **term: Any,
    ) -> Self:
        """Add a term. Files named as `image` or `audio` are read; words never name a file."""
        added = Term(
            text=text,
            image=file_content(image) if image is not None else None,
            audio=file_content(audio) if audio is not None else None,
            vector=tuple(float(x) for x in vector) if vector is not None else None,
            **term,
        )
        return replace(self, terms=(*self.terms, added))

    def without(self, text: str | None = None, *, weight: float = 1.0, **term: Any) -> Self:
        """Move away from something. Takes what `add` takes. A larger weight pushes harder."""
        return self.add(text, weight=-abs(weight), **term)

    def with_modalities(self, *modalities: str) -> Self:
        """Only segments of these modalities."""
        return replace(self, modalities=tuple(Modality(name) for name in modalities))

    def where(self, **conditions: Any) -> Self:
        """Add a filter: ``where(taken_at={"gte": "2024-01-01"}, tags={"any": ["sea"]})``.

        Several filters must all hold.
        """
        both = {"and": [dict(self.filter), conditions]} if self.filter else conditions
        return replace(self, filter=both)

    def with_limit(self, limit: int) -> Self:
        """At most this many hits."""
        return replace(self, limit=limit)

    def grouped_by_source(self, best: int = 3) -> Self:
        """One hit for each file, with its `best` segments."""
        return replace(self, group="source", best=best)

    def sorted_by(self, *fields: str) -> Self:
        """Order hits by fields; "-taken_at" puts the newest first."""
        keys = tuple(SortKey(name.removeprefix("-"), name.startswith("-")) for name in fields)
        return replace(self, sort=keys)

    def with_facets(self, *fields: str) -> Self:
        """Count the values of these fields."""
        return replace(self, facets=tuple(Facet(name) for name in fields))

    also = add
    among = with_modalities
    first = with_limit
    by_source = grouped_by_source
    counting = with_facets
    """The earlier names of these methods, for one release."""


def file_content(file: str | Path | bytes) -> bytes:
    """The bytes of a picture or recording that the caller named. Raises MediaError."""
    if isinstance(file, bytes):
        return file
    try:
        return Path(file).expanduser().read_bytes()
    except FileNotFoundError:
        raise MediaError("missing", f"there is no file {file}") from None
    except OSError as error:
        raise MediaError("unreadable", f"{file} cannot be read: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class ChannelScore:
    """The rank and score of a segment in one first-stage channel."""

    name: str
    rank: int | None
    """1-based."""
    raw: float | None
    """The similarity that the index computed."""
    calibrated: float | None
    """0..1: the probability that a segment this similar is relevant."""


@dataclass(frozen=True, slots=True)
class Match:
    """A span of characters of a segment's text that matches the query."""

    start: int
    end: int
    kind: Literal["word", "meaning"]
    """Words of the query, or the sentence that is nearest to it in meaning."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a hit is where it is."""

    channels: tuple[ChannelScore, ...]
    first_stage: float
    """The score before reranking."""
    rerank: float | None = None
    reranker: str | None = None
    """The model that reranked it."""
    matches: tuple[Match, ...] = ()
    heat_map: bool = False
    """Whether a heat map of the picture is available."""


@dataclass(frozen=True, slots=True)
class HitPart:
    """Another segment that is part of a hit."""

    score: float
    scores: Mapping[str, float]
    source: Source
    segment: Segment


@dataclass(frozen=True, slots=True)
class Context:
    """The speech just before and just after a segment of speech."""

    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Hit:
    """A result of a search: a segment, its source and its scores."""

    rank: int
    """1-based."""
    score: float
    """Final, 0..1, higher is better."""
    scores: Mapping[str, float]
    """Per channel, for example {"clip:image": 0.31, "clip:image:rank": 1}."""
    source: Source
    segment: Segment
    evidence: tuple[HitPart, ...] = ()
    """Other segments of the same moment that match: the words spoken in a shot."""
    segments: tuple[HitPart, ...] = ()
    """Grouped by source: its best segments in descending order, this one among them."""
    duplicates: tuple[HitPart, ...] = ()
    """Copies and near-duplicates that were collapsed into it."""
    reason: str | None = None
    """The reranker's reason, if `Query.reasons` is set."""
    explanation: Explanation | None = None
    context: Context | None = None
    """Of speech: what is said around it, if anything is."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The result of a search."""

    query: Query
    """As it was executed: with the filters that were typed in its text."""
    hits: tuple[Hit, ...]
    """In order, the best first."""
    took_ms: float
    warnings: tuple[str, ...] = ()
    facets: Mapping[str, tuple[FacetValue, ...]] = field(default_factory=dict)
    """By field, the most frequent value first, over everything that passes the filter."""
    cursor: str | None = None
    """`Query.cursor` of the next page. None: this is the last page."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds of each stage. Queries of one batch share the first stages."""
