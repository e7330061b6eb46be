"""Landlock: a process restricts which files it may read, for good (Linux 5.13 and later).

System calls and structures are those of the kernel's `include/uapi/linux/landlock.h`, documented
in https://docs.kernel.org/userspace-api/landlock.html. Each version of the kernel's ABI knows more
access rights; all that the running kernel knows are handled, and only reading is granted.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""The same numbers on every architecture."""
_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Number of file access rights by ABI version; later versions have those of 5 or more."""
_NETWORK_RIGHTS = 0b11
"""Binding and connecting TCP sockets, from ABI 4 on."""
_SCOPES = 0b11
"""Abstract Unix sockets and signals of processes outside, from ABI 6 on."""


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def abi_version() -> int:
    """The Landlock ABI of the running kernel; 0 without Landlock."""
    if sys.platform != "linux":
        return 0
    return max(0, _syscall(_CREATE_RULESET, None, 0, _VERSION))


def restrict_reading(paths: Iterable[Path]) -> bool:
    """Allow the calling thread and its future threads to read below `paths`, and nothing else.

    Nothing is writable afterwards. Open descriptors stay usable. False where the kernel has no
    Landlock or refuses.
    """
    version = abi_version()
    if version == 0:
        return False
    ruleset = _Ruleset((1 << _FILE_RIGHTS.get(version, 16)) - 1)
    size = 8
    if version >= 4:
        ruleset.handled_access_net, size = _NETWORK_RIGHTS, 16
    if version >= 6:
        ruleset.scoped, size = _SCOPES, 24
    descriptor = _syscall(_CREATE_RULESET, ctypes.byref(ruleset), size, 0)
    if descriptor < 0:
        return False
    try:
        for path in paths:
            if not _allow(descriptor, path):
                return False
        if ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            return False
        return _syscall(_RESTRICT_SELF, descriptor, 0) == 0
    finally:
        os.close(descriptor)


def _allow(ruleset: int, path: Path) -> bool:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return True  # what does not exist needs no rule
    try:
        rights = _READ_FILE | _READ_DIR if path.is_dir() else _READ_FILE
        rule = _PathBeneath(rights, opened)
        return _syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0) == 0
    finally:
        os.close(opened)


def _syscall(number: int, *arguments: object) -> int:
    return int(ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *arguments))
