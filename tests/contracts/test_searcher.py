"""What every searcher of a library in this process does: the engine and the shipped fake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from indexer.runs import index_into
from mmsearch.errors import MMSearchError, NotFoundError, QueryError
from mmsearch.library import Library, LibrarySearcher
from mmsearch.query import Query, SearchResult
from mmsearch.search.engine import SearchEngine
from mmsearch.testing import FakeSearcher
from mmsearch.types import VISUAL, Modality
from tests.support.fakes import fake_models, some_files

# mypy checks here that both fulfil the protocol.
MAKERS: dict[str, Callable[[Library], LibrarySearcher]] = {
    "engine": SearchEngine,
    "fake": FakeSearcher,
}


@pytest.fixture(params=MAKERS)
def searcher(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LibrarySearcher]:
    library = Library.open(
        tmp_path / "library", create=True, models=fake_models(), profile="nano", workers=1
    )
    index_into(library, [some_files(tmp_path / "files")])
    opened = MAKERS[request.param](library)
    yield opened
    opened.close()


def picture_id(searcher: LibrarySearcher) -> int:
    """The segment of a picture."""
    hits = searcher.search("red", modality="image").hits
    return hits[0].segment.id


def test_words_find_their_picture_and_their_note(searcher: LibrarySearcher) -> None:
    """Ranks count from 1, scores descend within 0..1, the best is what has the words."""
    pictures = searcher.search("red", modality="image").hits
    assert Path(pictures[0].source.path).name == "red.png"
    notes = searcher.search("the boat on the lake", modality=["text"], limit=1).hits
    assert [Path(hit.source.path).name for hit in notes] == ["boats.txt"]
    everything = searcher.search(Query.words("red boat")).hits
    assert [hit.rank for hit in everything] == list(range(1, len(everything) + 1))
    scores = [hit.score for hit in everything]
    assert scores == sorted(scores, reverse=True)
    assert 0 <= min(scores) <= max(scores) <= 1


def test_an_error_stands_in_its_querys_place(searcher: LibrarySearcher) -> None:
    """One bad query spoils no other, and alone it is raised."""
    good, empty, unknown = searcher.search_many(
        [Query.words("red"), Query(), Query(Query.words("red").terms, collection="none")]
    )
    assert isinstance(good, SearchResult)
    assert isinstance(empty, QueryError)
    assert isinstance(unknown, NotFoundError)
    with pytest.raises(NotFoundError):
        searcher.search("red", collection="none")


def test_heat_maps_are_of_pictures(searcher: LibrarySearcher) -> None:
    """Floats of 0 to 1; no words, no picture or no such segment is an error."""
    heat = searcher.heat_map(picture_id(searcher), "red")
    assert heat.ndim == 2
    assert heat.dtype == np.float32
    assert 0 <= heat.min() <= heat.max() <= 1
    passage = searcher.search("boat", modality="text").hits[0].segment
    assert passage.modality is Modality.TEXT
    assert Modality.TEXT not in VISUAL
    for segment, words, kind in (
        (picture_id(searcher), " ", QueryError),
        (passage.id, "boat", QueryError),
        (10**9, "red", NotFoundError),
    ):
        raised: type[MMSearchError] = kind
        with pytest.raises(raised):
            searcher.heat_map(segment, words)


def test_it_is_ready_once_it_is_warm(searcher: LibrarySearcher) -> None:
    """And the thumbnails of what was indexed are where it says."""
    assert not searcher.ready()
    searcher.start_following()
    searcher.warm_up()
    assert searcher.ready()
    source = searcher.search("red", modality="image").hits[0].source
    assert searcher.thumbnail_path(source).read_bytes()[:2] == b"\xff\xd8"
