"""Hits say why they are there: channels, words, sentences, and where in the picture."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.runs import index_into
from mmsearch.errors import NotFoundError, QueryError
from mmsearch.protocols import ImageExplainer
from mmsearch.query import ChannelScore
from mmsearch.search.engine import SearchEngine
from mmsearch.search.parse.json_form import query_from_json, result_to_json
from mmsearch.search.results.explain import channels_of, overlay, sentences, word_matches
from mmsearch.stores.lexical.analysis import tokens
from mmsearch.testing import FakeImageTextEmbedder
from mmsearch.types import Modality
from tests.support.fakes import open_fake, some_files


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SearchEngine]:
    files = some_files(tmp_path / "files")
    flag = Image.new("RGB", (400, 100), "blue")
    flag.paste("red", (300, 0, 400, 100))
    flag.save(files / "flag.png")
    with open_fake(tmp_path / "library") as made:
        index_into(made.library, [files])
        yield made


def matched(text: str, words: str) -> list[str]:
    return [text[m.start : m.end] for m in word_matches(text, tokens(words))]


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("The old boat and two boats.", "boat", ["boat", "boats"]),
        ("Ein Häuschen im Café", "HAUSCHEN cafe", ["Häuschen", "Café"]),
        ("cart, car, carpet", "car", ["car"]),
        ("Invoice 4711, not 47110", "invoice 4711", ["Invoice", "4711"]),
        ("红色的小船在湖上", "小船", ["小船"]),
        ("e\u0301te\u0301 a\u0300 la plage", "été", ["e\u0301te\u0301"]),
        ("nothing here", "boat", []),
        ("", "boat", []),
        ("boat", "", []),
    ],
)
def test_words_are_marked_where_they_stand(text: str, words: str, expected: list[str]) -> None:
    """Also inflected, accented, of other case, and in scripts without spaces."""
    assert matched(text, words) == expected


def test_sentences_have_places() -> None:
    text = "One.  Two of them!\nThree (3.)"
    assert [text[a:b] for a, b in sentences(text)] == ["One.", "Two of them!", "Three (3.)"]
    assert sentences("Only one.") == []


def test_channels_are_read_from_the_scores() -> None:
    scores = {
        "clip:image": 0.31, "clip:image:rank": 2.0, "clip:image:calibrated": 0.8,
        "lexical:text": 4.0, "lexical:text:rank": 1.0, "lexical:text:share": 0.5,
        "rerank": 0.9, "first_stage": 0.5,
    }  # fmt: skip
    assert channels_of(scores) == (
        ChannelScore("clip:image", 2, 0.31, 0.8),
        ChannelScore("lexical:text", 1, 4.0, None),
    )


def test_a_hit_explains_itself(engine: SearchEngine) -> None:
    result = engine.search("an old boat on the lake", explain=True)
    assert result.stages.keys() >= {"plan", "embed", "retrieve", "fuse", "rerank", "hits"}
    assert sum(result.stages.values()) <= result.took_ms * 1.01
    hit = next(h for h in result.hits if h.source.path.endswith("boats.txt"))
    why = hit.explanation
    assert why is not None
    assert any(c.name == "text:text" and c.rank == 1 and c.raw for c in why.channels)
    assert why.first_stage == hit.score
    assert (why.rerank, why.reranker, why.heat_map) == (None, None, False)
    text = hit.segment.text or ""
    told = {(m.kind, text[m.start : m.end]) for m in why.matches}
    assert {("word", "old"), ("word", "boat"), ("word", "lake")} <= told
    assert ("word", "the") not in told
    assert ("meaning", "We rowed the old boat across the lake.") in told
    picture = next(h for h in result.hits if h.segment.modality is Modality.IMAGE)
    assert picture.explanation is not None
    assert picture.explanation.heat_map


def test_nothing_is_explained_unasked(engine: SearchEngine) -> None:
    result = engine.search("an old boat")
    assert all(hit.explanation is None for hit in result.hits)
    assert "stages" not in result_to_json(result)


def test_the_json_form(engine: SearchEngine) -> None:
    query = query_from_json({"query": "old boat", "explain": True, "rerank": "none"})
    answer = result_to_json(engine.search(query))
    assert answer["query"]["explain"] is True
    assert answer["query"]["rerank"] == "none"
    assert set(answer["stages"]) >= {"embed", "retrieve"}
    why = next(h["explanation"] for h in answer["hits"] if h["segment"]["text"])
    assert {m["text"] for m in why["matches"] if m["kind"] == "word"} >= {"old", "boat"}
    for wrong in ({"rerank": "magic"}, {"rerank": 1}, {"explain": "yes"}, {"reasons": 1}):
        with pytest.raises(QueryError):
            query_from_json({"query": "boat", **wrong})


def test_queries_without_words_are_explained_too(engine: SearchEngine) -> None:
    picture = engine.search("red", modality="image").hits[0].segment.id
    result = engine.search(like=picture, explain=True)
    assert result.hits
    for hit in result.hits:
        assert hit.explanation is not None
        assert hit.explanation.channels
        assert hit.explanation.matches == ()
        assert not hit.explanation.heat_map


def test_where_in_the_picture(engine: SearchEngine) -> None:
    """Over the whole of it, however long and narrow."""
    assert isinstance(FakeImageTextEmbedder(), ImageExplainer)
    flag = next(
        h for h in engine.search("red blue", limit=20).hits if h.source.path.endswith("flag.png")
    )
    heat = engine.heat_map(flag.segment.id, "something red")
    assert heat.shape == (8, 8)
    assert heat[:, 6:].min() > 0.9
    assert heat[:, :6].max() < 0.1
    with Image.open(io.BytesIO(overlay(heat, flag.source.metadata))) as shown:
        assert (shown.format, shown.mode, shown.size) == ("PNG", "RGBA", (320, 80))
        alpha = np.asarray(shown)[..., 3]
    assert alpha[:, 270:].min() > 100
    assert alpha[:, :200].max() < 60


def test_where_there_is_no_picture(engine: SearchEngine) -> None:
    result = engine.search("old boat", limit=20)
    text = next(h for h in result.hits if h.segment.modality is Modality.TEXT)
    flag = next(h for h in result.hits if h.source.path.endswith("flag.png"))
    with pytest.raises(QueryError, match="modality text has no heat map"):
        engine.heat_map(text.segment.id, "boat")
    with pytest.raises(QueryError, match="what to look for"):
        engine.heat_map(flag.segment.id, " ")
    with pytest.raises(NotFoundError):
        engine.heat_map(10**6, "boat")
    Path(flag.source.path).unlink()
    engine.thumbnail_path(flag.source).unlink()
    with pytest.raises(NotFoundError, match="cannot be had any more"):
        engine.heat_map(flag.segment.id, "red")
