"""Cursors: opaque, bound to a query and a library, and good for longer than one release."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mmsearch.errors import CursorError
from mmsearch.query import Query, SortKey, Term
from mmsearch.search.parse.json_form import query_to_json, term_to_json
from mmsearch.search.results import cursors
from mmsearch.search.results.cursors import (
    MAX_SHOWN,
    Shown,
    cursor_of,
    fingerprint,
    shown_by,
)

QUERY = Query((Term(text="red boat"), Term(text="tea", weight=-0.5)), limit=7)


@pytest.mark.parametrize(
    "shown", [Shown(0, ()), Shown(1, (1,)), Shown(2**40, (1, 2, 300, 2**31, 2**62))]
)
def test_what_was_shown_comes_back(shown: Shown) -> None:
    assert shown_by(cursor_of(QUERY, "library", shown), QUERY, "library") == shown


@pytest.mark.parametrize(
    "changes",
    [{"limit": 3}, {"explain": True}, {"reasons": True}, {"cursor": "x"}],
    ids=str,
)
def test_options_that_move_no_hit_may_change(changes: dict[str, Any]) -> None:
    cursor = cursor_of(QUERY, "library", Shown(5, (1, 2)))
    assert shown_by(cursor, replace(QUERY, **changes), "library").segments == (1, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"terms": (Term(text="red boat"),)},
        {"terms": (Term(text="red boat"), Term(text="tea", weight=-0.6))},
        {"min_score": 0.1},
        {"filter": {"path": "x"}},
        {"sort": (SortKey("path"),)},
        {"group": "source"},
        {"fold": 0.9},
        {"rerank": "vlm"},
    ],
    ids=str,
)
def test_another_query_is_refused(changes: dict[str, Any]) -> None:
    cursor = cursor_of(QUERY, "library", Shown(5, (1, 2)))
    with pytest.raises(CursorError, match="another query"):
        shown_by(cursor, replace(QUERY, **changes), "library")
    with pytest.raises(CursorError, match="another library"):
        shown_by(cursor, QUERY, "other")


def test_the_fingerprint_holds_what_differs_from_the_defaults() -> None:
    assert fingerprint(QUERY) == {"terms": [{"text": "red boat"}, {"text": "tea", "weight": -0.5}]}
    assert fingerprint(replace(QUERY, fold=0.5))["fold"] == 0.5


def test_a_new_option_with_a_default_invalidates_no_cursor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A later release writes more fields of queries and terms; defaults do not count."""
    cursor = cursor_of(QUERY, "library", Shown(5, (1, 2)))
    monkeypatch.setattr(cursors, "query_to_json", lambda q: query_to_json(q) | {"boost": 1.0})
    monkeypatch.setattr(cursors, "term_to_json", lambda t: term_to_json(t) | {"fuzzy": False})
    monkeypatch.setattr(cursors, "_QUERY_DEFAULTS", cursors._QUERY_DEFAULTS | {"boost": 1.0})
    monkeypatch.setattr(cursors, "_TERM_DEFAULTS", cursors._TERM_DEFAULTS | {"fuzzy": False})
    assert shown_by(cursor, QUERY, "library").segments == (1, 2)
    monkeypatch.setattr(cursors, "query_to_json", lambda q: query_to_json(q) | {"boost": 2.0})
    with pytest.raises(CursorError, match="another query"):
        shown_by(cursor, QUERY, "library")


def test_a_search_ends_where_its_cursor_would_be_too_long() -> None:
    with pytest.raises(CursorError, match="narrow it with a filter"):
        cursor_of(QUERY, "library", Shown(5, tuple(range(MAX_SHOWN + 1))))
