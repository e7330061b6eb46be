"""Switches that are aborted, that meet files which cannot be read, and other databases."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, text

from indexer.runs import index_into
from indexer.switching.switch import (
    abort_switch,
    switch_in,
)
from mmsearch.errors import LibraryBusyError
from mmsearch.types import Modality
from tests.indexer.switching.conftest import made_with, spaces, verified
from tests.support.audio import tone, wav
from tests.support.documents import a_pdf
from tests.support.fakes import a_picture
from tests.support.films import a_film
from tests.support.library import contents
from tests.support.two_profiles import NEW, OLD, TwoProfiles, open_two


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
    """Gone, changed and broken files are reported; with leave they lose their place until they are
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
    """The second is reported."""
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
