"""Moments, copies, groups, order, diversity, facets and pages: what one hit is, and which next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmsearch.errors import CursorError, FilterError
from mmsearch.query import Facet, Query, SearchResult
from mmsearch.search.engine import SearchEngine
from mmsearch.types import Modality, Place
from tests.support.fakes import open_fake
from tests.support.small_library import Piece, Thing, fill, note, photo

ALL = 0.0
"""The min_score of queries that want everything, however unlike."""

COLOURS = ["red", "green", "blue", "yellow", "purple", "pink", "orange", "brown"]


def things() -> list[Thing]:
    """Pictures with copies, a film with words, a long text."""
    made = [
        photo(
            f"/photos/{n:02}.jpg",
            f"{COLOURS[n % 8]} house{n}",
            taken_at=f"20{20 + n % 4}-05-{n % 28 + 1:02}T10:00:00",
            tags=[COLOURS[n % 8], "house"] if n % 3 else "single",
            width=100 * n,
        )
        for n in range(40)
    ]
    made += [
        photo("/copies/a.jpg", "red boat", "one-and-the-same", taken_at="2019-01-01"),
        photo("/copies/b.jpg", "red boat", "one-and-the-same"),
        photo("/copies/c.jpg", "red boat", "saved-again"),
        Thing(
            "/film.mp4",
            [
                Piece(Modality.IMAGE, "red sunset", place=Place(0.0, 10.0)),
                Piece(Modality.SPEECH, "", "look at the red sunset", Place(2.0, 5.0)),
                Piece(Modality.SPEECH, "", "red again, how red", Place(6.0, 9.0)),
                Piece(Modality.IMAGE, "blue sea", place=Place(10.0, 20.0)),
                Piece(Modality.SPEECH, "", "the sea is blue", Place(30.0, 31.0)),
            ],
            mime="video/mp4",
        ),
        note("/long.txt", *(f"red passage {n}" for n in range(30))),
    ]
    return made


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    with open_fake(tmp_path_factory.mktemp("arrangement") / "library", candidates=8) as made:
        fill(made, things())
        yield made


def paths(result: SearchResult) -> list[str]:
    return [hit.source.path for hit in result.hits]


def every_page(engine: SearchEngine, query: Query) -> list[SearchResult]:
    """All pages of a query, by its cursors."""
    pages = [engine.search(query)]
    while (cursor := pages[-1].cursor) is not None:
        pages.append(engine.search(replace(query, cursor=cursor)))
        assert len(pages) < 100
    return pages


# ---------------------------------------------------------------- what one hit is


def test_a_shot_and_what_is_said_in_it_are_one_hit(engine: SearchEngine) -> None:
    """The second sentence of the same shot stands for itself; so does one in no shot."""
    query = Query.words("red sunset").where(path="/film.mp4").first(10)
    hits = engine.search(query).hits
    together = next(hit for hit in hits if hit.evidence)
    kinds = {together.segment.modality, *(p.segment.modality for p in together.evidence)}
    assert kinds == {Modality.IMAGE, Modality.SPEECH}
    assert len(hits) == 4
    alone = engine.search(replace(query, group="segment")).hits
    assert len(alone) == 5
    assert not any(hit.evidence for hit in alone)


def test_a_file_is_one_hit_with_its_best_places(engine: SearchEngine) -> None:
    """Grouped by source, and as many files as were asked for, however long one of them is."""
    query = replace(Query.words("red passage").by_source(best=4).first(20), min_score=ALL)
    result = engine.search(query)
    assert len(set(paths(result))) == len(result.hits) == 20
    (long,) = (hit for hit in result.hits if hit.source.path == "/long.txt")
    assert len(long.segments) == 4
    assert long.segments[0].segment == long.segment
    scores = [part.score for part in long.segments]
    assert scores == sorted(scores, reverse=True)


def test_copies_and_lookalikes_fold_into_one(engine: SearchEngine) -> None:
    """Same content by its hash, same looks by cosine; the hit tells what it stands for."""
    query = replace(Query.words("red boat").among("image").first(10), min_score=ALL)
    assert sum("/copies/" in path for path in paths(engine.search(query))) == 3
    folded = engine.search(replace(query, fold=1.0))
    assert sum("/copies/" in path for path in paths(folded)) == 2
    folded = engine.search(replace(query, fold=0.95))
    assert len(folded.hits) == 10
    (boat,) = (hit for hit in folded.hits if "/copies/" in hit.source.path)
    assert {part.source.path for part in boat.duplicates} | {boat.source.path} == {
        f"/copies/{name}.jpg" for name in "abc"
    }


def test_the_requested_number_comes_back_after_folding_and_grouping(engine: SearchEngine) -> None:
    """Eight candidates a channel do not fill a page: more are fetched until they do."""
    query = replace(Query.words("red passage").by_source().first(40), min_score=ALL)
    assert len(engine.search(replace(query, fold=0.95)).hits) == 40


# ---------------------------------------------------------------- order


def test_sorted_by_fields(engine: SearchEngine) -> None:
    """Descending and ascending, by metadata and by the library's own; no value comes last."""
    query = replace(Query.words("house").among("image").first(100), min_score=ALL)
    newest = engine.search(query.sorted_by("-taken_at", "path"))
    taken = [hit.source.metadata.get("taken_at") for hit in newest.hits]
    there = [one for one in taken if one is not None]
    assert there == sorted(there, reverse=True)
    assert taken[len(there) :] == [None] * (len(taken) - len(there))
    widths = [
        hit.source.metadata["width"]
        for hit in engine.search(query.sorted_by("width")).hits
        if "width" in hit.source.metadata
    ]
    assert widths == sorted(widths)
    by_size = [hit.source.size for hit in engine.search(query.sorted_by("-size")).hits]
    assert by_size == sorted(by_size, reverse=True)
    by_score = [hit.score for hit in engine.search(query.sorted_by("score")).hits]
    assert by_score == sorted(by_score)
    with pytest.raises(FilterError, match=r"Unknown sort field 'taken'. Did you mean 'taken_at'"):
        engine.search(query.sorted_by("taken"))


def test_diversity_brings_other_things_up(engine: SearchEngine) -> None:
    """More colours among the first, the best one still the first."""
    query = Query.words("red house0").among("image").where(path={"like": "/photos/%"}).first(6)

    def colours(diversity: float) -> list[str]:
        result = engine.search(replace(query, diversity=diversity))
        assert len(result.hits) == 6
        return [COLOURS[int(Path(path).stem) % 8] for path in paths(result)]

    plain, diverse = colours(0.0), colours(0.7)
    assert diverse[0] == plain[0]
    assert len(set(diverse)) > len(set(plain))


# ---------------------------------------------------------------- facets


def test_facets_count_the_filtered_collection(engine: SearchEngine) -> None:
    """Single values and lists, strings and dates; sources and segments."""
    query = replace(
        Query.words("anything").where(path={"like": "/photos/%"}),
        facets=(
            Facet("tags"),
            Facet("taken_at", by="year"),
            Facet("mime"),
            Facet("modality"),
            Facet("modified_at", by="month"),
            Facet("width", limit=3),
        ),
    )
    facets = engine.search(query).facets
    numbers = range(40)
    tags = {value.value: value.sources for value in facets["tags"]}
    assert tags["single"] == sum(n % 3 == 0 for n in numbers)
    assert tags["house"] == sum(n % 3 != 0 for n in numbers)
    assert tags["red"] == sum(n % 3 != 0 and n % 8 == 0 for n in numbers)
    assert [value.sources for value in facets["tags"]] == sorted(tags.values(), reverse=True)
    assert {value.value: value.sources for value in facets["taken_at"]} == {
        str(2020 + y): 10 for y in range(4)
    }
    assert [(v.value, v.sources, v.segments) for v in facets["mime"]] == [("image/jpeg", 40, 40)]
    assert [v.value for v in facets["modality"]] == ["image"]
    assert [v.value for v in facets["modified_at"]] == ["2023-11"]
    assert len(facets["width"]) == 3
    assert all(isinstance(v.value, int | float) for v in facets["width"])
    film = engine.search(Query.words("x").where(mime="video/mp4").counting("modality"))
    assert {(v.value, v.sources, v.segments) for v in film.facets["modality"]} == {
        ("speech", 1, 3),
        ("image", 1, 2),
    }
    with pytest.raises(FilterError, match=r"Unknown facet 'tag'. Did you mean 'tags'"):
        engine.search(query.counting("tag"))


# ---------------------------------------------------------------- pages


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"group": "source"},
        {"group": "segment"},
        {"fold": 0.95},
        {"diversity": 0.5},
        {"group": "source", "fold": 0.95, "diversity": 0.3},
        {"modalities": (Modality.IMAGE,)},
    ],
    ids=str,
)
def test_pages_hold_everything_once(engine: SearchEngine, changes: dict[str, Any]) -> None:
    """Page after page until the end: what one large page has, and nothing twice."""
    query = replace(Query.words("red house"), min_score=ALL, **changes)
    pages = every_page(engine, replace(query, limit=7))
    assert all(len(page.hits) == 7 for page in pages[:-1])
    found = [hit.segment.id for page in pages for hit in page.hits]
    assert len(found) == len(set(found))
    whole = engine.search(replace(query, limit=1000))
    assert whole.cursor is None
    if "fold" not in changes:
        # Which of a moment's segments leads may depend on how many are looked at.
        assert set(found) <= _everything([whole])
        for hit in whole.hits:
            assert {hit.segment.id, *(p.segment.id for p in hit.evidence)} & _everything(pages)
    if changes.get("group") == "source":
        sources = [hit.source.id for page in pages for hit in page.hits]
        assert len(sources) == len(set(sources))


def _everything(pages: list[SearchResult]) -> set[int]:
    hits = [hit for page in pages for hit in page.hits]
    leads = {hit.segment.id for hit in hits}
    return leads | {part.segment.id for hit in hits for part in hit.evidence}


def test_sorted_pages_go_on_in_order(engine: SearchEngine) -> None:
    """The order holds across pages."""
    query = Query.words("house").among("image").sorted_by("-taken_at", "path").first(9)
    query = replace(query, min_score=ALL)
    pages = every_page(engine, query)
    found = [hit.source.path for page in pages for hit in page.hits]
    whole = [hit.source.path for hit in engine.search(replace(query, limit=1000)).hits]
    assert found == whole


def test_a_cursor_is_only_good_for_its_query_and_library(
    engine: SearchEngine, tmp_path: Path
) -> None:
    """Another query, a changed character, another library: refused with a reason."""
    query = replace(Query.words("red house").first(5), min_score=ALL)
    cursor = engine.search(query).cursor
    assert cursor is not None
    assert engine.search(replace(query, cursor=cursor, limit=9, facets=(Facet("mime"),))).hits
    for other in (query.also("blue"), query.by_source(), query.where(mime="image/jpeg")):
        with pytest.raises(CursorError, match="another query"):
            engine.search(replace(other, cursor=cursor))
    broken = cursor[:20] + ("A" if cursor[20] != "A" else "B") + cursor[21:]
    for bad in (broken, cursor[:-3], "", "x", "ü", "A" * 100_000, "%%%"):
        with pytest.raises(CursorError, match="damaged"):
            engine.search(replace(query, cursor=bad))
    with open_fake(tmp_path / "other") as other_library:
        fill(other_library, things()[:3])
        with pytest.raises(CursorError, match="another library"):
            other_library.search(replace(query, cursor=cursor))


def test_pages_of_a_library_that_changes_neither_repeat_nor_skip(tmp_path: Path) -> None:
    """Between two pages the best are added, some are deleted, one shown file is indexed anew."""
    with open_fake(tmp_path / "library") as engine:
        photos = [photo(f"/{n:02}.jpg", f"red house{n}") for n in range(20)]
        fill(engine, photos)
        query = replace(Query.words("red house").first(6), min_score=ALL)
        first = engine.search(query)
        shown = paths(first)
        unseen = sorted({thing.path for thing in photos} - set(shown))
        gone = unseen[0]
        (gone_id,) = (s.id for s in engine.library.store.sources.list(limit=100) if s.path == gone)
        engine.library.delete_source(gone_id)
        fill(engine, [photo(f"/new{n}.jpg", "red house") for n in range(3)])
        fill(engine, [photo(shown[0], "red house indexed anew")])
        found: list[str] = []
        cursor = first.cursor
        while cursor is not None:
            page = engine.search(replace(query, cursor=cursor))
            found += paths(page)
            cursor = page.cursor
        assert len(found) == len(set(found))
        assert not set(found) & set(shown)
        assert set(found) == {*unseen[1:], "/new0.jpg", "/new1.jpg", "/new2.jpg"}
