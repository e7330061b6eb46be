"""Indexing runs: what is new comes in, what is known is left alone, what is broken is reported."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, text

from indexer.inputs.named import Named, check_named
from indexer.runs import index_into, write_lock
from mmsearch.errors import (
    LibraryBusyError,
    NotFoundError,
    QueryError,
    SpaceMismatchError,
    StorageError,
)
from mmsearch.types import Modality
from tests.support.fakes import a_picture, open_fake, some_files
from tests.support.library import contents, run_index


def test_a_run_takes_everything_in_and_counts_it(tmp_path: Path) -> None:
    """The summary's counts equal what SQL holds, and verify finds nothing wrong."""
    files = some_files(tmp_path / "files")
    library = tmp_path / "library"
    summary = run_index(library, files)
    counts = summary.counts
    assert (counts.seen, counts.indexed, counts.failed) == (5, 5, 0)
    with open_fake(library) as engine:
        status = engine.library.status(verify=True)
    assert status["sources"] == counts.indexed
    assert status["segments"] == counts.segments
    assert sum(status["vectors"].values()) == counts.vectors
    assert status["verify"] == {"ok": True, "problems": []}
    assert set(status["index"]["clip"]["channels"]) == {
        "image", "page", "speech", "text", "video",
    }  # fmt: skip


def test_a_second_run_embeds_nothing(tmp_path: Path) -> None:
    """Unchanged files are only counted."""
    files = some_files(tmp_path / "files")
    run_index(tmp_path / "library", files)
    again = run_index(tmp_path / "library", files).counts
    assert (again.seen, again.unchanged, again.indexed, again.vectors) == (5, 5, 0, 0)


def test_moved_copied_changed_and_deleted_files(tmp_path: Path) -> None:
    """A move keeps the source, a copy shares the vectors, a change replaces, prune removes."""
    files = some_files(tmp_path / "files")
    library = tmp_path / "library"
    run_index(library, files)
    before = contents(library)
    (files / "pictures/red.png").rename(files / "pictures/scarlet.png")
    shutil.copy(files / "boats.txt", files / "boats-copy.txt")
    (files / "tea.md").write_text("Coffee now.")
    (files / "pictures/blue.png").unlink()
    counts = run_index(library, files, prune=True).counts
    assert (counts.moved, counts.copied, counts.removed) == (1, 1, 1)
    assert counts.indexed == 2  # the copy and the changed note
    after = contents(library)
    assert after[str(files / "pictures/scarlet.png")] == before[str(files / "pictures/red.png")]
    assert after[str(files / "boats-copy.txt")] == before[str(files / "boats.txt")]
    assert after[str(files / "tea.md")][0][1] == "Coffee now."
    assert str(files / "pictures/blue.png") not in after
    assert len(after) == 5


def test_without_prune_deleted_files_stay(tmp_path: Path) -> None:
    """A folder that is not mounted today does not empty the library."""
    files = some_files(tmp_path / "files")
    run_index(tmp_path / "library", files)
    (files / "tea.md").unlink()
    assert run_index(tmp_path / "library", files).counts.removed == 0
    assert len(contents(tmp_path / "library")) == 5


def test_a_touched_file_is_not_embedded_again(tmp_path: Path) -> None:
    """A new modification time over the same bytes only updates the record."""
    files = some_files(tmp_path / "files")
    run_index(tmp_path / "library", files)
    os.utime(files / "tea.md", (1, 1))
    counts = run_index(tmp_path / "library", files).counts
    assert (counts.indexed, counts.unchanged, counts.vectors) == (0, 5, 0)
    assert run_index(tmp_path / "library", files).counts.unchanged == 5


def test_a_broken_file_costs_only_itself(tmp_path: Path) -> None:
    """It is listed with a reason, remembered, and not tried again until it changes."""
    files = some_files(tmp_path / "files")
    whole = (files / "pictures/red.png").read_bytes()
    broken = files / "pictures/broken.png"
    broken.write_bytes(whole[: len(whole) // 2])
    first = run_index(tmp_path / "library", files)
    assert first.counts.indexed == 5
    assert [(f.path, f.code) for f in first.failures] == [(str(broken), "corrupt")]
    assert not first.ok
    again = run_index(tmp_path / "library", files)
    assert again.failures == first.failures
    broken.write_bytes(whole)
    mended = run_index(tmp_path / "library", files)
    assert mended.ok
    assert mended.counts.copied == 1


def test_two_copies_of_a_broken_file_both_fail(tmp_path: Path) -> None:
    """The second is not decoded, and fails for the first one's reason."""
    files = tmp_path / "files"
    files.mkdir()
    for name in ("a.png", "b.png"):
        (files / name).write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 50)
    summary = run_index(tmp_path / "library", files)
    assert summary.counts.failed == 2
    assert len({f.reason for f in summary.failures}) == 1


def test_copies_within_one_run_are_embedded_once(tmp_path: Path) -> None:
    """Ten names of one picture: ten sources, one of them embedded."""
    files = tmp_path / "files"
    original = a_picture(files / "0.png", "red")
    for n in range(1, 10):
        shutil.copy(original, files / f"{n}.png")
    counts = run_index(tmp_path / "library", files).counts
    assert (counts.indexed, counts.copied) == (10, 9)
    assert len({rows[0][2] for rows in contents(tmp_path / "library").values()}) == 1


def test_what_is_indexed_is_found(tmp_path: Path) -> None:
    """Words find the picture of their colour and the note that says them."""
    files = some_files(tmp_path / "files")
    run_index(tmp_path / "library", files)
    with open_fake(tmp_path / "library") as engine:
        hit = engine.search("something red", modality="image").hits[0]
        assert hit.source.path.endswith("red.png")
        hit = engine.search("a leaking boat on the lake", modality="text").hits[0]
        assert hit.source.path.endswith("boats.txt")
        assert hit.segment.place.char_start == 0
        assert engine.thumbnail_path(engine.search("red", modality="image").hits[0].source).exists()


def test_a_second_writer_is_told_who_is_first(tmp_path: Path) -> None:
    """Two indexing runs at once: the second changes nothing and says why."""
    files = some_files(tmp_path / "files")
    library = tmp_path / "library"
    run_index(library, files)
    with write_lock(library), pytest.raises(LibraryBusyError, match=f"process {os.getpid()}"):
        run_index(library, files)


def test_other_models_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    """The same profile with other weights: the space does not match, the library is intact."""
    files = some_files(tmp_path / "files")
    library = tmp_path / "library"
    run_index(library, files)
    before = contents(library)
    a_picture(files / "new.png", "black")
    with pytest.raises(SpaceMismatchError, match="made with"):
        run_index(library, files, revision="2")
    assert contents(library) == before
    with (
        open_fake(library, profile="small") as engine,
        pytest.raises(SpaceMismatchError, match="profile nano"),
    ):
        index_into(engine.library, [files])


def test_nothing_to_index_makes_no_library(tmp_path: Path) -> None:
    """A mistyped path is an error before a folder is made."""
    with pytest.raises(NotFoundError, match="does not exist"):
        check_named(Named((tmp_path / "nope",)))
    with pytest.raises(QueryError, match="at least one"):
        check_named(Named())
    summary = run_index(tmp_path / "library", some_files(tmp_path / "files"), tmp_path / "nope")
    assert summary.counts.indexed == 5
    assert [(f.path, f.code) for f in summary.failures] == [(str(tmp_path / "nope"), "missing")]


def test_a_full_disk_ends_the_run_and_keeps_what_was_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third transaction fails: the first two stay, verify is content, the next run goes on."""
    from mmsearch.stores.sources import SourceStore

    files = tmp_path / "files"
    for n in range(12):
        a_picture(files / f"{n:02}.png", (n * 20, 0, 0))
    library = tmp_path / "library"
    write = SourceStore.write
    calls = []

    def failing(self: SourceStore, *args: object) -> list[int]:
        calls.append(1)
        if len(calls) == 3:
            raise StorageError("the library's database cannot be written: database or disk is full")
        return write(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(SourceStore, "write", failing)
    with open_fake(library, commit_files=3) as engine, pytest.raises(StorageError, match="full"):
        index_into(engine.library, [files])
    monkeypatch.undo()
    with open_fake(library) as engine:
        status = engine.library.status(verify=True)
        assert 3 <= status["sources"] < 12
        assert status["verify"]["ok"]
    assert run_index(library, files).counts.seen == 12
    assert len(contents(library)) == 12


def test_a_vector_is_unit_length_and_of_the_right_space(tmp_path: Path) -> None:
    """What SQL holds are float16 unit vectors of the embedder's dimension."""
    run_index(tmp_path / "library", some_files(tmp_path / "files"))
    with open_fake(tmp_path / "library") as engine:
        engine_spaces = {s.space.name: s for s in engine.library.store.spaces.active()}
        for name, dimension in (("clip", 64), ("text", engine_spaces["text"].space.dimension)):
            stored = engine_spaces[name]
            for modality in Modality:
                for _, matrix in engine.library.store.vectors.iterate(stored.id, modality):
                    assert matrix.shape[1] == dimension
                    norms = np.linalg.norm(matrix.astype(np.float32), axis=1)
                    np.testing.assert_allclose(norms, 1, atol=2e-3)


def test_progress_is_reported_and_runs_are_recorded(tmp_path: Path) -> None:
    """Counts only grow, and SQL remembers the run with its items."""
    seen: list[int] = []
    with open_fake(tmp_path / "library") as engine:
        index_into(
            engine.library,
            [some_files(tmp_path / "files")],
            on_progress=lambda c: seen.append(c.done),
        )
        recorded = engine.library.store.runs.get(1)
        items = engine.library.store.runs.items(1)
    assert seen == sorted(seen)
    assert seen[-1] == 5
    assert (recorded.state, recorded.counts["indexed"]) == ("done", 5)
    assert [item.outcome for item in items] == ["indexed"] * 5


def test_a_library_inside_its_folder_and_names_of_any_bytes(tmp_path: Path) -> None:
    """The library's own files are not indexed; a name that is no UTF-8 is taken in and kept."""
    files = some_files(tmp_path / "files")
    odd = os.fsencode(files) + b"/caf\xe9 \n-x.txt"
    with open(odd, "w") as stream:  # noqa: PTH123  # pathlib has no bytes paths
        stream.write("A note about the odd name of this file.")
    library = files / "library"
    assert run_index(library, files).counts.indexed == 6
    again = run_index(library, files).counts
    assert (again.seen, again.unchanged) == (6, 6)
    os.unlink(odd)  # noqa: PTH108
    assert run_index(library, files, prune=True).counts.removed == 1


def test_a_library_on_postgresql(
    tmp_path: Path, postgresql_template: Engine, postgresql: str
) -> None:
    """Only the URL is another: indexing, searching, following and verifying are the same."""
    with postgresql_template.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS library WITH (FORCE)"))
        connection.execute(text("CREATE DATABASE library"))
    url = postgresql.replace("/postgres?", "/library?")
    with (
        open_fake(tmp_path / "library", database_url=url) as engine,
        open_fake(tmp_path / "elsewhere", database_url=url) as other,
    ):
        assert index_into(engine.library, [some_files(tmp_path / "files")]).counts.indexed == 5
        assert other.library.status(verify=True)["verify"] == {"ok": True, "problems": []}
        hits = [e.search("red boat").hits for e in (engine, other)]
        assert hits[0] == hits[1]
        other.library.delete_source(hits[0][0].source.id)
        assert hits[0][0].segment.id not in {h.segment.id for h in engine.search("red boat").hits}


def test_a_file_moved_over_another_replaces_it(tmp_path: Path) -> None:
    """`mv a b` where both were indexed: one source is left, with the content of a."""
    files = some_files(tmp_path / "files")
    library = tmp_path / "library"
    run_index(library, files)
    before = contents(library)
    red, blue = files / "pictures/red.png", files / "pictures/blue.png"
    red.replace(blue)
    counts = run_index(library, files).counts
    assert (counts.moved, counts.indexed, counts.seen) == (1, 0, 4)
    after = contents(library)
    assert str(red) not in after
    assert after[str(blue)] == before[str(red)]
    with open_fake(library) as engine:
        assert engine.library.status(verify=True)["verify"]["ok"]


def test_prune_spares_what_may_only_be_out_of_reach(tmp_path: Path) -> None:
    """A root that is not there today, and files that may not be looked at, are not gone."""
    files = some_files(tmp_path / "files")
    library = tmp_path / "library"
    run_index(library, files)
    files.rename(tmp_path / "elsewhere")
    counts = run_index(library, files, tmp_path / "elsewhere", prune=True).counts
    assert counts.removed == 0
    assert counts.moved == 5
