"""Whether a folder is there: an unmounted disk looks like an emptied folder.

The devices of folders are recorded in the library (`devices.json`): those of the folders that
were named, and of the mount points below them. They belong to one machine, not to the database.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection as AnyCollection
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePath

from indexer.inputs.walk import is_left_out

logger = logging.getLogger(__name__)

RECORD = "devices.json"


class Devices:
    """Device numbers (`st_dev`) of folders as earlier runs saw them, by absolute path."""

    def __init__(self, library: Path) -> None:
        self._file = library / RECORD
        self._recorded = _read(self._file)

    def save(self, devices: Mapping[str, int], accepted: AnyCollection[str] = ()) -> None:
        """Add folders to the record. What it has of a folder is replaced only if that is
        `accepted`. A library that cannot be written keeps the old record."""
        added = {
            folder: device
            for folder, device in devices.items()
            if folder not in self._recorded or folder in accepted
        }
        if not added:
            return
        self._recorded = self._recorded | added
        aside = self._file.with_suffix(f".{os.getpid()}.tmp")
        try:
            aside.write_text(json.dumps(self._recorded, sort_keys=True), "utf-8")
            aside.replace(self._file)
        except OSError as error:
            logger.warning("%s cannot be written: %s", self._file, error.strerror)
            with suppress(OSError):
                aside.unlink(missing_ok=True)

    def changed(self) -> list[str]:
        """Recorded folders in whose place another device is now, deepest first."""
        changed = []
        for folder, device in self._recorded.items():
            with suppress(OSError):
                if os.stat(existing(folder)).st_dev != device:  # noqa: PTH116
                    changed.append(folder)
        return sorted(changed, key=len, reverse=True)


class Folders:
    """Tells deleted files from files whose folder is not there. Remembers what it has looked at.

    `roots` are the folders and files that were named. A file that does not exist was deleted
    if the deepest folder above it that exists still shows other files. It was not if that folder
    shows nothing, as the place of an unmounted disk does, or cannot be listed, or lies in
    `unreadable`, or if its root is missing or reached by a link to nowhere.
    """

    def __init__(self, roots: Sequence[Path], unreadable: Iterable[str] = ()) -> None:
        self._roots = [os.fspath(root) for root in roots]
        self._missing = [root for root in self._roots if _is_missing(root)]
        self._unreadable = frozenset(unreadable)
        self._reasons: dict[str, str | None] = {}

    def reason_kept(self, path: str) -> tuple[str, str] | None:
        """(folder, why it seems not to be there) for a path that does not exist; None if the
        path was deleted."""
        for root in self._missing:
            if is_below(path, root):
                return root, "is missing"
        parent = os.path.dirname(path)  # noqa: PTH120  # may hold undecodable bytes
        try:
            folder = existing(parent)
        except OSError as error:
            return parent, f"cannot be read ({error.strerror})"
        if folder != parent:
            link = os.path.join(folder, PurePath(parent).parts[len(PurePath(folder).parts)])  # noqa: PTH118
            if os.path.islink(link):  # noqa: PTH114
                return link, "is a link to a folder that is missing"
        reason = self._reason(folder)
        if reason is None:
            return None
        # The topmost folder of which the same is true says most.
        above = os.path.dirname(folder)  # noqa: PTH120
        while self._is_below_root(above) and self._reason(above) == reason:
            folder, above = above, os.path.dirname(above)  # noqa: PTH120
        return folder, reason

    def _is_below_root(self, folder: str) -> bool:
        return any(is_below(folder, root) for root in self._roots)

    def _reason(self, folder: str) -> str | None:
        if folder not in self._reasons:
            self._reasons[folder] = self._reason_of(folder)
        return self._reasons[folder]

    def _reason_of(self, folder: str) -> str | None:
        if any(is_below(folder, other) for other in self._unreadable):
            return "cannot be read"
        try:
            return None if _shows_files(folder) else "is empty"
        except OSError as error:
            return f"cannot be read ({error.strerror})"


def _is_missing(path: str) -> bool:
    try:
        os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def existing(path: str) -> str:
    """The path itself or the deepest folder above it that exists. Raises OSError, but not because
    something is missing."""
    while True:
        try:
            os.stat(path)  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            parent = os.path.dirname(path)  # noqa: PTH120
            if parent == path:
                raise
            path = parent
        else:
            return path


def is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it. Both are absolute."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _shows_files(folder: str) -> bool:
    """Whether a walk finds a file below. Raises OSError if the folder itself cannot be listed."""
    waiting = [folder]
    first = True
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if is_left_out(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file():
                        return True
        except OSError:
            if first:
                raise
        first = False
    return False


def _read(file: Path) -> dict[str, int]:
    try:
        recorded = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be read: %s", file, error)
        return {}
    if not isinstance(recorded, dict):
        return {}
    return {folder: device for folder, device in recorded.items() if isinstance(device, int)}
