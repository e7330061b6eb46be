"""The first stage: which files there are, before any of them is opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from mmsearch.stores.places import AnyPath, display_path, local_path, uri_of
from mmsearch.types import SourceFile

__all__ = [
    "AnyPath",
    "Globs",
    "WalkProblem",
    "WalkRecord",
    "display_path",
    "is_left_out",
    "local_path",
    "reaches",
    "uri_of",
    "walk",
]

_VERSION_CONTROL = frozenset(("CVS", "_darcs", "RCS", "SCCS"))  # those whose name is not hidden
_SYSTEM = frozenset(
    (
        # Recycle bins: Windows, Synology, QNAP, Samba
        "$recycle.bin", "recycler", "#recycle", "@recycle", "network trash folder",
        # Thumbnails and indexes: Windows, Synology, QNAP, Picasa
        "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "zbthumbnail.info", "@eadir",
        "picasa.ini", "desktop.ini", "indexervolumeguid",
        # Snapshots, file systems, memory
        "#snapshot", "@recently-snapshot", "system volume information", "lost+found",
        "pagefile.sys", "swapfile.sys", "hiberfil.sys",
        # macOS: resource forks of archives, icons of folders, temporary files
        "__macosx", "icon\r", "temporary items",
    )
)  # fmt: skip
"""Files and folders that systems make for themselves, in lower case."""
_SPECIAL = "This is neither a file nor a folder."
_SYSTEM_ENDS = (".aae",)
"""Recipes of edits that iOS writes beside a photo."""


@dataclass(frozen=True, slots=True)
class WalkProblem:
    """A path that could not be walked."""

    path: str
    code: str
    """missing, unreadable or unsupported."""
    reason: str


@dataclass(slots=True)
class WalkRecord:
    """What a walk has learnt about folders, by absolute path."""

    devices: dict[str, int] = field(default_factory=dict)
    """`st_dev` of the folders that were named, and of those below on another device than the
    folder that holds them: mount points."""
    unreadable: set[str] = field(default_factory=set)
    """Paths that could not be looked at or listed."""


def walk(
    paths: Sequence[AnyPath],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    skip: Sequence[AnyPath] = (),
    on_problem: Callable[[WalkProblem], None] | None = None,
    record: WalkRecord | None = None,
) -> Iterator[SourceFile]:
    """The regular files at and below `paths`, each once, in an order that depends on names only.

    Left out: hidden files and folders, those of version control, and those that systems make for
    themselves, as recycle bins and thumbnails (unless `paths` names them), the folders `skip`,
    what matches `exclude` and, if there are any, what does not match `include`: glob patterns as
    in .gitignore, relative to the folder in `paths`. Links to files and folders are followed, but
    never to what the walk reaches anyway. Problems are reported and the walk goes on; what it
    learns about folders is added to `record`.
    """
    walker = _Walker(
        [os.path.abspath(os.fspath(path)) for path in paths],  # noqa: PTH100  # not resolved
        Globs(include, exclude),
        frozenset(os.path.realpath(os.fspath(path)) for path in skip),
        on_problem or (lambda _: None),
        record or WalkRecord(),
    )
    return walker.files()


class Globs:
    """Which paths are wanted, relative to what was named."""

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        from pathspec import GitIgnoreSpec

        self._include = GitIgnoreSpec.from_lines(include) if include else None
        self._exclude = GitIgnoreSpec.from_lines(exclude) if exclude else None

    def wants_file(self, relative: str) -> bool:
        """Whether a file is."""
        name = display_path(relative)
        if self._exclude is not None and self._exclude.match_file(name):
            return False
        return self._include is None or self._include.match_file(name)

    def wants_folder(self, relative: str) -> bool:
        """Whether a folder is looked into."""
        return self._exclude is None or not self._exclude.match_file(display_path(relative) + "/")


@dataclass(frozen=True, slots=True)
class _Folder:
    path: str
    root: str
    """The given folder that it was reached from."""
    relative: str
    """To the root; "" for the root itself."""
    parent_device: int | None = None
    """Of the folder that holds it; None for a root, and for a link."""


class _Walker:
    def __init__(
        self,
        roots: Sequence[str],
        globs: Globs,
        skip: frozenset[str],
        report: Callable[[WalkProblem], None],
        record: WalkRecord,
    ) -> None:
        self._roots = roots
        self._globs = globs
        self._skip = skip
        self._report = report
        self._record = record
        self._visited: set[tuple[int, int]] = set()
        # Links to folders come last: what can be reached without one keeps its own name.
        self._links: list[_Folder] = []

    def files(self) -> Iterator[SourceFile]:
        for root in dict.fromkeys(self._roots):
            try:
                status = os.stat(root)  # noqa: PTH116
            except FileNotFoundError:
                self._problem(root, "missing", "There is no such file or folder.")
                continue
            except (OSError, ValueError) as error:
                self._problem(root, "unreadable", _reason(error))
                continue
            if stat.S_ISDIR(status.st_mode):
                yield from self._below(_Folder(root, root, ""))
            elif not stat.S_ISREG(status.st_mode):
                self._problem(root, "unsupported", _SPECIAL)
            elif self._globs.wants_file(
                os.path.basename(root)  # noqa: PTH119
            ) and not self._inside_another(root):
                yield _source(root, status)
        while self._links:
            yield from self._below(self._links.pop(0))

    def _inside_another(self, path: str) -> bool:
        """Whether a file named in `paths` also lies in a folder named there."""
        return any(
            path.startswith(root + os.sep) and self._reaches(path, root) for root in self._roots
        )

    def _below(self, top: _Folder) -> Iterator[SourceFile]:
        # Newest first, so pushed in reverse: depth first in the order of names, without
        # recursion, however deep the folders.
        stack: list[_Folder | os.DirEntry[str]] = [top]
        folders: dict[str, tuple[_Folder, int]] = {}
        while stack:
            item = stack.pop()
            if isinstance(item, _Folder):
                entries, device = self._entries(item)
                for entry in entries:
                    folders[entry.path] = item, device
                    stack.append(entry)
                continue
            reached = self._look(item, *folders.pop(item.path))
            if isinstance(reached, _Folder):
                stack.append(reached)
            elif reached is not None:
                yield reached

    def _entries(self, folder: _Folder) -> tuple[list[os.DirEntry[str]], int]:
        """(what is in a folder, last name first, its device); nothing is in it if it was visited
        before."""
        try:
            status = os.stat(folder.path)  # noqa: PTH116
            key = (status.st_dev, status.st_ino)
            if key in self._visited or (self._skip and os.path.realpath(folder.path) in self._skip):
                return [], status.st_dev
            self._visited.add(key)
            if status.st_dev != folder.parent_device:
                self._record.devices[folder.path] = status.st_dev
            with os.scandir(folder.path) as entries:
                visible = [entry for entry in entries if not is_left_out(entry.name)]
        except FileNotFoundError:
            return [], 0  # it went away meanwhile
        except OSError as error:
            self._problem(folder.path, "unreadable", _reason(error))
            return [], 0
        visible.sort(key=lambda entry: os.fsencode(entry.name), reverse=True)
        return visible, status.st_dev

    def _look(
        self, entry: os.DirEntry[str], parent: _Folder, device: int
    ) -> _Folder | SourceFile | None:
        relative = f"{parent.relative}/{entry.name}" if parent.relative else entry.name
        try:
            if entry.is_dir():
                if not self._globs.wants_folder(relative):
                    return None
                if entry.is_symlink():
                    self._links.append(_Folder(entry.path, parent.root, relative))
                    return None
                return _Folder(entry.path, parent.root, relative, device)
            if not self._globs.wants_file(relative):
                return None
            if not entry.is_file():
                if os.path.exists(entry.path):  # noqa: PTH110  # not a link to nowhere
                    self._problem(entry.path, "unsupported", _SPECIAL)
                return None
            if entry.is_symlink() and self._reached_anyway(entry.path):
                return None
            return _source(entry.path, entry.stat())
        except FileNotFoundError:
            return None
        except OSError as error:
            self._problem(entry.path, "unreadable", _reason(error))
            return None

    def _reached_anyway(self, link: str) -> bool:
        """Whether the walk comes to a link's target by its own name."""
        target = os.path.realpath(link)
        return any(
            target.startswith(os.path.realpath(root) + os.sep)
            and self._reaches(target, os.path.realpath(root))
            for root in self._roots
        )

    def _reaches(self, path: str, root: str) -> bool:
        return reaches(path, root, self._globs)

    def _problem(self, path: str, code: str, reason: str) -> None:
        if code == "unreadable":
            self._record.unreadable.add(path)
        self._report(WalkProblem(display_path(path), code, reason))


def reaches(path: str, root: str, globs: Globs) -> bool:
    """Whether a walk of `root` comes to `path`, which lies below it, by its own name."""
    parts = PurePath(os.path.relpath(path, root)).parts
    folders = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
    return (
        not any(map(is_left_out, parts))
        and all(map(globs.wants_folder, folders))
        and globs.wants_file("/".join(parts))
    )


def is_left_out(name: str) -> bool:
    """Whether what has this name is left out where it is found in a folder: it is hidden, belongs
    to version control, or was made by a system or an office program for itself."""
    if name.startswith((".", "~$")):
        return True
    lower = name.lower()
    return name in _VERSION_CONTROL or lower in _SYSTEM or lower.endswith(_SYSTEM_ENDS)


def _reason(error: Exception) -> str:
    detail = error.strerror if isinstance(error, OSError) else str(error)
    return f"It cannot be read: {detail}."


def _source(path: str, status: os.stat_result) -> SourceFile:
    return SourceFile(
        uri_of(path),
        display_path(path),
        status.st_size,
        status.st_mtime_ns,
        0 if os.name == "nt" else status.st_ctime_ns,  # there it is the time of creation
    )
