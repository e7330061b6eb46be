"""What can be asked of a search: every option, declared once.

`SearchRequest` is the JSON form of a query. Reading JSON is validating it. The multipart form,
OpenAPI and the table in docs/http-api.md are made from its fields. The command line's options and
`SearchOptions` (the keyword arguments of `SearchEngine.search`) are spelled out for their types;
tests/search/parse/test_request.py compares them with the fields.

To add an option: a field here and one of the same name in `mmsearch.query.Query`, then what that
test asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, Unpack

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
    model_validator,
)

from mmsearch.errors import EmptyQueryError, LimitError, QueryError
from mmsearch.models.rerankers.choice import check_choice
from mmsearch.query import Facet, Query, SearchOptions, Term, file_content
from mmsearch.search.parse.compact import terms_of
from mmsearch.search.parse.problems import query_error
from mmsearch.search.parse.values import (
    MAX_TERM_WEIGHT,
    Content,
    Cosine,
    Modalities,
    Object,
    OneOrMore,
    SortKeys,
    Strings,
    Text,
    Vector,
    Weights,
    check_characters,
    check_text,
    wrong,
)

MAX_LIMIT = 1000
MAX_TERMS = 32
MAX_FACETS = 20
MAX_FACET_VALUES = 1000
MAX_BEST = 100


CONTENTS = ("text", "image", "audio", "segment", "vector")


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: inner for name, inner in value.items() if inner is not None}
    return value


class _Request(BaseModel):
    """Base: null is as good as absent, an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, value: Any) -> Any:
        return _without_nulls(value)


def _group(value: Any) -> Any:
    if isinstance(value, str):
        return {"by": value}
    if not isinstance(value, Mapping | GroupRequest):
        raise wrong("{label} must be a string or an object.")
    return value


def _facet(value: Any) -> Any:
    if isinstance(value, str):
        return {"field": value}
    if isinstance(value, Facet):
        return {"field": value.field, "by": value.by, "limit": value.limit}
    if not isinstance(value, Mapping | FacetRequest):
        raise wrong("{label} must be a field's name or an object.")
    return value


# -------------------------------------------------------------------- the JSON form


class TermRequest(_Request):
    """One weighted part of a query: exactly one of text, image, audio, segment, vector."""

    text: Text | None = Field(None, description="Words, in the query language.")
    image: Content | None = Field(None, description="A picture in any common format, as base64.")
    audio: Content | None = Field(
        None, description="A recording, as base64; its words are searched."
    )
    segment: StrictInt | None = Field(None, description="A segment's id: more like this.")
    vector: Vector | None = Field(None, description="A ready vector of `space`.")
    space: StrictStr | None = Field(None, description='The space of `vector`; "clip" if not given.')
    weight: StrictFloat = Field(
        1.0, ge=-MAX_TERM_WEIGHT, le=MAX_TERM_WEIGHT, description="Negative: away from it."
    )
    modalities: Modalities = Field((), description="This term is only about these.")
    channels: Strings = Field(
        (), description='Only there: "clip", "text", "sound", "lexical", or "clip:image".'
    )

    def to_term(self) -> Term:
        """The term that is searched for."""
        return Term(**{name: getattr(self, name) for name in type(self).model_fields})

    @classmethod
    def from_term(cls, term: Term) -> Self:
        """The JSON form of a term."""
        return cls.model_validate({name: getattr(term, name) for name in cls.model_fields})


class GroupRequest(_Request):
    """What one hit is."""

    by: Literal["segment", "moment", "source"] = "moment"
    best: StrictInt = Field(
        3, ge=1, le=MAX_BEST, description="Segments that are listed of each source."
    )


class FacetRequest(_Request):
    """A field whose values are counted."""

    field: StrictStr
    by: Literal["value", "year", "month", "day"] = "value"
    limit: StrictInt = Field(20, ge=1, le=MAX_FACET_VALUES)


class SearchRequest(_Request):
    """What to search for (`query`, `terms`), and how."""

    query: Text | None = Field(
        None,
        description="Words, in the [query language](queries.md#the-query-language): "
        '`"first draft" budget -2023 type:pdf`.',
        examples=["a dog running on the beach", 'harbour "red boat" -people after:2024-06'],
    )
    compact: Text | None = Field(
        None,
        description='Deprecated: the earlier query syntax, `beach -people "red boat"^2 like:12`. '
        "Use `query`, and `terms` for weights.",
        examples=["beach -people"],
        json_schema_extra={"deprecated": True},
    )
    without: OneOrMore = Field(
        (),
        description="Words, or a list of words, whose meaning the query moves away from.",
        examples=["people"],
    )
    terms: list[TermRequest] = Field(
        [],
        description='A list of `{"text": …}`, `{"image": base64}`, `{"audio": base64}`, '
        '`{"segment": id}` or `{"vector": […], "space": "clip"}`, each with an optional `weight`; '
        "a negative one means away from it. `modalities` and `channels` restrict a term.",
        examples=[[{"segment": 12}, {"text": "in the snow", "weight": 0.5}]],
    )
    modalities: Modalities = Field(
        (),
        description="Only these modalities: `image`, `text`, `speech`, `sound`, `video`, `page`.",
        examples=[["image", "video"]],
    )
    filter: Object | None = Field(
        None,
        description="Only segments that pass this filter, see [filters](http-api.md#filters). "
        "Filters typed in `query` apply as well.",
        examples=[{"taken_at": {"gte": "2024-06-01", "lt": "2024-09-01"}}],
    )
    limit: Annotated[int, Field(strict=True, ge=1, le=MAX_LIMIT)] | None = Field(
        None,
        description="Number of hits, 1 to 1000. Default: the setting `limit` (10).",
        examples=[20],
    )
    min_score: Annotated[float, Field(strict=True, ge=0, le=1)] | None = Field(
        None,
        description="0 to 1: hits with a lower score are left out. 0 returns everything. Default: "
        "the settings `min_score` and `answer_score`. See [scores](queries.md#scores).",
        examples=[0.3],
    )
    weights: Weights | None = Field(
        None,
        description='Weights of channels, 0 to 10: `{"lexical": 0.5, "clip:image": 2}`.',
        examples=[{"lexical": 0.5, "clip:image": 2}],
    )
    collection: StrictStr | None = Field(
        None,
        description="Name of the collection. Default: the only one, or `default`.",
        examples=["family"],
    )
    exact: StrictBool = Field(
        False,
        description="`true`: exact vector search, without an approximate index.",
        examples=[True],
    )
    sort: SortKeys = Field(
        (),
        description='Sort by fields instead of by score: `[{"taken_at": "desc"}]` or `["-taken_at",'
        ' "path"]`.',
        examples=[[{"taken_at": "desc"}], ["-taken_at", "path"]],
    )
    group: Annotated[
        GroupRequest,
        BeforeValidator(
            _group,
            json_schema_input_type=Literal["segment", "moment", "source"] | GroupRequest,
        ),
    ] = Field(
        GroupRequest(),
        description='What one hit is: `segment`, `moment` (default), `source`, or `{"by": "source",'
        ' "best": 3}`. See [queries](queries.md#what-one-hit-is).',
        examples=["source", {"by": "source", "best": 5}],
    )
    fold: Cosine = Field(
        None,
        description="Collapse copies and near-duplicates into one hit. A number is the minimum "
        "cosine; `true` means 0.95.",
        examples=[True, 0.9],
    )
    diversity: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        0.0,
        description="0 to 1: rank hits higher that are unlike those before them (MMR).",
        examples=[0.3],
    )
    facets: list[
        Annotated[FacetRequest, BeforeValidator(_facet, json_schema_input_type=str | FacetRequest)]
    ] = Field(
        [],
        description='Count the values of fields: `["mime", {"field": "taken_at", "by": "year", '
        '"limit": 10}]`.',
        examples=[["mime", {"field": "taken_at", "by": "year", "limit": 10}]],
    )
    cursor: StrictStr | None = Field(
        None,
        description="The `cursor` of the previous page. The query must be the same.",
        examples=["AAAA"],
    )
    rerank: Annotated[StrictStr, AfterValidator(check_choice)] | None = Field(
        None,
        description="Reranker of the best hits: `none`, `auto`, `vlm`, `blip2`, `cross-encoder`, "
        "`openai`, `server`, or two as `vlm+cross-encoder`. Default: the setting "
        "`rerank`. See [reranking](reranking.md).",
        examples=["auto"],
    )
    reasons: StrictBool = Field(
        False,
        description="`true`: add the reranker's reason to each hit, as `reason`.",
        examples=[True],
    )
    explain: StrictBool = Field(
        False,
        description="`true`: add an `explanation` to each hit, and the milliseconds of each stage "
        "to the answer, as `stages`.",
        examples=[True],
    )

    @field_validator("facets")
    @classmethod
    def _not_too_many(cls, facets: list[FacetRequest]) -> list[FacetRequest]:
        if len(facets) > MAX_FACETS:
            raise LimitError(f"At most {MAX_FACETS} facets.", param="facets")
        return facets

    @model_validator(mode="after")
    def _one_order(self) -> Self:
        if self.sort and self.diversity:
            raise QueryError("Hits are either sorted or made diverse, not both.", param="diversity")
        return self

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """A request from its JSON form. Raises QueryError, whose `param` names the field."""
        for name, value in body.items():
            check_characters(value, name)
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            raise query_error(error, cls) from None

    def to_query(self, terms: Sequence[Term] = (), *, default_limit: int = 10) -> Query:
        """The checked query, with further `terms` behind its own. Raises QueryError."""
        searched = [Term(text=self.query)] if self.query and self.query.strip() else []
        searched += terms_of(self.compact or "")
        searched += [term.to_term() for term in self.terms]
        searched += terms
        searched += [Term(text=text, weight=-1.0) for text in self.without]
        options = {name: getattr(self, name) for name in OPTIONS}
        options["limit"] = default_limit if self.limit is None else self.limit
        options["group"], options["best"] = self.group.by, self.group.best
        options["facets"] = tuple(Facet(one.field, one.limit, one.by) for one in self.facets)
        return Query(terms=check_terms(searched), **options)

    @classmethod
    def from_query(cls, query: Query) -> Self:
        """The request that asks for a query. Raises QueryError for one that cannot be asked."""
        return cls.parse(
            {"terms": [TermRequest.from_term(term) for term in query.terms], **_options(query)}
        )


OPTIONS = tuple(
    name
    for name in SearchRequest.model_fields
    if name not in {"query", "compact", "without", "terms"}
)
"""The fields that say how to search, named as in `Query`."""


def query_of(
    query: str | Query | None,
    *,
    image: str | Path | bytes | None,
    audio: str | Path | bytes | None,
    like: int | None,
    modality: str | Sequence[str] | None,
    default_limit: int,
    **options: Unpack[SearchOptions],
) -> Query:
    """The query of the keyword arguments of `Searcher.search`.

    A ready `Query` has options of its own: further arguments are an error.
    Raises QueryError, MediaError (a file that cannot be read).
    """
    if isinstance(query, Query):
        further = (image, audio, like, modality, *options.values())
        if any(value is not None for value in further):
            raise QueryError("A ready Query has its own terms and options: give it alone.")
        return query
    terms = []
    if image is not None:
        terms.append(Term(image=file_content(image)))
    if audio is not None:
        terms.append(Term(audio=file_content(audio)))
    if like is not None:
        terms.append(Term(segment=like))
    if modality is not None:
        options["modalities"] = [modality] if isinstance(modality, str) else modality
    request = SearchRequest.parse({"query": query, **options})
    return request.to_query(terms, default_limit=default_limit)


def check_query(query: Query) -> Query:
    """The same query, or the QueryError that says what is wrong with it."""
    check_terms(query.terms)
    SearchRequest.parse(_options(query))
    return query


def _options(query: Query) -> dict[str, Any]:
    options = {name: getattr(query, name) for name in OPTIONS}
    options["group"] = {"by": query.group, "best": query.best}
    options["weights"] = dict(query.weights) if query.weights else None
    options["facets"] = list(query.facets)
    return options


def check_terms(terms: Sequence[Term]) -> tuple[Term, ...]:
    """The same terms, or the QueryError that says what is wrong with them."""
    if not terms:
        raise EmptyQueryError(
            "The query is empty: give words, a picture, a recording or a segment."
        )
    if len(terms) > MAX_TERMS:
        raise LimitError(f"A query has at most {MAX_TERMS} terms.", param="terms")
    for term in terms:
        contents = [name for name in CONTENTS if getattr(term, name) is not None]
        if len(contents) != 1:
            raise QueryError(
                f"A term has exactly one of {', '.join(CONTENTS)}; "
                f"this one has {', '.join(contents) or 'none'}.",
                param="terms",
            )
        if term.text is not None and not term.text.strip():
            raise EmptyQueryError("The query's text is blank.", param="terms")
        check_characters((term.space, term.channels), "terms")
        if term.text is not None:
            check_text(term.text, "text")
        if not 0 < abs(term.weight) <= MAX_TERM_WEIGHT:
            raise LimitError(
                f"A term's weight is from -{MAX_TERM_WEIGHT} to {MAX_TERM_WEIGHT} and not 0.",
                param="weight",
            )
    if not any(term.weight > 0 for term in terms):
        raise QueryError("A query needs at least one term with a positive weight.", param="weight")
    return tuple(terms)


def term_from_json(item: Any, where: str) -> Term:
    """A term from its JSON form; `where` names it in errors. Raises QueryError."""
    try:
        return TermRequest.model_validate(item).to_term()
    except ValidationError as error:
        raise query_error(error, TermRequest, where) from None
