"""A query's texts become terms and a filter, with the fields that the collection has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings

from mmsearch.errors import QueryError
from mmsearch.query import Query, Term
from mmsearch.search.parse.reading import expand
from tests.search.parse.test_language import TEXTS

KEYS = ["tags", "taken_at", "width", "camera", "language", "flag"]


def expanded(query: str | Query, keys: Sequence[str] = KEYS) -> tuple[list[Any], Any, list[str]]:
    """Texts and ids with a sign, the filter, and the warnings."""
    if isinstance(query, str):
        query = Query.words(query)
    read, warnings = expand(query, lambda: keys)
    terms = [
        ("-" if term.weight < 0 else "") + str(term.text if term.segment is None else term.segment)
        for term in read.terms
    ]
    return terms, read.filter, list(warnings)


@pytest.mark.parametrize(
    ("text", "terms", "filter_"),
    [
        ("beach type:image", ["beach"], {"modality": "image"}),
        ("beach type:pdf", ["beach"], {"mime": "application/pdf"}),
        ("x type:audio", ["x"], {"mime": {"like": "audio/%"}}),
        ("x type:document", ["x"], {"modality": {"in": ["text", "page"]}}),
        ("x type:image/*", ["x"], {"mime": {"like": "image/%"}}),
        ("path:holiday beach", ["beach"], {"path": {"like": "%holiday%"}}),
        ("x tag:beach", ["x"], {"tags": {"like": "beach"}}),
        ("x tag:rock_pool", ["x"], {"tags": "rock_pool"}),
        ("x lang:de", ["x"], {"language": {"like": "de"}}),
        ("x camera:canon", ["x"], {"camera": {"like": "%canon%"}}),
        ('x camera:"Canon EOS"', ["x"], {"camera": "Canon EOS"}),
        ("x tags:b*", ["x"], {"tags": {"like": "b%"}}),
        ("x width:640", ["x"], {"width": {"in": [640, "640"]}}),
        ("x flag:true", ["x"], {"flag": {"in": [True, "true"]}}),
        ("x width:>1000", ["x"], {"width": {"gt": 1000}}),
        ("x width:" + "9" * 5000, ["x"], {"width": {"like": "9" * 5000}}),
        ("x width:>" + "9" * 400, ["x"], {"width": {"gt": "9" * 400}}),
        ("x size:<=2.5", ["x"], {"size": {"lte": 2.5}}),
        ("x page:2..5", ["x"], {"page": {"gte": 2, "lte": 5}}),
        ("x page:2..", ["x"], {"page": {"gte": 2}}),
        ("x taken_at:2024-12", ["x"], {"taken_at": {"gte": "2024-12", "lt": "2025-01"}}),
        ("x taken_at:>2024", ["x"], {"taken_at": {"gte": "2025"}}),
        ("x modified_at:2024-02-29", ["x"],
         {"modified_at": {"gte": "2024-02-29", "lt": "2024-03-01"}}),
        ("x taken_at:2023..2024-06", ["x"], {"taken_at": {"gte": "2023", "lt": "2024-07"}}),
        ("x after:2024-06", ["x"],
         {"or": [{"taken_at": {"gte": "2024-06"}},
                 {"taken_at": {"exists": False}, "modified_at": {"gte": "2024-06-01"}}]}),
        ("x -tag:beach", ["x"], {"not": {"tags": {"like": "beach"}}}),
        ("x type:image OR type:video", ["x"],
         {"or": [{"modality": "image"}, {"modality": "video"}]}),
        ("x type:image width:>9", ["x"], {"and": [{"modality": "image"}, {"width": {"gt": 9}}]}),
        # A mixture of words and filters has no common meaning: each stands for itself.
        ("boat OR type:image", ["boat"], {"modality": "image"}),
        # What moves away, and examples.
        ("beach without:people", ["beach", "-people"], None),
        ('beach without:"palm trees"', ["beach", "-palm trees"], None),
        ("like:12 at night", ["at night", "12"], None),
        ("sea -like:12", ["sea", "-12"], None),
        ("like:12 -people", ["12", "-people"], None),
        # Filters alone find all that passes.
        ("type:image", ["image"], {"modality": "image"}),
        ("type:image -people", ["-people image"], {"modality": "image"}),
    ],
)  # fmt: skip
def test_what_a_text_asks_for(text: str, terms: list[str], filter_: Any) -> None:
    """Words stay in the text; filters, examples and negative meanings leave it."""
    assert expanded(text) == (terms, filter_, [])


@pytest.mark.parametrize(
    "text",
    ["see http://example.com/a", "at 12:30", r"C:\x\y.jpg", "Re:hello 16:9", "image:boat.jpg",
     "a* b", "file:///etc/passwd", "like:boats", "-people", '"red boat" OR ship',
     ":) like: without:"],
)  # fmt: skip
def test_what_is_no_filter_stays_as_it_was_typed(text: str) -> None:
    """Addresses, times, paths and fields that no file has are words, to the letter."""
    terms, filter_, _ = expanded(text)
    assert (terms, filter_) == ([text], None)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("x camra:leica", "did you mean 'camera'"),
        ("x size:large", "'large' is no value of 'size'"),
        ("x after:lunch", "'lunch' is no value of 'after'"),
        ("x modified_at:2024-02-30", "no value of 'modified_at'"),
    ],
)
def test_a_mistyped_filter_is_reported(text: str, warning: str) -> None:
    """It is searched as words, and a warning says so."""
    terms, filter_, warnings = expanded(text)
    assert (terms, filter_) == ([text], None)
    assert warning in warnings[0]


def test_a_field_that_nothing_has_is_reported() -> None:
    """`tag:` needs files with tags."""
    terms, filter_, (warning,) = expanded("x tag:beach", ["width"])
    assert (terms, filter_) == (["x tag:beach"], None)
    assert "has 'tags'" in warning


def test_typed_filters_are_joined_with_the_filter_of_json() -> None:
    """By AND, and only once."""
    query = Query.words("x width:>9").where(tags="a")
    read, _ = expand(query, lambda: KEYS)
    assert read.filter == {"and": [{"tags": "a"}, {"width": {"gt": 9}}]}
    again, _ = expand(Query(read.terms, filter=read.filter), lambda: KEYS)
    assert again == read
    twice, _ = expand(Query((Term(text="x width:>9"),), filter=read.filter), lambda: KEYS)
    assert twice.filter == read.filter


def test_exclusions_beside_an_example_move_away_from_it() -> None:
    """Without words to search for, there is nothing that full text could exclude from."""
    query = Query.like(12).add("-people")
    assert expanded(query)[0] == ["12", "-people"]


@pytest.mark.parametrize("text", ["without:people", "-like:12"])
def test_something_must_be_looked_for(text: str) -> None:
    """To move away from one thing leads nowhere."""
    with pytest.raises(QueryError, match="what to look for"):
        expanded(text)


@settings(max_examples=500, deadline=None)
@given(TEXTS.filter(lambda text: bool(text.strip())))
def test_an_expanded_query_stays_as_it_is(text: str) -> None:
    """So that the query that an answer repeats can be sent again."""
    try:
        once, _ = expand(Query.words(text), lambda: KEYS)
    except QueryError:
        return
    assert expand(once, lambda: KEYS)[0] == once
