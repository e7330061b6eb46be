"""What a decoding worker gives up for good before it opens the first file.

Memory, file sizes, core dumps and open files by resource limits; processor time by a limit that is
set anew for each step of decoding; the network, other programs and processes, and what renames or
removes files by a seccomp filter (Linux on x86-64 and ARM64). None of it can be taken back from
inside.
"""

from __future__ import annotations

import os
import platform
import struct
import sys
from contextlib import suppress

try:
    import resource
except ImportError:  # Windows has no limits to give up
    resource = None  # type: ignore[assignment]

NICENESS = 12
"""Of whatever takes files in, beside a service: a fifteenth of the processor where both want it.
With 5, a third, the median answer took half as long again while files came in."""
CPU_FACTOR = 2
"""Processor seconds a step may take, per second of the wall clock: some decoders have threads."""

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001
# From include/uapi/linux/audit.h, and the system call tables of the two.
_MACHINES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {
            "socket": 41, "connect": 42, "bind": 49, "listen": 50, "accept": 43, "accept4": 288,
            "execve": 59, "execveat": 322, "ptrace": 101, "process_vm_readv": 310,
            "process_vm_writev": 311, "io_uring_setup": 425, "bpf": 321, "mount": 165,
            "unshare": 272, "setns": 308, "keyctl": 250, "kill": 62, "pidfd_send_signal": 424,
            "unlink": 87, "unlinkat": 263, "rename": 82, "renameat": 264, "renameat2": 316,
            "rmdir": 84, "mkdir": 83, "mkdirat": 258, "truncate": 76, "chmod": 90, "fchmod": 91,
            "fchmodat": 268, "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260,
            "link": 86, "linkat": 265, "symlink": 88, "symlinkat": 266,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "socket": 198, "connect": 203, "bind": 200, "listen": 201, "accept": 202,
            "accept4": 242, "execve": 221, "execveat": 281, "ptrace": 117, "process_vm_readv": 270,
            "process_vm_writev": 271, "io_uring_setup": 425, "bpf": 280, "mount": 40,
            "unshare": 97, "setns": 268, "keyctl": 219, "kill": 129, "pidfd_send_signal": 424,
            "unlinkat": 35, "renameat": 38, "renameat2": 276, "mkdirat": 34, "truncate": 45,
            "fchmod": 52, "fchmodat": 53, "fchown": 55, "fchownat": 54, "linkat": 37,
            "symlinkat": 36,
        },
    ),
}  # fmt: skip
_X32 = 0x40000000
"""Bit of the system calls of another ABI of x86-64, which would slip past."""


def limit_resources(memory_mb: int) -> None:
    """Bound address space, files and core dumps; the hard limits too. Step behind others."""
    if resource is None:
        return
    with suppress(OSError):
        # Whoever waits for an answer of the service goes before whoever takes files in.
        os.nice(NICENESS)
    for name, value in (
        ("RLIMIT_AS", memory_mb * 2**20),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_NOFILE", 64),
    ):
        with suppress(ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (value, value))


def limit_processor(seconds: int) -> None:
    """Let the kernel end this process (SIGXCPU) after so many more processor seconds."""
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + 1 + CPU_FACTOR * seconds
    with suppress(ValueError, OSError):
        # Only the soft limit, which the next step raises: the hard one cannot be.
        resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))


def forbid_network_and_programs() -> bool:
    """From now on sockets and other programs are "not permitted"; False where that is not known
    to this machine."""
    machine = _MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None or sys.maxsize < 2**32:
        return False
    import ctypes

    program = _program(*machine)

    class Fprog(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    argument = Fprog(len(program) // 8, program)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    return not libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(argument), 0, 0)


def _program(architecture: int, calls: dict[str, int]) -> bytes:
    """Classic BPF over `struct seccomp_data`: number at 0, architecture at 4."""
    load, equal, greater, give = 0x20, 0x15, 0x35, 0x06

    def line(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    refusals = sorted(set(calls.values()))
    lines = [
        line(load, 4),
        line(equal, architecture, 0, len(refusals) + 3),  # another ABI: refused as a whole
        line(load, 0),
        line(greater, _X32, len(refusals) + 1, 0),
        # Each jumps over what is left of the list, and over the line that allows.
        *(line(equal, n, len(refusals) - at, 0) for at, n in enumerate(refusals)),
        line(give, _ALLOW),
        line(give, _EPERM),
    ]
    return b"".join(lines)
