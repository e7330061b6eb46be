"""The second look: what it is shown, how it is joined, and that nothing it does breaks a search."""

from __future__ import annotations

import io
import math
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from indexer.runs import index_into
from mmsearch.errors import QueryError, RerankError
from mmsearch.protocols import Reranker
from mmsearch.query import Query, Term
from mmsearch.search.engine import SearchEngine
from mmsearch.stores.store import SqlStore
from mmsearch.testing import FakeReranker
from mmsearch.types import Modality, RerankCandidate, RerankScore, RerankScores, SegmentDraft
from tests.search.rerank.conftest import Opener, colours, first_stage, likes
from tests.support.documents import a_pdf
from tests.support.fakes import open_fake
from tests.support.films import a_film
from tests.support.stored import CLIP, a_write

# ------------------------------------------------------------------ what it does


def test_the_second_look_reorders(library: Opener) -> None:
    """The pictures themselves are looked at, decoded in the sandbox."""
    reranker = FakeReranker(likes("blue"), modalities=[Modality.IMAGE])
    assert isinstance(reranker, Reranker)
    with library(reranker, rerank_weight=0.9) as engine:
        before = first_stage(engine, modality="image")
        after = engine.search("red", modality="image")
    assert colours(before)[0] == "red"
    assert colours(after)[0] == "blue"
    assert set(colours(after)) == set(colours(before))
    assert after.warnings == ()
    best = after.hits[0]
    assert best.scores["rerank"] == 1.0
    assert best.score == pytest.approx(0.1 * best.scores["first_stage"] + 0.9)
    assert [hit.rank for hit in after.hits] == [1, 2, 3]


def test_pictures_are_upright_and_within_the_cap(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    image = Image.new("RGB", (600, 300), "red")
    image.paste("blue", (0, 0, 300, 300))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it to the right: what is on the left is on top
    image.save(tmp_path / "files" / "turned.jpg", exif=exif)
    seen: list[bytes | None] = []

    def look(_query: str, candidate: RerankCandidate) -> float:
        seen.append(candidate.picture())
        return 1.0

    with open_fake(
        tmp_path / "library",
        rerank="vlm",
        rerank_seconds=100,
        rerank_pixels=64 * 128,
        rerankers=lambda *_: (FakeReranker(look),),
    ) as engine:
        index_into(engine.library, [tmp_path / "files"])
        engine.search("red", modality="image")
        assert seen[0] is not None
        with Image.open(io.BytesIO(seen[0])) as shown:
            assert shown.size == (64, 128)
            assert shown.convert("RGB").getpixel((32, 20))[2] > 200  # type: ignore[index]
            assert shown.convert("RGB").getpixel((32, 100))[0] > 200  # type: ignore[index]


@pytest.mark.parametrize(
    ("pixels", "frame", "page"), [(180 * 180, 240, 180), (1024 * 1024, 640, 1024)]
)
def test_frames_and_pages_are_looked_at_as_large_as_they_are(
    tmp_path: Path, pixels: int, frame: int, page: int
) -> None:
    """From the original where its thumbnail is smaller than what the settings allow."""
    (tmp_path / "files").mkdir()
    film = a_film([("red", 3), ("blue", 3)], size=(640, 360))
    (tmp_path / "files" / "film.mp4").write_bytes(film)
    (tmp_path / "files" / "letter.pdf").write_bytes(a_pdf(["first", "second"]))
    seen: dict[int, tuple[Modality, Image.Image]] = {}

    def look(_query: str, candidate: RerankCandidate) -> float:
        with Image.open(io.BytesIO(candidate.picture() or b"")) as image:
            seen[candidate.segment] = (candidate.modality, image.convert("RGB"))
        return 1.0

    seen_by = FakeReranker(look, modalities=[Modality.VIDEO, Modality.PAGE])
    with open_fake(
        tmp_path / "library",
        rerank="vlm",
        rerank_seconds=100,
        rerank_pixels=pixels,
        min_score=0,
        rerankers=lambda *_: (seen_by,),
    ) as engine:
        index_into(engine.library, [tmp_path / "files"])
        engine.search("red", limit=50)
        frames = [image for modality, image in seen.values() if modality is Modality.VIDEO]
        pages = [image for modality, image in seen.values() if modality is Modality.PAGE]
    assert sorted(image.getpixel((20, 20))[0] > 128 for image in frames) == [False, True]  # type: ignore[index]
    assert {max(image.size) for image in frames} == {frame}
    assert len(pages) == 2
    assert {max(image.size) for image in pages} == {page}


def test_a_changed_file_is_not_looked_at(library: Opener, indexed: Path) -> None:
    """Its thumbnail shows what was indexed, and what the score is kept for."""
    reranker = FakeReranker(likes("blue"))
    with library(reranker, rerank_weight=1.0) as engine:
        blue = indexed.parent / "files" / "pictures" / "blue.png"
        before, times = blue.read_bytes(), blue.stat()
        try:
            Image.new("RGB", (32, 32), "green").save(blue)
            assert colours(engine.search("red", modality="image"))[0] == "blue"
        finally:
            blue.write_bytes(before)
            os.utime(blue, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_texts_go_to_the_reranker_for_texts(library: Opener) -> None:
    """Each candidate goes to the first that judges its modality."""
    seen: dict[str, str | None] = {}

    def read(_query: str, candidate: RerankCandidate) -> float:
        seen[candidate.modality] = candidate.text
        return 0.5

    visual = FakeReranker(likes("red"), modalities=[Modality.IMAGE])
    textual = FakeReranker(read, modalities=[Modality.TEXT])
    with library(visual, textual) as engine:
        result = engine.search("an old boat", explain=True)
    assert {segment for _, segment in visual.asked}.isdisjoint(s for _, s in textual.asked)
    assert len(visual.asked) == 3
    assert list(seen) == ["text"]
    assert all(hit.explanation is not None and hit.explanation.reranker for hit in result.hits)


def test_what_is_around_a_segment(store: SqlStore) -> None:
    """Before and after, in the same source and of the same modality, on both databases."""
    collection = store.collections.get_or_create("default", "fake")
    space = store.spaces.get_or_create(collection.id, CLIP)
    (source,) = store.sources.write(collection.id, [a_write(space.id, segments=3)])
    store.sources.write(collection.id, [a_write(space.id, "b.txt", segments=1)])
    first, middle, last = (segment.id for segment in store.segments.of_source(source))
    assert store.segments.neighbour_texts([first, middle, last, 10**6]) == {
        first: (None, "text 1"),
        middle: ("text 0", "text 2"),
        last: ("text 1", None),
    }
    assert SegmentDraft(Modality.TEXT).text is None


def test_only_the_best_are_looked_at(library: Opener) -> None:
    reranker = FakeReranker(lambda *_: 1.0)
    with library(reranker, rerank_top_n=2) as engine:
        result = engine.search("red", limit=5)
    assert len(reranker.asked) == 2
    assert len(result.hits) == 5
    assert sum("rerank" in hit.scores for hit in result.hits) == 2


def test_a_look_beyond_the_limit(library: Opener) -> None:
    """Asked for one hit, the best of `rerank_top_n` is it."""
    reranker = FakeReranker(likes("blue"), modalities=[Modality.IMAGE])
    with library(reranker, rerank_weight=0.9) as engine:
        assert colours(engine.search("red", modality="image", limit=1)) == ["blue"]


def test_only_words_are_scored(library: Opener) -> None:
    """A picture with words is another question; it is said if reranking was asked for."""
    reranker = FakeReranker(lambda *_: 1.0)
    with library(reranker) as engine:
        segment = first_stage(engine, modality="image").hits[0].segment.id
        terms = (Term(segment=segment), Term(text="at night"))
        assert engine.search(Query(terms)).warnings == ()
        asked = engine.search(Query(terms, rerank="vlm"))
        assert asked.warnings == ("only queries in words can be reranked",)
        assert asked.hits
        engine.search(Query((Term(text="boat"), Term(text="lake", weight=-1.0))))
    assert {query for query, _ in reranker.asked} == {"boat"}


def test_what_there_is_to_choose_is_told(library: Opener) -> None:
    with library() as engine:
        with pytest.raises(QueryError, match="cross-encoder"):
            engine.search("red", rerank="magic")
        assert "nothing to rerank with" in engine.search("red", rerank="auto").warnings[0]


def test_a_server_without_address_is_told(library: Opener) -> None:
    with library(rerank="none", rerank_url=None) as engine:
        result = engine.search("red", rerank="openai")
        assert result.hits == first_stage(engine).hits
        assert "set rerank_url" in result.warnings[0]


# ------------------------------------------------------------------ saved scores


def test_no_question_is_asked_twice(library: Opener) -> None:
    reranker = FakeReranker(likes("blue"), modalities=[Modality.IMAGE])
    with library(reranker) as engine:
        first = engine.search("red", modality="image")
        again = engine.search("red", modality="image")
        assert len(reranker.asked) == 3
        assert [h.scores["rerank"] for h in again.hits] == [h.scores["rerank"] for h in first.hits]
        engine.search("something red", modality="image")
        assert len(reranker.asked) == 6
    other = FakeReranker(likes("blue"), modalities=[Modality.IMAGE], revision="2")
    with library(other) as engine:
        engine.search("red", modality="image")
        assert len(other.asked) == 3


def test_reasons_are_asked_for_when_they_are_wanted(library: Opener) -> None:
    reranker = FakeReranker(likes("blue"), modalities=[Modality.IMAGE])
    query = Query.words("red").among("image")
    with library(reranker) as engine:
        assert {hit.reason for hit in engine.search(query).hits} == {None}
        wanted = Query(query.terms, query.modalities, reasons=True)
        for _ in range(2):
            assert {hit.reason for hit in engine.search(wanted).hits} == {"because I say so"}
        assert {hit.reason for hit in engine.search(query).hits} == {None}
    assert len(reranker.asked) == 6


def test_judgements_are_kept_and_the_oldest_let_go(store: SqlStore) -> None:
    """On both databases; one that is there is replaced."""
    keys = [f"{n:064d}" for n in range(6)]
    store.rerank_scores.save({keys[0]: RerankScore(0.25), keys[1]: RerankScore(0.5, "why")})
    store.rerank_scores.save({keys[0]: RerankScore(0.75, "now")})
    assert store.rerank_scores.get(keys) == {
        keys[0]: RerankScore(0.75, "now"),
        keys[1]: RerankScore(0.5, "why"),
    }
    store.rerank_scores._until_check = 0
    time.sleep(0.01)
    store.rerank_scores.save({key: RerankScore(1.0) for key in keys[2:]}, limit=4)
    assert set(store.rerank_scores.get(keys)) == set(keys[2:])


# ------------------------------------------------------------------ it fails open


def unloadable() -> FakeReranker:
    class Unloadable(FakeReranker):
        @property
        def fingerprint(self) -> str:
            raise RerankError("the weights are not here")

    return Unloadable(lambda *_: 1.0)


def breaking(error: Exception) -> FakeReranker:
    def opinion(_query: str, _candidate: RerankCandidate) -> float:
        raise error

    return FakeReranker(opinion)


def shortening() -> FakeReranker:
    class Short(FakeReranker):
        def score(self, *arguments: Any, **options: Any) -> RerankScores:
            return RerankScores(super().score(*arguments, **options).each[:-1])

    return Short(lambda *_: 1.0)


@pytest.mark.parametrize(
    ("reranker", "told"),
    [
        (unloadable(), "the weights are not here"),
        (breaking(RerankError("the server is on fire")), "on fire"),
        (breaking(ZeroDivisionError("oops")), "failed (ZeroDivisionError)"),
        (shortening(), "scores for"),
        (FakeReranker(lambda *_: math.nan), "no number from 0 to 1"),
        (FakeReranker(lambda *_: 1.5), "no number from 0 to 1"),
        (FakeReranker(lambda *_: -0.1), "no number from 0 to 1"),
        (FakeReranker(lambda *_: None), "it did not know"),
    ],
)
def test_a_bad_reranker_changes_nothing(reranker: FakeReranker, told: str, library: Opener) -> None:
    """The first stage's hits, scores and order, and a warning that names what happened."""
    with library(reranker) as engine:
        result = engine.search("an old red boat")
        assert result.hits == first_stage(engine, "an old red boat").hits
    assert told in result.warnings[0]
    assert "fake-reranker: 5 of 5 hits were not scored" in result.warnings[0]


def test_one_that_cannot_be_had_is_left_alone_for_a_while(library: Opener) -> None:
    reranker = breaking(RerankError("nobody there"))
    with library(reranker) as engine:
        engine.search("red")
        asked = len(reranker.asked)
        again = engine.search("blue")
        assert len(reranker.asked) == asked
        assert "left alone" in again.warnings[0]


def test_what_was_judged_in_time_counts(library: Opener) -> None:
    """The answer comes when time is up; what comes later is kept for the next time."""
    free = threading.Event()

    def opinion(_query: str, candidate: RerankCandidate) -> float:
        if candidate.segment != reranker.asked[0][1]:
            free.wait(60)
        return 1.0

    reranker = FakeReranker(opinion, modalities=[Modality.IMAGE], batch_size=1)
    with library(reranker, rerank_seconds=2.0) as engine:
        began = time.monotonic()
        result = engine.search("red", modality="image")
        assert time.monotonic() - began < 30
        assert "time ran out" in result.warnings[0]
        assert result.hits[0].scores["rerank"] == 1.0
        assert len(result.hits) == 3
        asked = len(reranker.asked)
        free.set()
        for _ in range(100):
            if len(engine.library.store.rerank_scores.get(_keys(engine))) > asked - 1:
                break
            time.sleep(0.05)
        engine.search("red", modality="image")
        assert len(reranker.asked) == 3, "what was under way was not asked again"


def _keys(engine: SearchEngine) -> list[str]:
    from sqlalchemy import select

    from mmsearch.stores.tables import RerankScoreRow

    with engine.library.store.database.engine.connect() as connection:
        return list(connection.scalars(select(RerankScoreRow.key)))


def test_several_questions_at_once(library: Opener) -> None:
    """As many as the reranker says; each candidate once."""
    together = threading.Barrier(3, timeout=20)

    def opinion(_query: str, _candidate: RerankCandidate) -> float:
        together.wait()
        return 1.0

    reranker = FakeReranker(opinion, modalities=[Modality.IMAGE], batch_size=1, concurrency=3)
    with library(reranker) as engine:
        assert engine.search("red", modality="image").warnings == ()
    assert len(set(reranker.asked)) == len(reranker.asked) == 3
