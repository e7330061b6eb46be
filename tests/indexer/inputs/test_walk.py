"""The walk: every file once, whatever its name, whatever is in the way."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from indexer.inputs.walk import WalkProblem, walk
from mmsearch.stores.places import display_path, local_path, uri_of


def tree(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def found(root: Path, paths: Sequence[Path] | None = None, **options: Any) -> list[str]:
    files = walk(paths or [root], **options)
    return [os.path.relpath(local_path(file.uri), root) for file in files]


def test_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    tree(tmp_path, "b.txt", "a/z.txt", "a/b/c.txt", "a.txt", "c/d.txt")
    assert found(tmp_path) == ["a/b/c.txt", "a/z.txt", "a.txt", "b.txt", "c/d.txt"]
    (first, *_) = walk([tmp_path])
    assert first.size == len("a/b/c.txt")
    assert first.mtime_ns == (tmp_path / "a/b/c.txt").stat().st_mtime_ns
    assert first.path == str(tmp_path / "a/b/c.txt")


def test_hidden_and_version_control_are_left_out(tmp_path: Path) -> None:
    tree(tmp_path, "a.txt", ".hidden", ".git/config", "CVS/Root", "x/.y/z.txt", "_darcs/p")
    assert found(tmp_path) == ["a.txt"]
    assert found(tmp_path, [tmp_path / ".git"]) == [".git/config"]
    assert found(tmp_path, [tmp_path / ".hidden"]) == [".hidden"]


def test_globs(tmp_path: Path) -> None:
    tree(tmp_path, "a.jpg", "b.txt", "cache/c.jpg", "x/d.jpg", "x/cache/e.jpg", "x/f.png")
    assert found(tmp_path, include=["*.jpg"]) == [
        "a.jpg",
        "cache/c.jpg",
        "x/cache/e.jpg",
        "x/d.jpg",
    ]
    assert found(tmp_path, include=["*.jpg"], exclude=["cache/"]) == ["a.jpg", "x/d.jpg"]
    assert found(tmp_path, include=["/x/**"], exclude=["*.png", "!f.png"]) == [
        "x/cache/e.jpg", "x/d.jpg", "x/f.png",
    ]  # fmt: skip


def test_folders_to_skip(tmp_path: Path) -> None:
    tree(tmp_path, "a.txt", "library/thumbnails/b.jpg")
    assert found(tmp_path, skip=[tmp_path / "library"]) == ["a.txt"]


def test_each_file_once(tmp_path: Path) -> None:
    tree(tmp_path, "a/b.txt", "a/c/d.txt")
    paths = [tmp_path / "a/b.txt", tmp_path / "a", tmp_path / "a/c", tmp_path, tmp_path]
    assert sorted(found(tmp_path, paths)) == ["a/b.txt", "a/c/d.txt"]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    tree(inside, "z/a.txt", ".store/kept.jpg")
    tree(outside, "b.txt", "deep/c.txt")
    (inside / "aa_loop").symlink_to(inside)
    (inside / "aa_same").symlink_to(inside / "z")
    (inside / "z/up").symlink_to(tmp_path / "inside")
    (inside / "other").symlink_to(outside)
    (outside / "back").symlink_to(inside)
    (inside / "file").symlink_to(inside / "z/a.txt")
    (inside / "kept.jpg").symlink_to(inside / ".store/kept.jpg")
    (inside / "nowhere").symlink_to(tmp_path / "gone")
    (inside / "self").symlink_to(inside / "self")
    problems: list[WalkProblem] = []
    names = found(inside, on_problem=problems.append)
    assert names == ["kept.jpg", "z/a.txt", "other/b.txt", "other/deep/c.txt"]
    assert [problem.code for problem in problems] in ([], ["unreadable"])


def test_pipes_sockets_and_devices_are_left_out(tmp_path: Path) -> None:
    tree(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket"))
        assert found(tmp_path) == ["a.txt"]
    problems: list[WalkProblem] = []
    assert list(walk([tmp_path / "pipe"], on_problem=problems.append)) == []
    assert [problem.code for problem in problems] == ["unsupported"]


def test_problems_are_reported_and_the_walk_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, "a/1.txt", "b/2.txt", "c/3.txt")
    real = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("/b"):  # a folder without rights, also for root
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    problems: list[WalkProblem] = []
    names = found(tmp_path, [tmp_path / "gone", tmp_path], on_problem=problems.append)
    assert names == ["a/1.txt", "c/3.txt"]
    assert [(p.path, p.code) for p in problems] == [
        (str(tmp_path / "gone"), "missing"),
        (str(tmp_path / "b"), "unreadable"),
    ]
    assert problems[1].reason == "It cannot be read: Permission denied."


NAMES = [
    b"plain.txt", b"with space.txt", b"-rf.txt", b"new\nline.txt", b"100%.txt", b"a#b?c.txt",
    b"quote'\".txt", b"caf\xe9.txt", b"\xff\xfe.txt", "写真 🌍.txt".encode(),
    "\u202eabc.txt".encode(),
]  # fmt: skip


def test_any_name_survives(tmp_path: Path) -> None:
    for name in NAMES:
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as made:  # noqa: PTH123  # bytes
            made.write(name)
    files = list(walk([tmp_path]))
    assert len(files) == len(NAMES)
    seen = []
    for file in files:
        assert file.uri.isascii()
        assert file.uri.startswith("file:///")
        json.dumps(file.path, ensure_ascii=False).encode()
        path = local_path(file.uri)
        assert uri_of(path) == file.uri
        with open(path, "rb") as content:  # noqa: PTH123
            seen.append(content.read())
    assert seen == sorted(NAMES)
    assert display_path(os.fsdecode(b"/caf\xe9")) == "/caf\\xe9"


@pytest.mark.parametrize("uri", ["http://host/a", "file://host/a", "a.txt", "s3://bucket/key"])
def test_only_local_files_have_a_path(uri: str) -> None:
    with pytest.raises(ValueError, match="not the URI of a local file"):
        local_path(uri)


def test_a_folder_of_great_depth(tmp_path: Path) -> None:
    path = tmp_path
    for _ in range(300):
        path /= "deep"
    path.mkdir(parents=True)
    (path / "end.txt").write_text("end")
    assert len(list(walk([tmp_path]))) == 1


@pytest.mark.parametrize(
    "name",
    [
        "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "#recycle/old.txt", "$RECYCLE.BIN/$R1.txt",
        "$Recycle.Bin/S-1-5/x.txt", "System Volume Information/tracking.log", "lost+found/1.txt",
        ".Trash-1000/files/a.txt", ".Trashes/501/a.txt", ".thumbnails/normal/a.png", ".DS_Store",
        "Thumbs.db", "thumbs.db", "ehthumbs.db", "desktop.ini", "Desktop.ini", "._a.jpg",
        "~$Report.docx", ".~lock.Report.odt#", "IMG_9.AAE", "__MACOSX/._a.txt", "Icon\r",
        ".git/config", "@Recycle/a.txt",
    ],
)  # fmt: skip
def test_what_systems_make_for_themselves_is_left_out(tmp_path: Path, name: str) -> None:
    """Where it is found in a folder or a folder below; named, it is taken."""
    for folder in (tmp_path, tmp_path / "deep" / "er"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    (tmp_path / "kept.txt").write_text("x")
    assert found(tmp_path) == ["kept.txt"]
    assert found(tmp_path, [tmp_path / name]) == [name]


@pytest.mark.parametrize(
    "name", ["node_modules/a.js", "recycled/bottle.jpg", "cvs/ada.pdf", "My $RECYCLE.BIN/a.txt"]
)
def test_ordinary_names_are_not_left_out(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text("x")
    assert found(tmp_path) == [name]
