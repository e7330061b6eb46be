"""The engine's answers to unusual queries; ordinary ones are in tests/e2e."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexer.runs import index_into
from mmsearch.errors import (
    DimensionError,
    EmptyQueryError,
    FilterError,
    LimitError,
    MediaError,
    MMSearchError,
    NotFoundError,
    QueryError,
)
from mmsearch.query import Query, SearchResult, Term
from mmsearch.search.engine import SearchEngine
from mmsearch.search.parse.json_form import query_from_json, result_to_json
from mmsearch.search.scoring.constants import ScoringConstants
from mmsearch.types import Modality
from tests.support.fakes import open_fake, some_files
from tests.support.small_library import fill, photo


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SearchEngine]:
    with open_fake(tmp_path / "library") as made:
        index_into(made.library, [some_files(tmp_path / "files")])
        yield made


def ids(result: SearchResult) -> list[int]:
    return [hit.segment.id for hit in result.hits]


def test_every_modality_gets_its_due(engine: SearchEngine) -> None:
    """The first hits of a mixed search are not all of one kind."""
    kinds = {hit.segment.modality for hit in engine.search("an old red boat", limit=4).hits}
    assert len(kinds) == 2


def test_a_filter_returns_as_many_hits_as_exist(engine: SearchEngine) -> None:
    """It is pushed into retrieval: one match among many is found whatever its rank."""
    every = engine.search("red", modality="image", limit=10)
    assert len(every.hits) == 3
    last = every.hits[-1].source.path
    found = engine.search("red", modality="image", limit=1, filter={"path": last})
    assert [hit.source.path for hit in found.hits] == [last]
    assert engine.search("red", filter={"path": "nowhere"}).hits == ()
    with pytest.raises(FilterError, match=r"Known fields:.*width"):
        engine.search("red", filter={"colour": "red"})


def test_negative_terms_push_away(engine: SearchEngine) -> None:
    """Red and green without red: green comes first."""
    query = Query((Term(text="red green"), Term(text="red", weight=-0.8)))
    best = next(h for h in engine.search(query).hits if h.segment.modality == "image")
    assert best.source.path.endswith("green.png")


def test_terms_that_cancel_out_warn_instead_of_failing(engine: SearchEngine) -> None:
    """Nothing minus itself points nowhere."""
    result = engine.search(Query((Term(text="red"), Term(text="red", weight=-1.0))))
    assert result.hits == ()
    assert any("cancel each other out" in warning for warning in result.warnings)


def test_vectors_are_queries_of_their_space(engine: SearchEngine) -> None:
    """A stored vector finds its own segment; a wrong one says what would be right."""
    hit = engine.search("red", modality="image").hits[0]
    clip = next(s for s in engine.library.store.spaces.active() if s.space.name == "clip")
    ((_, matrix),) = engine.library.store.vectors.of_segments(clip.id, [hit.segment.id]).values()
    term = Term(vector=tuple(float(x) for x in matrix[0]), space="clip")
    assert engine.search(Query((term,))).hits[0].segment.id == hit.segment.id
    with pytest.raises(DimensionError, match=r"3 numbers.*64 dimensions"):
        engine.search(Query((Term(vector=(1.0, 2.0, 3.0)),)))
    with pytest.raises(DimensionError, match="zero or not finite"):
        engine.search(Query((Term(vector=(0.0,) * 64),)))
    with pytest.raises(QueryError, match="no space 'sound'"):
        engine.search(Query((Term(vector=(1.0,), space="sound"),)))


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (Query(()), EmptyQueryError),
        (Query((Term(text="  \n"),)), EmptyQueryError),
        (Query((Term(),)), QueryError),
        (Query((Term(text="a", segment=1),)), QueryError),
        (Query((Term(text="a", weight=-1.0),)), QueryError),
        (Query((Term(text="a", weight=float("nan")),)), LimitError),
        (Query((Term(text="a"),), limit=0), LimitError),
        (Query((Term(text="a"),), limit=1001), LimitError),
        (Query((Term(text="a"),), min_score=1.5), LimitError),
        (Query((Term(text="a"),), collection="nope"), NotFoundError),
        (Query((Term(segment=999),)), NotFoundError),
        (Query((Term(image=b"not a picture"),)), MediaError),
        (Query((Term(audio=b"not a recording"),)), MediaError),
    ],
)
def test_a_wrong_query_is_told_and_spoils_no_other(
    engine: SearchEngine, query: Query, error: type[MMSearchError]
) -> None:
    """In a batch its error stands in its place; the others are answered."""
    good = query_from_json({"query": "red"})
    before, wrong, after = engine.search_many([good, query, good])
    assert isinstance(wrong, error)
    assert isinstance(before, SearchResult)
    assert isinstance(after, SearchResult)
    assert ids(before) == ids(after) == ids(engine.search("red"))


def test_a_batch_answers_as_single_queries_do(engine: SearchEngine) -> None:
    """Sharing model calls and scans changes nothing."""
    words = ["red", "blue things", "water", "an old boat on a lake", "red"]
    together = engine.search_many([query_from_json({"query": one}) for one in words])
    for one, result in zip(words, together, strict=True):
        assert isinstance(result, SearchResult)
        assert ids(result) == ids(engine.search(one))


def test_text_that_looks_like_a_path_is_only_text(engine: SearchEngine, tmp_path: Path) -> None:
    """The words of a query are never opened."""
    secret = tmp_path / "files/pictures/red.png"
    result = engine.search(str(secret), modality="image")
    assert len(result.hits) == 3
    assert "red" in result_to_json(result)["query"]["terms"][0]["text"]


def test_json_form_and_back() -> None:
    """What a client sends is what is searched; wrong fields are named."""
    query = query_from_json(
        {
            "query": "boat",
            "terms": [{"text": "people", "weight": -0.5}, {"vector": [1, 2]}],
            "modalities": ["image"],
            "limit": 3,
        }
    )
    assert [(t.kind, t.weight) for t in query.terms] == [
        ("text", 1.0),
        ("text", -0.5),
        ("vector", 1.0),
    ]
    for body, message in (
        ({"quer": "x"}, "Unknown field 'quer'"),
        ({"query": 3}, "query must be a string"),
        ({"query": "x", "limit": True}, "limit must be a whole number"),
        ({"query": "x", "modalities": ["smell"]}, "Modalities: image"),
        ({"terms": [{"image": "***"}]}, "not base64"),
        ({"terms": ["x"]}, "must be an object"),
        ({"terms": [{"vector": ["a"]}]}, "finite numbers"),
    ):
        with pytest.raises(QueryError, match=message):
            query_from_json(body)


def test_scores_are_ordered_and_ranked(engine: SearchEngine) -> None:
    """rank counts from 1, score falls, min_score cuts."""
    result = engine.search("red boat", limit=10)
    scores = [hit.score for hit in result.hits]
    assert scores == sorted(scores, reverse=True)
    assert [hit.rank for hit in result.hits] == list(range(1, len(scores) + 1))
    assert np.all((np.array(scores) > 0) & (np.array(scores) <= 1))
    cut = engine.search("red boat", limit=10, min_score=scores[1])
    assert all(hit.score >= scores[1] for hit in cut.hits)


def names(result: SearchResult) -> list[str]:
    return [hit.source.path.rsplit("/", 1)[-1] for hit in result.hits]


def test_typed_words_are_found_where_they_stand(engine: SearchEngine) -> None:
    """In a text and in a file name; the hit says so."""
    hit = engine.search("leaked").hits[0]
    assert hit.source.path.endswith("boats.txt")
    assert hit.scores["lexical:text:rank"] == 1
    assert hit.scores["lexical:text:share"] == 1
    picture = engine.search("green png", modality="image").hits[0]
    assert picture.source.path.endswith("green.png")
    assert picture.scores["lexical:image:share"] == 1


def test_what_is_quoted_must_be_there_and_what_is_excluded_must_not(engine: SearchEngine) -> None:
    """In every channel; a phrase that stands nowhere is a warning."""
    assert names(engine.search('"old boat"')) == ["boats.txt"]
    assert names(engine.search('"boat old"')) == []
    assert "boat old" in engine.search('"boat old"').warnings[0]
    assert "red.png" not in names(engine.search("colours -red"))
    assert len(engine.search("colours -red", modality="image").hits) == 2
    assert len(engine.search("-red", modality="image").hits) == 3


@pytest.mark.parametrize(
    "words",
    ['"', "''", "a OR", "NEAR(", "words:x", "*", "-", 'x" AND', "(", "a\\", "%", "x ^2 {"],
)
def test_no_words_are_a_syntax_error(engine: SearchEngine, words: str) -> None:
    """Signs that databases know mean nothing here."""
    assert isinstance(engine.search(words), SearchResult)


def test_weights_of_channels(engine: SearchEngine) -> None:
    """0 switches a channel off, for a query or for the library; a wrong name is an error."""
    query = Query((Term(text="leaked boat"),), weights={"lexical": 0.0})
    scores = [hit.scores for hit in engine.search(query).hits]
    assert not any(name.startswith("lexical") for one in scores for name in one)
    only = Query((Term(text="leaked boat"),), weights={"lexical": 1, "clip": 0, "text": 0})
    assert names(engine.search(only)) == ["boats.txt"]
    with pytest.raises(QueryError, match="is no channel"):
        engine.search(Query((Term(text="a"),), weights={"clip:smell": 1.0}))
    with pytest.raises(LimitError, match="from 0 to 10"):
        engine.search(Query((Term(text="a"),), weights={"clip": -1.0}))


def test_scores_are_calibrated_and_measured_once(engine: SearchEngine) -> None:
    """The calibration is kept beside the space; another process would find it there."""
    hit = engine.search("red", modality="image").hits[0]
    assert 0 < hit.scores["clip:image:calibrated"] <= 1
    clip = next(s for s in engine.library.store.spaces.active() if s.space.name == "clip")
    kept = engine.library.store.calibrations.get(clip.id, Modality.IMAGE, "words")
    assert kept is not None
    assert kept[0] == 3


def test_how_certain_pictures_are_is_told_for_words_alone(engine: SearchEngine) -> None:
    """Words that are compared with words need it not, nor do pictures with pictures."""
    words = engine.search("red").hits
    told = {name for hit in words for name in hit.scores if name.endswith(":certainty")}
    assert told == {"clip:image:certainty"}
    (certainty,) = {h.scores["clip:image:certainty"] for h in words if "clip:image" in h.scores}
    alone = engine.search("red", modality="image", limit=1).hits[0]
    assert alone.scores["clip:image:certainty"] == pytest.approx(certainty, rel=1e-4)
    like = engine.search(like=alone.segment.id).hits
    assert not any(name.endswith(":certainty") for hit in like for name in hit.scores)


def test_a_small_library_always_answers_a_large_one_only_what_it_can(
    engine: SearchEngine,
) -> None:
    """Without a min_score of the query's own; a filter asks for an order, not for an answer."""
    small = engine.search("red", modality="image")
    assert len(small.hits) == 3
    assert small.query.min_score == 0
    strict = ScoringConstants(
        always_answer_below=0,
        min_true_positive_rate=0.0,
        answer_certainty=np.inf,
        partial_coverage_factor=1.0,
    )
    library = engine.library
    library.settings = library.settings.model_copy(update={"answer_score": 1.0})
    engine = SearchEngine(library, strict)
    assert engine.search("red", modality="image").hits == ()
    assert len(engine.search("red", modality="image", min_score=0.0).hits) == 3
    assert len(engine.search("red", modality="image", filter={"width": {"gt": 0}}).hits) == 3
    assert len(engine.search(like=small.hits[0].segment.id, modality="image").hits) == 2


def test_warnings_of_an_index_reach_every_client(tmp_path: Path) -> None:
    """Of the collection that is searched, in each answer, however often it is asked."""
    library = tmp_path / "library"
    with open_fake(library) as engine:
        index_into(engine.library, [some_files(tmp_path / "files")], collection="first")
        index_into(engine.library, [tmp_path / "files/boats.txt"], collection="second")
    for path in (library / "indexes").glob("1-*.index"):
        path.unlink()
    with open_fake(library) as engine:
        first = replace(Query.words("red"), collection="first")
        second = replace(Query.words("red"), collection="second")
        for _ in range(2):
            assert any("no index snapshot" in w for w in engine.search(first).warnings)
            assert engine.search(second).warnings == ()
        assert engine.library.status()["warnings"]


def test_fusion_by_ranks_is_accepted_and_has_no_effect(
    engine: SearchEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """Old settings keep working; a warning says that scores are used."""
    library = engine.library
    expected = engine.search("red boat").hits
    library.settings = library.settings.model_copy(update={"fusion": "ranks"})
    assert SearchEngine(library).search("red boat").hits == expected
    assert "fusion=ranks has no effect" in caplog.text


def test_channels_are_asked_for_more_until_there_is_a_page(tmp_path: Path) -> None:
    """Copies collapse into one hit; what lies deeper fills the page."""
    with open_fake(tmp_path / "library", candidates=1) as engine:
        copies = [photo(f"/copy{n}.jpg", "red", content="the same") for n in range(60)]
        others = [photo(f"/other{n}.jpg", f"red thing{n}") for n in range(6)]
        fill(engine, [*copies, *others])
        query = replace(Query.words("red").among("image").first(5), fold=1.0, min_score=0.0)
        result = engine.search(query)
        assert len(result.hits) == 5
        assert len(result.hits[0].duplicates) == 59
        assert result.cursor is not None
