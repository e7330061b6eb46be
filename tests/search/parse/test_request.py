"""Every option of a search is declared once; whatever spells it out is compared with that."""

from __future__ import annotations

import dataclasses
import importlib
import sys
import typing
from pathlib import Path

import pytest
import typer

from mmsearch.cli.app import app
from mmsearch.cli.terms import FIELDS
from mmsearch.errors import QueryError
from mmsearch.query import Query, SearchOptions, Term
from mmsearch.search.parse.json_form import query_from_json, query_to_json
from mmsearch.search.parse.request import OPTIONS, SearchRequest, TermRequest
from mmsearch.service.routes.search_schemas import SearchForm

ROOT = Path(__file__).resolve().parents[3]
NOT_OPTIONS = {"library", "profile", "set_", "as_json"}
"""Parameters of `mmsearch search` that are not about the query."""


def test_whatever_spells_out_the_options_has_them_all() -> None:
    """A field that `Query`, the JSON echo, Python, the command line, the form, the docs or the
    examples lack fails here."""
    fields = SearchRequest.model_fields
    # The value that is searched with.
    query_fields = {field.name for field in dataclasses.fields(Query)}
    assert {*OPTIONS, "terms", "best"} == query_fields
    assert {field.name for field in dataclasses.fields(Term)} == set(TermRequest.model_fields)
    # What an answer repeats, which can be sent again.
    asked = Query.words("x", weight=2)
    asked = dataclasses.replace(asked, cursor="a", rerank="auto", reasons=True, explain=True)
    assert set(query_to_json(asked)) == {*OPTIONS, "terms"}
    # Keyword arguments of `SearchEngine.search`, whose first ones are the terms.
    assert set(typing.get_type_hints(SearchOptions)) == set(fields) - {"query", "compact", "terms"}
    # Options of `mmsearch search`.
    command = typer.main.get_command(app).commands["search"]  # type: ignore[attr-defined]
    names = {parameter.name for parameter in command.params} - NOT_OPTIONS - {"help"}
    assert {FIELDS.get(name, name) for name in names} == set(fields) - {"compact"}
    # The form, the table in the docs, and a description and examples in each field.
    assert set(SearchForm.model_fields) == {*fields, "image", "audio"}
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        table = importlib.import_module("request_table")
    finally:
        sys.path.pop(0)
    assert table.with_table(table.PAGE.read_text("utf-8")) == table.PAGE.read_text("utf-8")
    for name, field in fields.items():
        assert (field.description or "").endswith("."), name
        assert field.examples, name
        for example in field.examples:
            body = (
                {name: example} if name in {"query", "compact"} else {"query": "x", name: example}
            )
            SearchRequest.parse(body).to_query()


def test_bytes_are_never_encoded_on_the_way() -> None:
    """A picture that is already bytes becomes the term's, the same object."""
    content = b"a picture"
    request = SearchRequest.parse({"query": "x"})
    assert request.to_query([Term(image=content)]).terms[1].image is content
    assert TermRequest.from_term(Term(image=content)).to_term().image is content


@pytest.mark.parametrize("name", OPTIONS)
def test_null_is_as_good_as_absent(name: str) -> None:
    """Clients that always send every key need not leave any out."""
    assert SearchRequest.parse({"query": "x", name: None}) == SearchRequest.parse({"query": "x"})


@pytest.mark.parametrize("text", ["\udcff", "red \ud800 boat"])
def test_text_that_no_encoding_can_write_is_refused(text: str) -> None:
    """Models and databases take UTF-8; undecodable bytes of a command line come as surrogates."""
    for query in ({"query": text}, {"terms": [{"text": text}]}, {"query": "x", "without": text}):
        with pytest.raises(QueryError, match="not valid Unicode"):
            query_from_json(query)
