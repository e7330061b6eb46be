"""A seccomp filter: the system calls that a decoding worker may still make (x86-64 and ARM64).

Everything that is not listed fails with EPERM, so libraries see an ordinary error. Some calls are
allowed only with certain arguments: files are opened read-only, `clone` makes threads and no
processes, no writable file mapping is shared, limits are those of this process. The numbers are
from the kernel's `asm/unistd_64.h` and `asm-generic/unistd.h`, the flags from its `uapi` headers.

The filter is classic BPF (https://docs.kernel.org/userspace-api/seccomp_filter.html), made here: a
table is shorter than a binding to libseccomp, whose library is not on every machine.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER, _ALL_THREADS = 1, 1
_ALLOW, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_X32 = 0x40000000
"""Bit of the system calls of another ABI of x86-64."""

_WRITING = (
    os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | getattr(os, "O_TMPFILE", 0)
) & ~getattr(os, "O_DIRECTORY", 0)
_CLONE_THREAD, _CLONE_NEW = 0x00010000, 0x7E020080
"""The flag of threads, and those of new namespaces."""
_MAP_SHARED, _PROT_WRITE = 0x01, 0x02
_HARMLESS_FCNTL = (0, 1, 2, 3, 4, 1030, 1031, 1032)
"""F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL F_DUPFD_CLOEXEC F_SETPIPE_SZ F_GETPIPE_SZ. Not
F_SETOWN, which sends signals to other processes."""
_HARMLESS_IOCTL = (0x5401, 0x5413, 0x541B, 0x5450, 0x5451)
"""TCGETS TIOCGWINSZ FIONREAD FIONCLEX FIOCLEX."""
_HARMLESS_PRCTL = (15, 16)
"""PR_SET_NAME PR_GET_NAME: names of threads."""

_X86_64 = {
    "read": 0, "pread64": 17, "readv": 19, "futex": 202, "newfstatat": 262, "brk": 12,
    "lseek": 8, "rt_sigprocmask": 14, "close": 3, "munmap": 11, "madvise": 28, "writev": 20,
    "write": 1, "fstat": 5, "statx": 332, "stat": 4, "lstat": 6, "access": 21,
    "faccessat": 269, "faccessat2": 439, "readlink": 89, "readlinkat": 267, "getdents64": 217,
    "getcwd": 79, "statfs": 137, "fstatfs": 138, "fadvise64": 221, "preadv": 295,
    "preadv2": 327, "close_range": 436, "dup": 32, "dup2": 33, "dup3": 292, "pipe2": 293,
    "eventfd2": 290, "poll": 7, "ppoll": 271, "select": 23, "pselect6": 270,
    "epoll_create1": 291, "epoll_ctl": 233, "epoll_wait": 232, "epoll_pwait": 281,
    "mremap": 25, "mprotect": 10, "mbind": 237, "get_mempolicy": 239, "mincore": 27,
    "membarrier": 324, "set_robust_list": 273, "rseq": 334, "sched_yield": 24,
    "sched_getaffinity": 204, "sched_get_priority_max": 146, "sched_get_priority_min": 147,
    "getcpu": 309, "rt_sigaction": 13, "rt_sigreturn": 15, "rt_sigpending": 127,
    "rt_sigtimedwait": 128, "sigaltstack": 131, "restart_syscall": 219, "alarm": 37,
    "setitimer": 38, "getitimer": 36, "clock_gettime": 228, "clock_getres": 229,
    "clock_nanosleep": 230, "nanosleep": 35, "gettimeofday": 96, "time": 201, "times": 100,
    "getrusage": 98, "sysinfo": 99, "uname": 63, "getpid": 39, "getppid": 110, "gettid": 186,
    "getuid": 102, "geteuid": 107, "getgid": 104, "getegid": 108, "getgroups": 115,
    "getresuid": 118, "getresgid": 120, "getpgrp": 111, "getrlimit": 97, "setrlimit": 160,
    "getrandom": 318, "umask": 95, "set_tid_address": 218, "arch_prctl": 158, "exit": 60,
    "exit_group": 231, "open": 2, "openat": 257, "mmap": 9, "clone": 56, "clone3": 435,
    "prlimit64": 302, "tgkill": 234, "prctl": 157, "fcntl": 72, "ioctl": 16, "recvmsg": 47,
    "seccomp": 317,
}  # fmt: skip
_AARCH64 = {
    "read": 63, "pread64": 67, "readv": 65, "futex": 98, "newfstatat": 79, "brk": 214,
    "lseek": 62, "rt_sigprocmask": 135, "close": 57, "munmap": 215, "madvise": 233,
    "writev": 66, "write": 64, "fstat": 80, "statx": 291, "faccessat": 48, "faccessat2": 439,
    "readlinkat": 78, "getdents64": 61, "getcwd": 17, "statfs": 43, "fstatfs": 44,
    "fadvise64": 223, "preadv": 69, "preadv2": 286, "close_range": 436, "dup": 23, "dup3": 24,
    "pipe2": 59, "eventfd2": 19, "ppoll": 73, "pselect6": 72, "epoll_create1": 20,
    "epoll_ctl": 21, "epoll_pwait": 22, "mremap": 216, "mprotect": 226, "mbind": 235,
    "get_mempolicy": 236, "mincore": 232, "membarrier": 283, "set_robust_list": 99,
    "rseq": 293, "sched_yield": 124, "sched_getaffinity": 123, "sched_get_priority_max": 125,
    "sched_get_priority_min": 126, "getcpu": 168, "rt_sigaction": 134, "rt_sigreturn": 139,
    "rt_sigpending": 136, "rt_sigtimedwait": 137, "sigaltstack": 132, "restart_syscall": 128,
    "setitimer": 103, "getitimer": 102, "clock_gettime": 113, "clock_getres": 114,
    "clock_nanosleep": 115, "nanosleep": 101, "gettimeofday": 169, "times": 153,
    "getrusage": 165, "sysinfo": 179, "uname": 160, "getpid": 172, "getppid": 173,
    "gettid": 178, "getuid": 174, "geteuid": 175, "getgid": 176, "getegid": 177,
    "getgroups": 158, "getresuid": 148, "getresgid": 150, "getrlimit": 163, "setrlimit": 164,
    "getrandom": 278, "umask": 166, "set_tid_address": 96, "exit": 93, "exit_group": 94,
    "openat": 56, "mmap": 222, "clone": 220, "clone3": 435, "prlimit64": 261, "tgkill": 131,
    "prctl": 167, "fcntl": 25, "ioctl": 29, "recvmsg": 212, "seccomp": 277,
}  # fmt: skip
_MACHINES = {"x86_64": (0xC000003E, _X86_64), "aarch64": (0xC00000B7, _AARCH64)}

Line = tuple[int, int, int, int]
"""(code, jump if true, jump if false, value) of one BPF instruction."""


def available() -> bool:
    """Whether there is a filter for this system and architecture, and the kernel takes filters."""
    return _known_system() and "Seccomp:" in Path("/proc/self/status").read_text("ascii", "replace")


def _known_system() -> bool:
    return sys.platform == "linux" and platform.machine() in _MACHINES and sys.maxsize > 2**32


def restrict_system_calls() -> bool:
    """Install the filter for all threads of this process, for good.

    False on another system or architecture, or where the kernel refuses.
    """
    if not _known_system():
        return False
    architecture, numbers = _MACHINES[platform.machine()]
    program = b"".join(struct.pack("HBBI", *line) for line in _program(architecture, numbers))

    class Fprog(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    argument = Fprog(len(program) // 8, program)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    installed = libc.syscall(
        ctypes.c_long(numbers["seccomp"]),
        _SECCOMP_SET_MODE_FILTER,
        _ALL_THREADS,
        ctypes.byref(argument),
    )
    return bool(installed == 0)


def _program(architecture: int, numbers: dict[str, int]) -> list[Line]:
    rules = _rules()
    lines = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _EPERM),  # the system calls of another ABI
        (_LOAD, 0, 0, 0),
        (_GREATER, 0, 1, _X32),
        (_RETURN, 0, 0, _EPERM),
    ]
    for name, number in numbers.items():
        if name == "seccomp":
            continue
        body = rules.get(name, [(_RETURN, 0, 0, _ALLOW)])
        lines += [(_EQUAL, 0, len(body), number), *body]
    return [*lines, (_RETURN, 0, 0, _EPERM)]


def _rules() -> dict[str, list[Line]]:
    """The calls that are allowed with certain arguments only, each with its own instructions."""
    return {
        "open": _without_bits(1, _WRITING),
        "openat": _without_bits(2, _WRITING),
        # Shared mappings are fine to read from, and private ones to write to.
        "mmap": [
            (_LOAD, 0, 0, _low(3)),
            (_ANY_BIT, 0, 3, _MAP_SHARED),
            (_LOAD, 0, 0, _low(2)),
            (_ANY_BIT, 0, 1, _PROT_WRITE),
            (_RETURN, 0, 0, _EPERM),
            (_RETURN, 0, 0, _ALLOW),
        ],
        "clone": [
            (_LOAD, 0, 0, _low(0)),
            (_ANY_BIT, 0, 2, _CLONE_THREAD),
            (_ANY_BIT, 1, 0, _CLONE_NEW),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _EPERM),
        ],
        # Its flags are behind a pointer, out of reach of a filter: libc falls back to `clone`.
        "clone3": [(_RETURN, 0, 0, _ENOSYS)],
        "prlimit64": _one_of(0, (0,)),
        "tgkill": _one_of(0, (os.getpid(),)),
        "prctl": _one_of(0, _HARMLESS_PRCTL),
        "fcntl": _one_of(1, _HARMLESS_FCNTL),
        "ioctl": _one_of(1, _HARMLESS_IOCTL),
        "recvmsg": _one_of(0, (0,)),  # descriptors come on standard input
    }


def _low(argument: int) -> int:
    """Offset of the low half of an argument in `struct seccomp_data` (little endian)."""
    return 16 + 8 * argument


def _without_bits(argument: int, bits: int) -> list[Line]:
    return [
        (_LOAD, 0, 0, _low(argument)),
        (_ANY_BIT, 1, 0, bits),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _EPERM),
    ]


def _one_of(argument: int, values: Sequence[int]) -> list[Line]:
    compare = [(_EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
    return [
        (_LOAD, 0, 0, _low(argument)),
        *compare,
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
