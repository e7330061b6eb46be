"""What a caller gives and gets: terms, a query, hits and a result. Pure values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from mmsearch.errors import MediaError
from mmsearch.types import Metadata, Modality, Segment, Source


@dataclass(frozen=True, slots=True)
class Term:
    """One weighted part of a query; exactly one of the content fields is set."""

    text: str | None = None
    image: bytes | None = None
    """An encoded picture (any format that Pillow reads)."""
    audio: bytes | None = None
    """An encoded recording; it is transcribed, and the words are searched."""
    segment: int | None = None
    """The id of a segment: more like this."""
    vector: tuple[float, ...] | None = None
    space: str | None = None
    """The space that `vector` belongs to; "clip" if not given."""
    weight: float = 1.0
    """Negative: away from it."""
    modalities: tuple[Modality, ...] = ()
    """This term is only about segments of these; empty: about all that the query asks for."""
    channels: tuple[str, ...] = ()
    """This term only speaks in these channels: "clip", "text", "sound", "lexical", or one
    modality of such ("clip:image"). Empty: wherever its kind of content is looked for."""

    @property
    def kind(self) -> Literal["text", "image", "audio", "segment", "vector"]:
        for name in ("text", "image", "audio", "segment", "vector"):
            if getattr(self, name) is not None:
                return name
        raise ValueError("a term needs one of text, image, audio, segment, vector")


@dataclass(frozen=True, slots=True)
class SortKey:
    """A field to put hits in order by: one of the filter's fields, a metadata key or "score"."""

    field: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Facet:
    """A field whose values are to be counted."""

    field: str
    limit: int = 20
    """At most this many values, the most frequent ones."""
    by: Literal["value", "year", "month", "day"] = "value"
    """Dates are counted by the year, month or day that they begin with."""


@dataclass(frozen=True, slots=True)
class FacetValue:
    """How much of the filtered collection has this value."""

    value: str | float | bool
    sources: int
    segments: int


GroupBy: TypeAlias = Literal["segment", "moment", "source"]


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: weighted terms, a filter and options.

    Made from its fields, or step by step; every step gives a new query::

        Query.words("a beach").without("people").also(image="sunset.jpg", weight=0.5)
        Query.like(image="boat.jpg").also("but at night").among("image").first(20)
    """

    terms: tuple[Term, ...] = ()
    modalities: tuple[Modality, ...] = ()
    """Empty: every modality."""
    filter: Metadata | None = None
    """The JSON grammar of `mmsearch.search.parse.filters`."""
    limit: int = 10
    min_score: float | None = None
    """No hits below it. None: the library's own, and no answer without a good enough best hit."""
    weights: Mapping[str, float] | None = None
    """Of channels, 0 to 10: by name ("clip:image"), or all of a space ("lexical"); else 1."""
    collection: str | None = None
    """None: the library's only collection, or "default"."""
    exact: bool = False
    sort: tuple[SortKey, ...] = ()
    """Empty: the best first."""
    group: GroupBy = "moment"
    """What one hit is. "moment": a shot and what is said in it are one; "source": a file."""
    best: int = 3
    """With "source": how many of a file's segments are told, the best ones."""
    fold: float | None = None
    """Copies, and what is at least this similar (cosine), go into one hit. None: no folding."""
    diversity: float = 0.0
    """0: by relevance alone; towards 1, hits unlike those before them come earlier (MMR)."""
    facets: tuple[Facet, ...] = ()
    cursor: str | None = None
    """The `cursor` of the page before."""
    rerank: str | None = None
    """Who looks at the best hits again, as the setting `rerank`; None: what that setting says."""
    reasons: bool = False
    """With what the reranker says about each hit, where it can say something."""
    explain: bool = False
    """With why each hit is where it is, and how long each stage took."""

    @classmethod
    def words(cls, text: str, *, weight: float = 1.0, **term: Any) -> Self:
        """A query in words. Further arguments are fields of `Term` (channels, modalities)."""
        return cls().also(text, weight=weight, **term)

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
        return cls().also(
            segment=segment, image=image, audio=audio, vector=vector, weight=weight, **term
        )

    def also(
        self,
        text: str | None = None,
        *,
        image: str | Path | bytes | None = None,
        audio: str | Path | bytes | None = None,
        vector: Sequence[float] | None = None,
        **term: Any,
    ) -> Self:
        """With one more term. Files named as `image` or `audio` are read; words never are."""
        made = Term(
            text=text,
            image=file_content(image) if image is not None else None,
            audio=file_content(audio) if audio is not None else None,
            vector=tuple(float(x) for x in vector) if vector is not None else None,
            **term,
        )
        return replace(self, terms=(*self.terms, made))

    def without(self, text: str | None = None, *, weight: float = 1.0, **term: Any) -> Self:
        """Away from something; takes what `also` takes. A larger weight pushes harder."""
        return self.also(text, weight=-abs(weight), **term)

    def among(self, *modalities: str) -> Self:
        """Only segments of these modalities."""
        return replace(self, modalities=tuple(Modality(one) for one in modalities))

    def where(self, **conditions: Any) -> Self:
        """Only what passes: ``where(taken_at={"gte": "2024-01-01"}, tags={"any": ["sea"]})``.

        Asked for again, both must hold.
        """
        both = {"and": [dict(self.filter), conditions]} if self.filter else conditions
        return replace(self, filter=both)

    def first(self, limit: int) -> Self:
        """At most this many hits."""
        return replace(self, limit=limit)

    def by_source(self, best: int = 3) -> Self:
        """One hit a file, with the best places in it."""
        return replace(self, group="source", best=best)

    def sorted_by(self, *fields: str) -> Self:
        """In the order of fields; "-taken_at" for the newest first."""
        keys = tuple(SortKey(name.removeprefix("-"), name.startswith("-")) for name in fields)
        return replace(self, sort=keys)

    def counting(self, *fields: str) -> Self:
        """With the values of these fields counted."""
        return replace(self, facets=tuple(Facet(name) for name in fields))


def file_content(given: str | Path | bytes) -> bytes:
    """The bytes of a picture or recording that a user named. Raises MediaError."""
    if isinstance(given, bytes):
        return given
    try:
        return Path(given).expanduser().read_bytes()
    except FileNotFoundError:
        raise MediaError("missing", f"there is no file {given}") from None
    except OSError as error:
        raise MediaError("unreadable", f"{given} cannot be read: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class ChannelScore:
    """What one first-stage channel said of a segment."""

    name: str
    rank: int | None
    """1-based."""
    raw: float | None
    """The similarity as the index gave it."""
    calibrated: float | None
    """0..1: how likely it is that something this similar is what was looked for."""


@dataclass(frozen=True, slots=True)
class Match:
    """Characters of a segment's text that speak for it."""

    start: int
    end: int
    kind: Literal["word", "meaning"]
    """The query's own words, or the sentence nearest to it in meaning."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a hit is where it is."""

    channels: tuple[ChannelScore, ...]
    first_stage: float
    """The score before reranking."""
    rerank: float | None = None
    reranker: str | None = None
    """Who looked at it again."""
    matches: tuple[Match, ...] = ()
    heat_map: bool = False
    """Whether it can be shown where in the picture the words match."""


@dataclass(frozen=True, slots=True)
class HitPart:
    """Another segment that a hit stands for."""

    score: float
    scores: Mapping[str, float]
    source: Source
    segment: Segment


@dataclass(frozen=True, slots=True)
class Context:
    """What was said just before and just after a stretch of speech."""

    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Hit:
    """A segment that was found, and why."""

    rank: int
    """1-based."""
    score: float
    """Final, 0..1, higher is better."""
    scores: Mapping[str, float]
    """Per channel, for example {"clip:image": 0.31, "clip:image:rank": 1}."""
    source: Source
    segment: Segment
    evidence: tuple[HitPart, ...] = ()
    """What else speaks for the same moment: the words said in a shot that was found."""
    segments: tuple[HitPart, ...] = ()
    """Grouped by source: its best segments, best first, the hit's own among them."""
    duplicates: tuple[HitPart, ...] = ()
    """Folded: copies and near-duplicates that it stands for."""
    reason: str | None = None
    """What the reranker said about it, if it was asked to."""
    explanation: Explanation | None = None
    context: Context | None = None
    """Of speech: what was said around it, if anything was."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """An answer: hits, best first."""

    query: Query
    hits: tuple[Hit, ...]
    took_ms: float
    warnings: tuple[str, ...] = ()
    facets: Mapping[str, tuple[FacetValue, ...]] = field(default_factory=dict)
    """By field, the most frequent value first; over all that the filter lets through."""
    cursor: str | None = None
    """For the next page, as `Query.cursor`; None at the end."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds of each stage. Queries that were answered together share the first ones."""
