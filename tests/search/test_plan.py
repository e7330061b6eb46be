"""The first stage: what a query searches, in which channels, among which segments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace

import pytest

from mmsearch.errors import EmptyQueryError, MMSearchError, NotFoundError, QueryError
from mmsearch.query import Query, SortKey, Term
from mmsearch.search.channels import (
    PICTURE_TARGET,
    WORDS_TARGET,
    check_channels,
    restrict_channels,
    searches,
)
from mmsearch.search.engine import SearchEngine
from mmsearch.search.plan import PlannedQuery, kind_of
from mmsearch.types import Modality
from tests.support.fakes import open_fake
from tests.support.small_library import fill, note, photo


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    with open_fake(tmp_path_factory.mktemp("plan") / "library") as made:
        fill(
            made,
            [
                photo("/red.jpg", "red", width=10),
                photo("/blue.jpg", "blue", width=20),
                note("/boat.txt", "an old red boat"),
            ],
        )
        yield made


def plan(engine: SearchEngine, query: Query) -> PlannedQuery:
    (planned,) = engine.planner.plan_all([query], engine.library.snapshot())
    if isinstance(planned, MMSearchError):
        raise planned
    return planned


def test_words_are_collected_for_one_model_call(engine: SearchEngine) -> None:
    """Without their syntax; full text gets the units, filters what must be there."""
    planned = plan(engine, Query.words('"red boat" tea* -draft').without("people"))
    assert [(t.text, t.weight) for t in planned.texts] == [("red boat tea", 1.0), ("people", -1.0)]
    assert planned.positive_words == "red boat tea"
    assert [(unit.tokens, unit.prefix, unit.weight) for unit, _ in planned.words] == [
        (("red", "boat"), False, 1.0),
        (("tea",), True, 1.0),
        (("people",), False, -1.0),
    ]
    assert planned.targets == {}
    assert planned.allowed is not None
    assert {m: ids.tolist() for m, ids in planned.allowed.items() if len(ids)} == {"text": [3]}


def test_plans_are_frozen(engine: SearchEngine) -> None:
    """Later stages return values of their own."""
    planned = plan(engine, Query.words("red"))
    with pytest.raises(FrozenInstanceError):
        planned.depth = 3  # type: ignore[misc]


def test_thresholds_and_depth(engine: SearchEngine) -> None:
    """The query shows the `min_score` that applies; sorted answers come from a larger pool."""
    planned = plan(engine, Query.words("red"))
    assert planned.query.min_score == 0.0, "a small library always answers"
    assert planned.depth == engine.settings.candidates
    assert plan(engine, replace(Query.words("red"), min_score=0.4)).thresholds.min_score == 0.4
    assert plan(engine, Query.words("red").first(500)).depth == 500
    assert plan(engine, replace(Query.words("red"), sort=(SortKey("path"),))).depth == 1000


def test_a_filter_is_run_and_an_example_is_excluded(engine: SearchEngine) -> None:
    """By modality; the example itself must not come back."""
    planned = plan(engine, Query.words("red").where(width={"gt": 15}))
    assert planned.allowed is not None
    assert {m: ids.tolist() for m, ids in planned.allowed.items() if len(ids)} == {"image": [2]}
    like = plan(engine, Query.like(1))
    assert like.excluded == {1}
    assert set(like.targets) == set(PICTURE_TARGET)
    assert like.kind == "example"
    text = plan(engine, Query.like(3))
    assert {space for space, _ in text.targets} == {"clip", "text"}
    assert {vector.kind for vectors in text.targets.values() for vector in vectors} == {"text"}


def test_an_error_takes_the_place_of_its_query(engine: SearchEngine) -> None:
    """The others of the batch are planned."""
    batch = [Query(), Query.words("red"), Query.like(99), Query.words("a", channels=("smell",))]
    first, second, third, fourth = engine.planner.plan_all(batch, engine.library.snapshot())
    assert isinstance(first, EmptyQueryError)
    assert isinstance(second, PlannedQuery)
    assert isinstance(third, NotFoundError)
    assert isinstance(fourth, QueryError)


def test_channels_of_a_term() -> None:
    """The default ones of a space, or those that the term names."""
    assert restrict_channels(WORDS_TARGET, Term(text="a"), "sound") == [("sound", Modality.SOUND)]
    named = Term(text="a", channels=("clip:page", "text", "clip:page"))
    assert restrict_channels(WORDS_TARGET, named, "clip") == [("clip", Modality.PAGE)]
    assert len(restrict_channels(WORDS_TARGET, named, "text")) == 4
    assert restrict_channels(WORDS_TARGET, named, "sound") == []
    lexical = Term(text="a", channels=("lexical:text", "clip:speech"))
    assert restrict_channels(WORDS_TARGET, lexical, "clip") == [("clip", Modality.SPEECH)]
    check_channels(Query((named,)), ["clip", "text"])
    with pytest.raises(QueryError, match="Channels: clip, lexical"):
        check_channels(Query((named,)), ["clip"])


def test_a_term_searches_what_it_and_its_query_both_allow() -> None:
    """Empty restrictions allow everything."""
    query = Query(modalities=(Modality.IMAGE, Modality.TEXT))
    assert searches(query, Term(text="a"), Modality.IMAGE)
    assert not searches(query, Term(text="a"), Modality.SPEECH)
    assert not searches(query, Term(text="a", modalities=(Modality.TEXT,)), Modality.IMAGE)
    assert searches(Query(), Term(text="a"), Modality.SOUND)


@pytest.mark.parametrize(
    ("terms", "kind"),
    [
        ((Term(text="a"), Term(audio=b"x")), "words"),
        ((Term(text="a"), Term(segment=1, weight=-1.0)), "words"),
        ((Term(text="a"), Term(segment=1)), "example"),
        ((Term(image=b"x"),), "example"),
    ],
)
def test_negative_examples_do_not_make_a_query_by_example(
    terms: tuple[Term, ...], kind: str
) -> None:
    assert kind_of(Query(terms)) == kind
