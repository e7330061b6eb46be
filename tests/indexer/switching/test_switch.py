"""Switching a collection to other models: search goes on, nothing is lost, nothing is mixed."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from indexer.runs import index_into, remove_retired, write_lock
from indexer.switching.reembed import Reembedder
from indexer.switching.switch import (
    SwitchCounts,
    SwitchPlan,
    SwitchSummary,
    switch_in,
)
from mmsearch.errors import LibraryBusyError, SpaceMismatchError
from mmsearch.search.engine import SearchEngine
from mmsearch.stores.switches import Replacement
from tests.indexer.switching.conftest import made_with, spaces, verified
from tests.support.fakes import a_picture, some_files
from tests.support.library import contents
from tests.support.two_profiles import NEW, OLD, TwoProfiles, open_two


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
