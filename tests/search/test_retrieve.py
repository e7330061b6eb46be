"""The third stage: rankings of every channel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from mmsearch.errors import MMSearchError, QueryError
from mmsearch.query import Query, SearchResult
from mmsearch.search.embed import EmbeddedQuery
from mmsearch.search.engine import SearchEngine
from mmsearch.search.scoring.rankings import ChannelRanking, Rankings
from mmsearch.testing import FakeTextEmbedder
from mmsearch.types import Modality, Role, Vectors
from tests.support.fakes import open_fake
from tests.support.small_library import fill, note, photo


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    """Forty pictures and forty notes."""
    with open_fake(tmp_path_factory.mktemp("retrieve") / "library", candidates=5) as made:
        fill(made, [photo(f"/{n}.jpg", f"red thing{n}") for n in range(40)])
        fill(made, [note(f"/{n}.txt", f"an old red boat number {n}") for n in range(40)])
        yield made


def embedded(engine: SearchEngine, *queries: Query) -> list[EmbeddedQuery]:
    planned = engine.planner.plan_all(queries, engine.library.snapshot())
    return [e for e in engine.embedder.embed(planned) if isinstance(e, EmbeddedQuery)]


def retrieve(engine: SearchEngine, query: Query, depth: int | None = None) -> Rankings:
    (rankings,) = engine.retriever.retrieve(embedded(engine, query), depth=depth)
    assert isinstance(rankings, Rankings)
    return rankings


def by_name(rankings: Rankings) -> dict[str, ChannelRanking]:
    return {ranking.name: ranking for ranking in rankings.channels}


def test_every_channel_ranks_on_its_own(engine: SearchEngine) -> None:
    """Vector channels are calibrated, full text has the coverage of the query's words."""
    channels = by_name(retrieve(engine, Query.words("red boat").first(5)))
    assert set(channels) == {"clip:image", "text:text", "lexical:text"}
    for ranking in channels.values():
        assert np.all(np.diff(ranking.scores) <= 0)
        assert len(set(ranking.ids.tolist())) == len(ranking.ids)
    assert channels["clip:image"].evidence is not None
    assert channels["clip:image"].certainty is not None
    assert channels["text:text"].certainty is None, "words with words"
    assert channels["lexical:text"].coverage is not None
    assert channels["lexical:text"].coverage[0] == 1.0


def test_deeper_retrieval_continues_the_same_ranking(engine: SearchEngine) -> None:
    """Until the channels are exhausted."""
    query = Query.words("red").first(5)
    first = retrieve(engine, query)
    assert not first.exhausted
    assert first.depth == 5
    deeper = retrieve(engine, query, depth=20)
    assert deeper.depth == 20
    names = by_name(first)
    for name, ranking in by_name(deeper).items():
        assert ranking.ids[: len(names[name].ids)].tolist() == names[name].ids.tolist()
    assert retrieve(engine, query, depth=1000).exhausted


def test_examples_are_left_out_and_filters_are_pushed_down(engine: SearchEngine) -> None:
    """As many candidates come back as exist."""
    like = by_name(retrieve(engine, Query.like(7)))
    assert 7 not in like["clip:image"].ids.tolist()
    one = retrieve(engine, Query.words("red").where(path="/33.jpg"))
    assert one.exhausted
    assert {name: len(r.ids) for name, r in by_name(one).items()} == {"clip:image": 1}


def test_weights_of_the_query_win_over_the_librarys(engine: SearchEngine) -> None:
    """By channel, then by space; 1 if nobody names one."""
    query = replace(Query.words("red boat"), weights={"text": 0.5, "text:text": 2.0})
    weights = {name: r.weight for name, r in by_name(retrieve(engine, query)).items()}
    assert weights == {"clip:image": 1.0, "text:text": 2.0, "lexical:text": 1.0}


def test_a_vector_without_direction_is_the_error_of_its_query_alone(engine: SearchEngine) -> None:
    """An index refuses the whole scan: the others are then scanned without it."""
    queries = embedded(engine, *(Query.words(text) for text in ("red boat", "blue", "number")))
    broken = {channel: np.full_like(v, np.nan) for channel, v in queries[1].vectors.items()}
    queries[1] = replace(queries[1], vectors=broken)
    before, error, after = engine.retriever.retrieve(queries)
    assert isinstance(error, QueryError)
    assert "NaN" in error.message
    for rankings, words in ((before, "red boat"), (after, "number")):
        assert isinstance(rankings, Rankings)
        expected = by_name(retrieve(engine, Query.words(words)))
        assert {name: r.ids.tolist() for name, r in by_name(rankings).items()} == {
            name: r.ids.tolist() for name, r in expected.items()
        }


def test_a_model_that_returns_nan_fails_its_query_alone(
    engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others of the batch are answered as they are alone."""
    encode = FakeTextEmbedder.encode_texts

    def encode_texts(fake: FakeTextEmbedder, texts: Sequence[str], role: Role) -> Vectors:
        vectors = encode(fake, texts, role).copy()
        vectors[[text == "broken" for text in texts]] = np.nan
        return vectors

    monkeypatch.setattr(FakeTextEmbedder, "encode_texts", encode_texts)
    good, broken = engine.search_many([Query.words("red boat"), Query.words("broken")])
    assert isinstance(broken, QueryError)
    assert "no finite vector in 'text'" in broken.message
    assert isinstance(good, SearchResult)
    assert good.hits == engine.search("red boat").hits


def test_errors_pass_through(engine: SearchEngine) -> None:
    """An error of the stage before keeps its place."""
    error: MMSearchError = QueryError("wrong")
    first, second = engine.retriever.retrieve([error, *embedded(engine, Query.words("red"))])
    assert first is error
    assert isinstance(second, Rankings)


def test_channels_alone_for_evaluation(engine: SearchEngine) -> None:
    """`rank_channels` is the first stage; it raises what a query raises."""
    one, other = engine.rank_channels([Query.words("red"), Query.words("boat").among("text")])
    assert "clip:image" in by_name(one)
    assert {ranking.modality for ranking in other.channels} == {Modality.TEXT}
    with pytest.raises(QueryError):
        engine.rank_channels([Query.words("red"), Query()])
