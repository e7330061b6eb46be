"""Switching a collection to other models: search goes on, nothing is lost, nothing is mixed."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, text

from indexer.runs import index_into, remove_retired, write_lock
from indexer.switching.reembed import Reembedder
from indexer.switching.switch import (
    SwitchCounts,
    SwitchPlan,
    SwitchSummary,
    abort_switch,
    switch_in,
)
from mmsearch.errors import LibraryBusyError, SpaceMismatchError
from mmsearch.search.engine import SearchEngine
from mmsearch.stores.switches import Replacement
from mmsearch.types import Modality
from tests.support.audio import tone, wav
from tests.support.documents import a_pdf
from tests.support.fakes import a_picture, some_files
from tests.support.films import a_film
from tests.support.library import contents
from tests.support.two_profiles import NEW, OLD, TwoProfiles, open_two


def made_with(profile: str, library: Path, *paths: Path, models: TwoProfiles | None = None) -> Path:
    with open_two(library, models, profile=profile) as engine:
        index_into(engine.library, list(paths))
    return library


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = some_files(tmp_path / "files")
    for n in range(12):
        a_picture(folder / "more" / f"{n:02}.png", (20 * n, 255 - 20 * n, 90))
    return folder


def spaces(engine: SearchEngine) -> dict[str, int]:
    return {one.space.name: one.space.dimension for one in engine.library.store.spaces.active()}


def verified(engine: SearchEngine) -> bool:
    return bool(engine.library.status(verify=True)["verify"] == {"ok": True, "problems": []})


def test_a_switched_library_equals_one_made_with_the_new_models(
    tmp_path: Path, files: Path
) -> None:
    """The same segments and the same bytes of every vector; nothing of the old is left."""
    library = made_with(OLD, tmp_path / "library", files)
    told: list[SwitchPlan] = []
    counts: list[tuple[int, int]] = []

    def progress(now: SwitchCounts) -> None:
        counts.append((now.done, now.needed))

    with open_two(library) as engine:
        summary = switch_in(engine.library, NEW, on_plan=told.append, on_progress=progress)
        assert summary.switched
        assert spaces(engine) == {"clip": 80, "text": 40}
        assert verified(engine)
        assert engine.library.store.spaces.retired() == engine.library.store.spaces.building() == []
        assert engine.library.store.collections.get().profile == NEW
        best = engine.search("something red", modality="image").hits[0]
        assert best.source.path.endswith("red.png")
    assert contents(library) == contents(made_with(NEW, tmp_path / "fresh", files))
    (plan,) = told
    assert {change.name: change.needed for change in plan.changes} == {"clip": 17, "text": 2}
    assert any("17 vectors" in line for line in plan.lines())
    assert summary.made == summary.removed == 19
    assert counts[0] == (0, 19)
    assert counts[-1] == (19, 19)
    names = {path.name.split("-")[1] for path in (library / "indexes").glob("*.index")}
    assert names == {"3", "4"}  # the new spaces' ids


def test_the_next_run_finds_everything_up_to_date(tmp_path: Path, files: Path) -> None:
    """Only what is new is taken in, with the new models, by whoever asks for no profile."""
    library = made_with(OLD, tmp_path / "library", files)
    with open_two(library) as engine:
        switch_in(engine.library, NEW)
    a_picture(files / "late.png", "purple")
    with open_two(library) as engine:
        counts = index_into(engine.library, [files]).counts
        assert (counts.indexed, counts.unchanged) == (1, 17)
        assert verified(engine)
    with open_two(library, profile=OLD) as engine, pytest.raises(SpaceMismatchError) as refused:
        index_into(engine.library, [files])
    assert "mmsearch models switch --profile nano" in str(refused.value)


@pytest.mark.parametrize("ascii_only", [OLD, NEW])
def test_words_that_one_model_cannot_read(tmp_path: Path, ascii_only: str) -> None:
    """They have a vector by the model that reads them, and none by the other, in both directions.

    The switch is complete either way, and nothing is reported as missing.
    """
    files = some_files(tmp_path / "files")
    (files / "boat.txt").write_text("הסירה האדומה בנמל", "utf-8")
    models = TwoProfiles(ascii_only=frozenset({ascii_only}))
    library = made_with(OLD, tmp_path / "library", files, models=models)
    with open_two(library, models) as engine:
        before = engine.library.status()["vectors"]["text"]
        assert verified(engine)
        assert switch_in(engine.library, NEW).switched
        after = engine.library.status()["vectors"]["text"]
        assert (before, after) == ((2, 3) if ascii_only == OLD else (3, 2))
        assert verified(engine)
        assert index_into(engine.library, [files]).counts.unchanged == 6
    fresh = made_with(NEW, tmp_path / "fresh", files, models=models)
    assert contents(library) == contents(fresh)


def test_only_what_differs_is_made_again(tmp_path: Path, files: Path) -> None:
    """Another text model alone: no picture is decoded, and the choice is the collection's own."""
    library = made_with(OLD, tmp_path / "library", files)
    shutil.rmtree(files / "more")
    with open_two(library, text_model=NEW) as engine:
        summary = switch_in(engine.library)
        assert summary.switched
        assert summary.plan.kept == ("clip",)
        assert summary.made == 2
    with open_two(library) as engine:
        assert spaces(engine) == {"clip": 64, "text": 40}
        assert engine.library.store.collections.get().models == (("text_model", NEW),)
        assert (
            engine.search("a boat on the lake", modality="text")
            .hits[0]
            .source.path.endswith("boats.txt")
        )
        assert switch_in(engine.library, OLD).made == 2  # back to the profile's own
        assert engine.library.store.collections.get().models == ()
        assert spaces(engine) == {"clip": 64, "text": 48}


class Gate:
    """Holds the new models back at the `at`th call, and tells when it is reached."""

    def __init__(self, engine: SearchEngine, at: int) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        clip = engine.library.models(NEW).clip
        encode, calls = clip.encode_pixels, [0]

        def held_back(pixels: Any) -> Any:
            calls[0] += 1
            if calls[0] == at:
                self.reached.set()
                assert self.open.wait(60)
            return encode(pixels)

        clip.encode_pixels = held_back  # type: ignore[method-assign]


def test_search_goes_on_and_a_follower_sees_the_switch(tmp_path: Path, files: Path) -> None:
    """In the middle of a switch all is found with the old models; then, at once, with the new."""
    library = made_with(OLD, tmp_path / "library", files)
    with (
        open_two(library, batch_size=4, commit_seconds=600.0) as engine,
        open_two(library, profile=OLD, follow_seconds=0.05) as other,
    ):
        other.start_following()
        other.warm_up()
        before = other.search("a red boat", limit=5).hits
        gate = Gate(engine, 2)
        done: list[SwitchSummary] = []
        thread = threading.Thread(target=lambda: done.append(switch_in(engine.library, NEW)))
        thread.start()
        assert gate.reached.wait(60)
        status = other.library.status(verify=True)
        assert status["switching"]["default"]["profile"] == NEW
        assert status["switching"]["default"]["spaces"]["clip"] == {"vectors": 6, "of": 17}
        assert status["vectors"] == {"clip": 17, "text": 2}
        assert status["verify"] == {"ok": True, "problems": []}
        assert other.search("a red boat", limit=5).hits == before
        red = next(h for h in before if h.source.path.endswith("red.png"))
        assert other.search(like=red.segment.id).hits
        gate.open.set()
        thread.join(60)
        assert done[0].switched
        deadline = threading.Event()
        for _ in range(100):
            if {s.space.dimension for s in other.library.indexes.spaces} == {80, 40}:
                break
            deadline.wait(0.02)
        assert {s.space.dimension for s in other.library.indexes.spaces} == {80, 40}
        # Asked for with --profile nano when it began, it follows the collection all the same.
        after = other.search("a red boat", limit=5).hits
        assert after == engine.search("a red boat", limit=5).hits
        assert verified(other)
        assert other.library.status()["switching"] == {}
        assert not other.library.indexes.warnings()


def test_queries_on_the_way_are_answered_whole(tmp_path: Path, files: Path) -> None:
    """A query that was planned with the old models when the switch came is planned anew."""
    library = made_with(OLD, tmp_path / "library", files)
    with open_two(library) as engine, open_two(library) as other:
        other.search("warm")
        embed = other.embedder.embed
        switched: list[SwitchSummary] = []

        def switch_under_way(plans: Any) -> Any:
            embedded = embed(plans)
            if not switched:
                switched.append(switch_in(engine.library, NEW))
            return embedded

        other.embedder.embed = switch_under_way  # type: ignore[method-assign,assignment]
        found = other.search("a red boat", limit=5)
        assert switched[0].switched
        assert found.hits == engine.search("a red boat", limit=5).hits


def test_files_indexed_meanwhile_are_in_the_new_space_too(tmp_path: Path, files: Path) -> None:
    """What another process adds while the new space is built is picked up before the switch."""
    library = made_with(OLD, tmp_path / "library", files)
    with (
        open_two(library, batch_size=4, commit_seconds=600.0) as engine,
        open_two(library) as other,
    ):
        gate = Gate(engine, 2)
        done: list[SwitchSummary] = []
        thread = threading.Thread(target=lambda: done.append(switch_in(engine.library, NEW)))
        thread.start()
        assert gate.reached.wait(60)
        a_picture(files / "late.png", "purple")
        (files / "late.txt").write_text("A late note about ferries.")
        (files / "tea.md").unlink()
        shutil.copy(files / "boats.txt", files / "copy.txt")
        assert index_into(other.library, [files], prune=True).counts.indexed == 3
        gate.open.set()
        thread.join(60)
        assert done[0].switched
        assert verified(engine)
        assert verified(other)
    assert contents(library) == contents(made_with(NEW, tmp_path / "fresh", files))


def test_a_writer_that_began_before_the_switch_is_refused(tmp_path: Path, files: Path) -> None:
    """Vectors of the old models never come in after the switch; the next try uses the new."""
    library = made_with(OLD, tmp_path / "library", files)
    with open_two(library) as engine, open_two(library) as other:
        write = other.library.store.sources.write

        def switch_first(*arguments: Any, **named: Any) -> Any:
            other.library.store.sources.write = write  # type: ignore[method-assign]
            # As on another machine, where there is no common lock file.
            (library / "index.lock").rename(library / "elsewhere.lock")
            assert switch_in(engine.library, NEW).switched
            return write(*arguments, **named)

        other.library.store.sources.write = switch_first  # type: ignore[method-assign]
        a_picture(files / "late.png", "purple")
        with pytest.raises(LibraryBusyError, match="switched to other models"):
            index_into(other.library, [files])
        assert verified(other)
        assert index_into(other.library, [files]).counts.indexed == 1
        assert verified(engine)


def test_it_waits_for_a_run_and_picks_up_what_that_adds(
    tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an indexing run holds the write lock everything but the switch itself is done."""
    monkeypatch.setattr("indexer.switching.switch.WRITER_SECONDS", 0.05)
    library = made_with(OLD, tmp_path / "library", files)
    with open_two(library) as engine:
        done: list[SwitchSummary] = []
        waiting = threading.Event()

        def progress(counts: SwitchCounts) -> None:
            if counts.waiting:
                waiting.set()

        with write_lock(library):
            thread = threading.Thread(
                target=lambda: done.append(switch_in(engine.library, NEW, on_progress=progress))
            )
            thread.start()
            assert waiting.wait(60)
            assert spaces(engine) == {"clip": 64, "text": 48}
        thread.join(60)
        assert done[0].switched


class StoppedError(Exception):
    """As if the process had died here."""


def test_interrupted_anywhere_it_goes_on(
    tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors that were made are kept, the target is remembered, and removal is resumed too."""
    library = made_with(OLD, tmp_path / "library", files)
    add, calls = Reembedder._write, [0]

    def stopping(self: Reembedder, pair: Replacement, ids: Any, rows: Any) -> int:
        calls[0] += 1
        if calls[0] == 3:
            raise StoppedError
        return add(self, pair, ids, rows)

    monkeypatch.setattr(Reembedder, "_write", stopping)
    with (
        open_two(library, batch_size=4, commit_seconds=600.0) as engine,
        pytest.raises(StoppedError),
    ):
        switch_in(engine.library, NEW)
    with open_two(library) as engine:
        assert verified(engine)
        with pytest.raises(SpaceMismatchError, match="--abort"):
            switch_in(engine.library, "base")
        monkeypatch.setattr(engine.library.store.spaces, "remove_retired", lambda _space: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            switch_in(engine.library)  # to where the first was going
    with open_two(library) as engine:
        assert spaces(engine) == {"clip": 80, "text": 40}
        assert verified(engine)
        assert len(engine.library.store.spaces.retired()) == 2
        assert remove_retired(engine.library) == 19
        assert engine.library.store.spaces.retired() == []
    assert contents(library) == contents(made_with(NEW, tmp_path / "fresh", files))


def test_an_aborted_switch_leaves_nothing(tmp_path: Path, files: Path) -> None:
    """What was built is dropped; search and the next switch are as if it had never begun."""
    library = made_with(OLD, tmp_path / "library", files)
    (files / "pictures/red.png").rename(tmp_path / "red.png")
    with open_two(library) as engine:
        assert not switch_in(engine.library, NEW).switched
        assert engine.library.status()["switching"]["default"]["spaces"]["text"] == {
            "vectors": 2,
            "of": 2,
        }
    assert abort_switch(library)
    assert not abort_switch(library)
    with open_two(library) as engine:
        assert engine.library.status()["switching"] == {}
        assert spaces(engine) == {"clip": 64, "text": 48}
        assert engine.library.store.spaces.retired() == engine.library.store.spaces.building() == []
        assert verified(engine)


def test_a_source_that_cannot_be_read_stops_the_switch_unless_it_may_be_missing(
    tmp_path: Path, files: Path
) -> None:
    """Gone, changed and broken files are told; with leave they lose their place until they are
    indexed again, and verify knows."""
    library = made_with(OLD, tmp_path / "library", files)
    gone, changed = files / "pictures/red.png", files / "pictures/blue.png"
    gone.rename(tmp_path / "red.png")
    a_picture(changed, "pink")
    with open_two(library) as engine:
        refused = switch_in(engine.library, NEW)
        assert not refused.switched
        assert {(Path(f.path).name, f.code) for f in refused.failures} == {
            ("red.png", "missing"),
            ("blue.png", "changed"),
        }
        assert refused.forgone == 2
        assert engine.search("red").hits  # with the old models
        taken = switch_in(engine.library, NEW, allow_missing=True)
        assert taken.switched
        assert taken.made == 0
        verify = engine.library.status(verify=True)["verify"]
        assert verify["ok"]
        assert "2 segments have no vector in space 'clip'" in verify["notes"][0]
        (tmp_path / "red.png").rename(gone)
        assert index_into(engine.library, [files]).counts.indexed == 2
        assert verified(engine)
    assert contents(library) == contents(made_with(NEW, tmp_path / "fresh", files))


def test_a_copy_stands_in_for_a_file_that_is_gone(tmp_path: Path, files: Path) -> None:
    """The bytes are what counts."""
    shutil.copy(files / "pictures/red.png", files / "copy.png")
    library = made_with(OLD, tmp_path / "library", files)
    (files / "pictures/red.png").unlink()
    with open_two(library) as engine:
        assert switch_in(engine.library, NEW).switched
        assert verified(engine)


def test_other_ears_hear_recordings_again(tmp_path: Path, files: Path) -> None:
    """Words and sounds stay findable by the new models; the next run takes recordings in anew."""
    (files / "memo.wav").write_bytes(wav(tone(12, 200), tone(18, 6000)))
    models = TwoProfiles(hearing=True, sounds=True)
    library = made_with(OLD, tmp_path / "library", files, models=models)
    with open_two(library, models) as engine:
        assert len(engine.search("high", modality="sound").hits) == 2
        summary = switch_in(engine.library, NEW)
        assert summary.switched
        assert spaces(engine) == {"clip": 80, "text": 40, "sound": 32}
        assert verified(engine)
        assert summary.plan.heard_again
        hit = engine.search("high", modality="sound").hits[0]
        assert (hit.segment.place.start or 0) >= 5
    fresh = made_with(NEW, tmp_path / "fresh", files, models=models)
    assert contents(library) == contents(fresh)
    with open_two(library, models) as engine:
        assert index_into(engine.library, [files]).counts.indexed == 1  # the recording
        assert verified(engine)
    assert contents(library) == contents(fresh)


def test_pages_are_drawn_again(tmp_path: Path) -> None:
    """A document's pages and its passages, also with many pages to a batch."""
    pages = [f"Page {n} tells of rivers." for n in range(1, 8)]
    (tmp_path / "files").mkdir()
    (tmp_path / "files/book.pdf").write_bytes(a_pdf(pages))
    library = made_with(OLD, tmp_path / "library", tmp_path / "files")
    with open_two(library, batch_size=3, commit_seconds=600.0) as engine:
        assert switch_in(engine.library, NEW).plan.needed == 7 + 2 * 7
        assert verified(engine)
    assert contents(library) == contents(made_with(NEW, tmp_path / "fresh", tmp_path / "files"))


def test_shots_of_films_are_seen_again(tmp_path: Path) -> None:
    """Each shot by the frame that stands for it."""
    (tmp_path / "files").mkdir()
    film = a_film([("red", 2), ("blue", 2), ("green", 2)])
    (tmp_path / "files/film.mkv").write_bytes(film)
    library = made_with(OLD, tmp_path / "library", tmp_path / "files")
    with open_two(library) as engine:
        assert switch_in(engine.library, NEW).plan.needed == 3
        hit = engine.search("something blue", modality="video").hits[0]
        assert hit.segment.place.start == pytest.approx(2, abs=0.3)
        assert verified(engine)
    assert contents(library) == contents(made_with(NEW, tmp_path / "fresh", tmp_path / "files"))


def test_a_dry_run_changes_nothing(tmp_path: Path, files: Path) -> None:
    """It only says what would happen."""
    library = made_with(OLD, tmp_path / "library", files)
    with open_two(library) as engine:
        summary = switch_in(engine.library, NEW, dry_run=True)
        assert not summary.switched
        assert summary.to_json()["spaces"]["clip"]["vectors"] == 17
        assert engine.library.status()["switching"] == {}
        assert engine.library.store.spaces.building() == []


def test_only_one_switch_at_a_time(tmp_path: Path, files: Path) -> None:
    """The second is told."""
    library = made_with(OLD, tmp_path / "library", files)
    with open_two(library) as engine, open_two(library) as other:
        with pytest.raises(LibraryBusyError, match="another switch"):
            switch_in(
                engine.library, NEW, on_plan=lambda _: (switch_in(other.library, NEW), None)[1]
            )
        assert switch_in(other.library, NEW).switched


def test_on_postgresql(
    tmp_path: Path, files: Path, postgresql_template: Engine, postgresql: str
) -> None:
    """Only the URL is another."""
    with postgresql_template.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS library WITH (FORCE)"))
        connection.execute(text("CREATE DATABASE library"))
    url = postgresql.replace("/postgres?", "/library?")
    with (
        open_two(tmp_path / "library", database_url=url) as engine,
        open_two(tmp_path / "elsewhere", database_url=url) as other,
    ):
        index_into(engine.library, [files])
        before = {h.segment.id for h in other.search("red", limit=50).hits}
        assert switch_in(engine.library, NEW).switched
        assert verified(engine)
        assert verified(other)
        after = other.search("red", limit=50).hits
        assert {h.segment.id for h in after} == before
        assert after == engine.search("red", limit=50).hits
        vectors = other.library.store.vectors.iterate(
            other.library.store.spaces.active()[0].id, Modality.IMAGE
        )
        assert np.concatenate([rows for _, rows in vectors]).shape == (15, 80)
