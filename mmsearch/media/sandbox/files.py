"""Opening the files that a decoding worker is to read. Runs in the parent process."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mmsearch.errors import MediaError
from mmsearch.media.companions import subtitle_files
from mmsearch.media.sandbox.wire import MAX_DESCRIPTORS


def open_regular(path: str) -> int:
    """A descriptor of a regular file, for reading. Raises MediaError: missing, unreadable,
    unsupported (pipes and devices: opening them may block, or do something)."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  # may hold undecodable bytes
            raise MediaError("unsupported", "This is not a regular file.")
        # The file may have been replaced since: no pipe blocks, and the descriptor is checked.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        raise MediaError("missing", "There is no such file.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is not valid"
        raise MediaError("unreadable", f"The file cannot be read: {reason}.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise MediaError("unsupported", "This is not a regular file.")
    return descriptor


def open_companions(path: str) -> tuple[list[int], list[str]]:
    """Descriptors and names of the files that go with a film; those that open."""
    descriptors: list[int] = []
    names: list[str] = []
    for companion in subtitle_files(Path(path)):
        if len(descriptors) == MAX_DESCRIPTORS:
            break
        try:
            descriptors.append(open_regular(os.fspath(companion)))
        except MediaError:
            continue
        names.append(companion.name)
    return descriptors, names
