"""A query that would cost too much, or that no database stores, is refused before it is run."""

from __future__ import annotations

from typing import Any

import pytest

from mmsearch.cli.terms import query_from_options, terms_from
from mmsearch.errors import LimitError, QueryError
from mmsearch.query import Query, Term
from mmsearch.search.parse.json_form import check_query, query_from_json
from mmsearch.search.parse.request import SearchRequest
from mmsearch.search.parse.values import MAX_TERM_WEIGHT, MAX_TEXT

LONG = "x" * (MAX_TEXT + 1)


@pytest.mark.parametrize(
    "body",
    [
        {"query": LONG},
        {"compact": LONG},
        {"query": "x", "without": LONG},
        {"query": "x", "without": ["y", LONG]},
        {"terms": [{"text": LONG}]},
    ],
)
def test_a_text_has_a_greatest_length(body: dict[str, Any]) -> None:
    """In JSON, in Python and on the command line alike."""
    with pytest.raises(QueryError, match="4000 characters"):
        query_from_json(body)


def test_the_greatest_length_is_the_same_in_python_and_on_the_command_line() -> None:
    """A text of exactly that length is accepted everywhere."""
    with pytest.raises(LimitError, match="4000 characters"):
        check_query(Query.words(LONG))
    with pytest.raises(LimitError, match="4000 characters"):
        query_from_options(terms_from(LONG))
    check_query(Query.words(LONG[1:]))
    assert query_from_json({"query": LONG[1:]}).terms[0].text == LONG[1:]


def test_the_schema_names_the_greatest_length() -> None:
    """Clients that are generated from it refuse longer texts themselves."""
    schema = SearchRequest.model_json_schema()
    for part in (
        schema["properties"]["query"],
        schema["properties"]["compact"],
        schema["$defs"]["TermRequest"]["properties"]["text"],
    ):
        assert {inner.get("maxLength") for inner in part["anyOf"]} >= {MAX_TEXT}
    without = schema["properties"]["without"]["anyOf"]
    assert {part.get("maxLength", part.get("items", {}).get("maxLength")) for part in without} == {
        MAX_TEXT
    }


@pytest.mark.parametrize("bad", ["a\0b", "a\ud800b"])
@pytest.mark.parametrize(
    "shape",
    [
        lambda bad: {"query": bad},
        lambda bad: {"compact": bad},
        lambda bad: {"query": "x", "without": [bad]},
        lambda bad: {"terms": [{"text": bad}]},
        lambda bad: {"terms": [{"text": "x", "channels": [bad]}]},
        lambda bad: {"query": "x", "collection": bad},
        lambda bad: {"query": "x", "filter": {"and": [{"mime": bad}]}},
        lambda bad: {"query": "x", "filter": {bad: 1}},
        lambda bad: {"query": "x", "sort": [bad]},
        lambda bad: {"query": "x", "facets": [bad]},
        lambda bad: {"query": "x", "facets": [{"field": bad}]},
        lambda bad: {"query": "x", "cursor": bad},
        lambda bad: {"query": "x", "weights": {bad: 1}},
        lambda bad: {bad: 1},
    ],
)
def test_no_string_has_nul_or_half_a_surrogate_pair(shape: Any, bad: str) -> None:
    """PostgreSQL stores neither, SQLite and the models not the second."""
    with pytest.raises(QueryError):
        query_from_json(shape(bad))


@pytest.mark.parametrize("bad", ["a\0b", "a\udcffb"])
def test_ready_queries_are_checked_too(bad: str) -> None:
    """Arguments of the command line that are not UTF-8 arrive as surrogates."""
    for query in (
        Query.words(bad),
        Query.words("x").where(mime=bad),
        Query((Term(vector=(1.0,), space=bad),)),
    ):
        with pytest.raises(QueryError, match="NUL"):
            check_query(query)


@pytest.mark.parametrize("weight", [0.0, float("nan"), float("inf"), -float("inf"), 1e300])
def test_weights_are_bounded(weight: float) -> None:
    """Both signs; the greatest weight itself is accepted."""
    with pytest.raises(LimitError, match="weight"):
        check_query(Query.words("x").add("y", weight=weight))
    with pytest.raises(LimitError, match="weight"):
        query_from_json({"terms": [{"text": "x"}, {"text": "y", "weight": weight}]})
    check_query(Query.words("x").add("y", weight=-MAX_TERM_WEIGHT))
