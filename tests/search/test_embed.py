"""The second stage: words become vectors, each channel gets one direction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from mmsearch.errors import MMSearchError, QueryError
from mmsearch.query import Query, Term
from mmsearch.search.embed import EmbeddedQuery
from mmsearch.search.engine import SearchEngine
from mmsearch.testing import FakeTextEmbedder
from mmsearch.types import Modality, Role, Vectors
from tests.support.fakes import open_fake
from tests.support.small_library import CLIP, TEXT, fill, note, photo


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    with open_fake(tmp_path_factory.mktemp("embed") / "library") as made:
        fill(made, [photo("/red.jpg", "red"), note("/boat.txt", "an old red boat")])
        yield made


def embed(engine: SearchEngine, *queries: Query) -> list[EmbeddedQuery | MMSearchError]:
    snapshot = engine.library.snapshot()
    return engine.embedder.embed(engine.planner.plan_all(queries, snapshot))


def only(engine: SearchEngine, query: Query) -> EmbeddedQuery:
    (embedded,) = embed(engine, query)
    assert isinstance(embedded, EmbeddedQuery)
    return embedded


def test_each_channel_that_holds_anything_gets_a_unit_vector(engine: SearchEngine) -> None:
    """Words go to CLIP for pictures and to the text space for texts."""
    vectors = only(engine, Query.words("red")).vectors
    assert set(vectors) == {("clip", Modality.IMAGE), ("text", Modality.TEXT)}
    assert vectors["clip", Modality.IMAGE] == pytest.approx(CLIP.encode_texts(["red"], "query")[0])
    assert vectors["text", Modality.TEXT] == pytest.approx(TEXT.encode_texts(["red"], "query")[0])
    images = only(engine, Query.words("red").among("image")).vectors
    assert set(images) == {("clip", Modality.IMAGE)}


def test_a_batch_costs_one_call_a_model(engine: SearchEngine) -> None:
    """Whatever the number of queries; equal texts are embedded once."""
    collection = engine.library.store.collections.get()
    text = engine.library.models_of(collection).text
    assert isinstance(text, FakeTextEmbedder)
    calls, encoded = text.calls, text.encoded
    embed(engine, Query.words("red"), Query.words("a boat"), Query.words("red").without("tea"))
    assert (text.calls - calls, text.encoded - encoded) == (1, 3)


def test_a_channel_of_negative_terms_alone_is_not_searched(engine: SearchEngine) -> None:
    """And one whose terms cancel each other out is searched for nothing, with a warning."""
    away = Query((Term(text="red", channels=("clip",)), Term(text="tea", weight=-1.0)))
    assert set(only(engine, away).vectors) == {("clip", Modality.IMAGE)}
    nothing = only(engine, Query((Term(text="red"), Term(text="red", weight=-1.0))))
    assert nothing.vectors == {}
    assert nothing.warnings == (
        "the query's terms cancel each other out in clip:image",
        "the query's terms cancel each other out in text:text",
    )


def test_what_no_segment_passes_is_not_searched(engine: SearchEngine) -> None:
    """A filter that only texts pass leaves no direction for pictures."""
    vectors = only(engine, Query.words("red").where(path="/boat.txt")).vectors
    assert set(vectors) == {("text", Modality.TEXT)}


def test_errors_pass_through(engine: SearchEngine) -> None:
    """An error of the stage before keeps its place."""
    error = QueryError("wrong")
    snapshot = engine.library.snapshot()
    planned = engine.planner.plan_all([Query.words("red")], snapshot)
    first, second = engine.embedder.embed([error, *planned])
    assert first is error
    assert isinstance(second, EmbeddedQuery)


def test_a_failing_model_is_the_error_of_all_its_queries(
    engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those without words are answered."""

    def failing(_self: FakeTextEmbedder, _texts: Sequence[str], _role: Role) -> Vectors:
        raise QueryError("no")

    monkeypatch.setattr(FakeTextEmbedder, "encode_texts", failing)
    first, second, third = embed(engine, Query.words("a"), Query.like(1), Query.words("b"))
    assert isinstance(first, QueryError)
    assert isinstance(second, EmbeddedQuery)
    assert isinstance(third, QueryError)
    assert all(np.isfinite(vector).all() for vector in second.vectors.values())
