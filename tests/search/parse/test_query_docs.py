"""Every example of docs/queries.md's section on the query language is run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mmsearch.search.parse.json_form import query_from_json
from mmsearch.search.parse.language import Word, parse
from mmsearch.search.parse.reading import expand
from mmsearch.search.parse.words import parse_words

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "queries.md").read_text("utf-8")
SECTION = PAGE.partition("## The query language\n")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| `([^`]+)` \| [^|]+ \| (?:`([^`]+)`)? ?\|$", SECTION, re.MULTILINE)
KEYS = ["taken_at", "tags", "language", "camera", "rating", "width"]


def test_the_table_is_read_whole() -> None:
    """Each of its lines is an example."""
    lines = [line for line in SECTION.splitlines() if line.startswith("| `")]
    assert len(ROWS) == len(lines) > 20


@pytest.mark.parametrize(("typed", "same"), ROWS)
def test_an_example_means_what_its_row_says(typed: str, same: str) -> None:
    """With JSON beside it: the same query. Without: syntax of full text."""
    query, warnings = expand(query_from_json({"query": typed}), lambda: KEYS)
    assert not warnings
    if same:
        other, _ = expand(query_from_json(json.loads(same)), lambda: KEYS)
        assert set(query.terms) == set(other.terms)
        assert query.filter == other.filter
    elif typed != "old red boat":
        words = parse_words(typed)
        assert words.required or words.excluded or words.plain != typed
        assert any(item != Word(getattr(item, "text", "")) for item in parse(typed))
        assert query.terms[0].text == typed


@pytest.mark.parametrize(
    "typed",
    re.findall(r"`(http[^`]+|\d+:\d+|C:[^`]+|-\d+|:\)|type\\:image|\\-people)`", SECTION),
)
def test_what_the_section_calls_words_is_words(typed: str) -> None:
    """Addresses, times, paths, numbers, escaped signs."""
    query, _ = expand(query_from_json({"query": typed}), lambda: KEYS)
    assert (query.terms[0].text, query.filter) == (typed, None)
    assert not parse_words(typed).excluded
