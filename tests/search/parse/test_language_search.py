"""The query language in searches: one text, the same answer from every form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.runs import index_into
from mmsearch.query import Query, SearchResult
from mmsearch.search.engine import SearchEngine
from mmsearch.search.parse.json_form import query_from_json, query_to_json
from tests.support.fakes import open_fake, some_files


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    """Three pictures (red, green, blue), notes about boats and tea."""
    folder = tmp_path_factory.mktemp("language")
    with open_fake(folder / "library") as opened:
        index_into(opened.library, [some_files(folder / "files")])
        yield opened


def names(result: SearchResult) -> set[str]:
    return {Path(hit.source.path).name for hit in result.hits}


def everything(engine: SearchEngine, text: str) -> set[str]:
    """The files that a text finds without a threshold."""
    return names(engine.search(text, min_score=0))


def test_typed_filters_restrict(engine: SearchEngine) -> None:
    """By modality, format and path; negated; one of several; alone."""
    pictures = {"red.png", "green.png", "blue.png"}
    assert everything(engine, "red type:image") == pictures
    assert everything(engine, "red -type:image") == {"boats.txt", "tea.md"}
    assert everything(engine, "red type:png path:green") == {"green.png"}
    assert everything(engine, "x type:image OR path:tea") == {*pictures, "tea.md"}
    assert everything(engine, "path:boats") == {"boats.txt"}
    assert everything(engine, "red after:2999") == set()


def test_phrases_exclusions_and_alternatives(engine: SearchEngine) -> None:
    """A phrase must appear, an excluded word must not, one of two alternatives is enough."""
    assert everything(engine, '"old boat"') == {"boats.txt"}
    assert everything(engine, '"old boat" OR "fresh water"') == {"boats.txt", "tea.md"}
    assert "tea.md" not in everything(engine, "water -minutes")
    assert names(engine.search("leak* OR minutes", weights={"clip": 0, "text": 0})) == {
        "boats.txt",
        "tea.md",
    }


def test_the_same_text_is_the_same_query_in_every_form(engine: SearchEngine) -> None:
    """As a string, as a term, as JSON; and as what the answer repeats."""
    text = "red boat type:image without:green"
    typed = engine.search(text, min_score=0)
    built = engine.search(
        Query.words("red boat", weight=1).where(modality="image").without("green")
    )
    sent = engine.search(query_from_json({"query": text, "min_score": 0}))
    echoed = engine.search(query_from_json(query_to_json(typed.query)))
    assert typed.query.filter == {"modality": "image"}
    assert typed.hits == sent.hits == echoed.hits
    assert [hit.segment.id for hit in typed.hits] == [hit.segment.id for hit in built.hits]


def test_pages_of_a_query_with_typed_filters(engine: SearchEngine) -> None:
    """The cursor belongs to the typed query and to its echo alike."""
    body = {"query": "red type:image", "limit": 1, "min_score": 0}
    first = engine.search(query_from_json(body))
    second = engine.search(query_from_json(body | {"cursor": first.cursor}))
    echo = query_to_json(first.query) | {"cursor": first.cursor}
    assert names(first) | names(second) < {"red.png", "green.png", "blue.png"}
    assert names(first) != names(second)
    assert engine.search(query_from_json(echo)).hits == second.hits


def test_a_mistyped_filter_warns(engine: SearchEngine) -> None:
    """It is searched as words, and the answer says so."""
    (warning,) = engine.search("red size:large").warnings
    assert "searched as words" in warning
