"""Following folders: half-written files wait, what is gone is let go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from indexer.watch import FolderWatch, Settling
from mmsearch.errors import NotFoundError
from mmsearch.search.engine import SearchEngine
from tests.support.fakes import a_picture, open_fake, some_files


def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def names(engine: SearchEngine) -> set[str]:
    return {Path(source.path).name for source in engine.library.store.sources.list(limit=1000)}


@contextmanager
def following(engine: SearchEngine, *folders: Path, **options: object) -> Iterator[FolderWatch]:
    runs: list[object] = []
    watch = FolderWatch(
        engine.library,
        folders,
        settle_seconds=0.5,
        on_run=runs.append,
        **options,  # type: ignore[arg-type]
    )
    thread = threading.Thread(target=watch.run)
    thread.start()
    eventually(lambda: bool(runs))  # the first comparison
    try:
        yield watch
    finally:
        watch.end()
        thread.join(30)
        assert not thread.is_alive()


def test_what_happens_in_a_folder_happens_in_the_library(tmp_path: Path) -> None:
    folder = some_files(tmp_path / "files")
    with open_fake(folder / "library", workers=1) as engine, following(engine, folder):
        assert names(engine) == {"red.png", "green.png", "blue.png", "boats.txt", "tea.md"}
        (folder / "new.txt").write_text("Something new.")
        a_picture(folder / "deep" / "er" / "cyan.png", "cyan")
        (folder / ".hidden.txt").write_text("not this")
        (folder / "boats.txt").unlink()
        (folder / "tea.md").rename(folder / "coffee.md")
        wanted = {"red.png", "green.png", "blue.png", "new.txt", "cyan.png", "coffee.md"}
        eventually(lambda: names(engine) == wanted)
        (folder / "new.txt").write_text("Other words entirely.")
        eventually(lambda: _text(engine, "new.txt") == "Other words entirely.")
        for path in (folder / "pictures").iterdir():
            path.unlink()
        (folder / "pictures").rmdir()
        eventually(lambda: names(engine) == {"new.txt", "cyan.png", "coffee.md"})
        assert engine.library.status(verify=True)["verify"]["ok"]


def _text(engine: SearchEngine, name: str) -> str | None:
    for source in engine.library.store.sources.list(limit=100):
        if Path(source.path).name == name:
            return engine.library.store.segments.of_source(source.id)[0].text
    return None


def test_patterns_sidecars_and_half_written_files(tmp_path: Path) -> None:
    """A file that grows is not touched before it stands still; a sidecar renews its owner."""
    folder = tmp_path / "files"
    picture = a_picture(folder / "a.png", "red")
    with (
        open_fake(tmp_path / "library", workers=1) as engine,
        following(engine, folder, exclude=["*.tmp", "drafts/"]),
    ):
        (folder / "drafts").mkdir()
        (folder / "drafts" / "x.txt").write_text("no")
        (folder / "x.tmp").write_text("no")
        content = picture.read_bytes()
        with (folder / "slow.png").open("wb") as file:
            for start in range(0, len(content), max(1, len(content) // 6)):
                file.write(content[start : start + max(1, len(content) // 6)])
                file.flush()
                time.sleep(0.2)
                assert "slow.png" not in names(engine)
        (folder / "a.png.json").write_text('{"caption": "a door"}')
        eventually(lambda: names(engine) == {"a.png", "slow.png"})
        eventually(lambda: _text(engine, "a.png") == "a door")
        assert engine.library.store.status.counts()["failed"] == 0


def test_settling(tmp_path: Path) -> None:
    """A path is ready when it has stood still for long enough, once."""
    now = [0.0]
    settling = Settling(2.0, clock=lambda: now[0])
    path = tmp_path / "a"
    path.write_text("x")
    settling.touch(str(path))
    now[0] = 1.9
    assert settling.settled() == []
    path.write_text("xy")
    now[0] = 2.1
    assert settling.settled() == []  # it has changed just now
    now[0] = 4.2
    assert settling.settled() == [str(path)]
    assert settling.settled() == []
    settling.touch(str(tmp_path / "gone"))
    now[0] = 7.0
    assert settling.settled() == [str(tmp_path / "gone")]
    assert len(settling) == 0


def test_only_folders_can_be_followed(tmp_path: Path) -> None:
    with open_fake(tmp_path / "library") as engine, pytest.raises(NotFoundError, match="to watch"):
        FolderWatch(engine.library, [tmp_path / "nope"])
