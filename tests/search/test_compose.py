"""Terms of several kinds and negative ones, joined so that none wrecks the ranking."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from mmsearch.errors import QueryError
from mmsearch.query import Query, SearchResult, Term
from mmsearch.search.compose import WeightedVector, compose
from mmsearch.search.engine import SearchEngine
from mmsearch.types import Modality
from tests.support.fakes import open_fake
from tests.support.small_library import fill, note, photo


def unit(*numbers: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    vector = np.array(numbers, np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def test_a_term_whose_similarities_hardly_differ_still_counts() -> None:
    """Weighed by spread: a text beside a picture is as strong as the picture."""
    picture, words = (
        WeightedVector(unit(1, 0), 1.0, "image"),
        WeightedVector(unit(0, 1), 1.0, "text"),
    )
    plain = compose([picture, words], [1.0, 1.0])
    weighed = compose([picture, words], [0.2, 0.05])
    assert plain is not None
    assert weighed is not None
    assert plain == pytest.approx(unit(1, 1))
    assert weighed == pytest.approx(unit(0.25, 1))


@pytest.mark.parametrize("weight", [-1.0, -3.0, -100.0])
def test_however_strong_a_negative_term_the_positive_one_leads(weight: float) -> None:
    """At any weight the joined direction still points more towards what is asked for."""
    found = compose(
        [WeightedVector(unit(1, 0), 1.0, "text"), WeightedVector(unit(0, 1), weight, "text")],
        [1.0, 1.0],
    )
    assert found is not None
    assert found[0] > -found[1] > 0


def test_a_stronger_negative_term_pushes_harder() -> None:
    """Its strength saturates, but grows."""
    weak, strong = (
        compose(
            [WeightedVector(unit(1, 0), 1.0, "text"), WeightedVector(unit(0, 1), w, "text")],
            [1.0, 1.0],
        )
        for w in (-0.2, -2.0)
    )
    assert weak is not None
    assert strong is not None
    assert strong[1] < weak[1] < 0


def test_nothing_asked_for_is_no_direction_and_equal_opposites_cancel() -> None:
    """None and zeros are distinguished: the second is worth a warning."""
    away = WeightedVector(unit(1, 0), -1.0, "text")
    assert compose([away], [1.0]) is None
    cancelled = compose([away, WeightedVector(unit(1, 0), 1.0, "text")], [1.0, 1.0])
    assert cancelled is not None
    assert not cancelled.any()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    colours = ["red", "green", "blue", "yellow", "purple"]
    things = [
        photo(f"/{a}-{b}.jpg", f"{a} {b} wall {n}")
        for n, (a, b) in enumerate((a, b) for a in colours for b in colours if a <= b)
    ]
    things += [note("/people.txt", "people people crowd"), note("/boat.txt", "an old red boat")]
    with open_fake(tmp_path_factory.mktemp("composition") / "library") as made:
        fill(made, things)
        yield made


def names(result: SearchResult) -> list[str]:
    return [hit.source.path for hit in result.hits]


def test_without(engine: SearchEngine) -> None:
    """What is kept away from sinks; what is asked for stays on top."""
    query = Query.words("red").among("image").first(5)
    assert any("green" in name for name in names(engine.search(query)))
    found = names(engine.search(query.without("green")))
    assert all("red" in name for name in found[:3])
    assert not any("green" in name for name in found[:3])
    for strong in (2.0, 50.0):
        assert "red" in names(engine.search(query.without("green", weight=strong)))[0]


def test_a_negative_term_alone_in_a_channel_ranks_nothing_there(engine: SearchEngine) -> None:
    """Pictures like this one, without people: no passage comes back for being unlike people."""
    red = engine.search(Query.words("red").among("image").first(1)).hits[0].segment.id
    result = engine.search(Query.like(red, channels=("clip:image",)).without("people"))
    assert {hit.segment.modality for hit in result.hits} == {Modality.IMAGE}
    assert result.warnings == ()


def test_a_term_speaks_only_where_it_is_told_to(engine: SearchEngine) -> None:
    """By modality or by channel; a wrong channel's error lists the right ones."""
    only = engine.search(Query.words("red boat", modalities=(Modality.TEXT,)))
    assert {hit.segment.modality for hit in only.hits} == {Modality.TEXT}
    by_looks = engine.search(Query((Term(text="red boat", channels=("clip:text",)),)))
    assert {name for hit in by_looks.hits for name in hit.scores if ":rank" not in name} >= {
        "clip:text"
    }
    with pytest.raises(QueryError, match="Channels: clip, text, lexical"):
        engine.search(Query((Term(text="red", channels=("smell",)),)))
    with pytest.raises(QueryError, match="no channel 'clip:smell'"):
        engine.search(Query((Term(text="red", channels=("clip:smell",)),)))


def test_a_long_text_is_searched_to_its_end_and_told_about(engine: SearchEngine) -> None:
    """Three hundred words that end in what is looked for: both models read them all."""
    filler = " ".join(f"filler{n}" for n in range(300))
    result = engine.search(Query.words(f"{filler} an old red boat"))
    assert [w for w in result.warnings if "longer than the clip model reads" in w]
    assert [w for w in result.warnings if "longer than the text model reads" in w]
    assert not engine.search(Query.words("short words")).warnings
