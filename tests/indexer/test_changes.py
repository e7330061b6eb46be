"""Changes that are hard to see, and what is left behind when files change or leave."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from indexer.inputs.content import LocalFile, Spool
from indexer.inputs.fetch import Fetcher
from indexer.runs import RunSummary, index_into
from mmsearch.errors import MediaError
from tests.support.fakes import a_picture, open_fake
from tests.support.library import contents, run_index


def rehash(library: Path, *paths: Path) -> RunSummary:
    with open_fake(library, workers=1) as engine:
        return index_into(engine.library, list(paths), rehash=True)


def replace_quietly(path: Path, text: str) -> None:
    """Other content of the same length, with the old time of modification."""
    status = path.stat()
    aside = path.with_name("aside")
    aside.write_text(text)
    assert aside.stat().st_size == status.st_size
    os.utime(aside, ns=(status.st_atime_ns, status.st_mtime_ns))
    aside.replace(path)


def rewrite_quietly(path: Path, text: str) -> None:
    """The same in the same file."""
    status = path.stat()
    path.write_text(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [replace_quietly, rewrite_quietly])
@pytest.mark.parametrize("sidecar", [False, True])
def test_other_content_of_the_same_size_and_time(
    tmp_path: Path, change: object, sidecar: bool
) -> None:
    """It is noticed; the file is then unchanged again."""
    folder = tmp_path / "files"
    folder.mkdir()
    note = folder / "note.txt"
    note.write_text("The heron stands.")
    if sidecar:
        (folder / "note.txt.json").write_text('{"title": "Birds"}')
    library = tmp_path / "library"
    run_index(library, folder)
    change(note, "The egret stands.")  # type: ignore[operator]
    counts = run_index(library, folder).counts
    assert (counts.indexed, counts.unchanged) == (1, 0)
    assert contents(library)[str(note)][0][1] == "The egret stands."
    assert run_index(library, folder).counts.unchanged == 1


def test_a_file_whose_rights_changed_is_not_embedded_again(tmp_path: Path) -> None:
    """Its content is compared once, and no more."""
    note = tmp_path / "note.txt"
    note.write_text("The heron stands.")
    library = tmp_path / "library"
    run_index(library, note)
    note.chmod(0o600)
    counts = run_index(library, note).counts
    assert (counts.unchanged, counts.indexed) == (1, 0)


@pytest.mark.parametrize("sidecar", [False, True])
def test_rehash_compares_the_content(tmp_path: Path, sidecar: bool) -> None:
    """What is the same is not embedded again, whatever is known of it from outside."""
    note = tmp_path / "note.txt"
    note.write_text("The heron stands.")
    if sidecar:
        (tmp_path / "note.txt.json").write_text('{"title": "Birds"}')
    library = tmp_path / "library"
    run_index(library, note)
    counts = rehash(library, note).counts
    assert (counts.unchanged, counts.indexed, counts.vectors) == (1, 0, 0)


@pytest.mark.parametrize("kind", ["replaced", "appended", "truncated"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, kind: str) -> None:
    """It is `changed`: its hash and its segments may be those of different contents."""
    note = tmp_path / "note.txt"
    note.write_text("The heron stands.")
    spool = Spool(tmp_path, Fetcher(max_bytes=1, seconds=1, allow_private=False))

    def read() -> None:
        with LocalFile(str(note)).opened(spool):
            if kind == "replaced":
                replace_quietly(note, "The egret stands.")
            else:
                with note.open("a" if kind == "appended" else "w") as file:
                    file.write(" It waits.")

    with pytest.raises(MediaError) as caught:
        read()
    assert caught.value.code == "changed"


@pytest.mark.parametrize("name", ["note.txt", "note.jpg.json", "table.jsonl", "shard.tar"])
def test_a_pipe_in_place_of_a_file(tmp_path: Path, name: str) -> None:
    """It is reported, and nobody waits for what may come out of it."""
    folder = tmp_path / "files"
    a_picture(folder / "note.jpg", "red")
    os.mkfifo(folder / name)
    summaries: list[RunSummary] = []
    run = threading.Thread(
        target=lambda: summaries.append(run_index(tmp_path / "library", folder)), daemon=True
    )
    run.start()
    run.join(60)
    assert summaries, "the run waits for the pipe"
    assert summaries[0].counts.indexed == 1
    assert [(f.path, f.code) for f in summaries[0].failures] == [
        (str(folder / name), "unsupported")
    ]


def thumbnails(library: Path) -> int:
    return sum(1 for path in (library / "thumbnails").rglob("*") if path.is_file())


def test_thumbnails_leave_with_their_sources(tmp_path: Path) -> None:
    """When a file is pruned, replaced, or its source deleted; not while a copy needs them."""
    folder = tmp_path / "files"
    pictures = [a_picture(folder / f"{n}.png", (n * 60, 0, 0)) for n in range(4)]
    a_picture(folder / "copy.png", (0, 0, 0))
    library = tmp_path / "library"
    run_index(library, folder)
    assert thumbnails(library) == 4
    pictures[0].unlink()
    run_index(library, folder, prune=True)
    assert thumbnails(library) == 4
    pictures[1].unlink()
    run_index(library, folder, prune=True)
    assert thumbnails(library) == 3
    a_picture(pictures[2], "white")
    run_index(library, folder)
    assert thumbnails(library) == 3
    with open_fake(library) as engine:
        for source in engine.library.store.sources.list(limit=100):
            engine.library.delete_source(source.id)
    assert thumbnails(library) == 0
