"""What a decoding worker gives up for good before it opens the first file.

Three layers, none of which can be undone from inside:

- *limits*: address space, file size, core dumps, descriptors and threads by resource limits;
  processor time by a limit that is set anew for each step of decoding;
- *Landlock* (`landlock.py`): only the interpreter and its libraries can be read, nothing can be
  written. The file itself comes as a descriptor;
- *seccomp* (`seccomp.py`): only listed system calls are allowed.

Docs: docs/decisions/0004-decoding-in-workers.md.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mmsearch.media.sandbox import landlock, seccomp

try:
    import resource
except ImportError:  # Windows has no resource limits
    resource = None  # type: ignore[assignment]

NICENESS = 12
"""Of decoding workers and of an indexing process beside a service: a fifteenth of the processor
where both want it. With 5, a third, the median answer took half as long again during uploads."""
CPU_FACTOR = 2
"""Processor seconds a step may take, per second of the wall clock: some decoders have threads."""
SPARE_THREADS = 1024
"""Threads that may exist for the same user beyond those at the start of the worker."""

_PR_SET_DUMPABLE = 4
_SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
_SYSTEM_FILES = (
    "/etc/ld.so.cache", "/dev/null", "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo",
    "/sys/devices/system/cpu", "/usr/share/zoneinfo", "/usr/share/fonts",
    "/usr/local/share/fonts", "/usr/share/X11/fonts",
)  # fmt: skip
"""PDFium draws with the system's fonts where a document embeds none."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """The layers that hold a worker."""

    limits: bool
    landlock: bool
    seccomp: bool

    @property
    def missing(self) -> tuple[str, ...]:
        """The layers that this machine does not offer."""
        return tuple(name for name in self.__slots__ if not getattr(self, name))


def available() -> Confinement:
    """The layers that this machine offers to a worker."""
    return Confinement(resource is not None, landlock.abi_version() > 0, seccomp.available())


def limit_resources(memory_mb: int) -> bool:
    """Bound address space, files, core dumps and threads, the hard limits too. Lower the priority.

    False where there are no resource limits.
    """
    if resource is None:
        return False
    with suppress(OSError):
        # Answers of the service go before decoding.
        os.nice(NICENESS)
    for name, value in (
        ("RLIMIT_AS", memory_mb * 2**20),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_NOFILE", 64),
        ("RLIMIT_NPROC", _threads_of_user() + SPARE_THREADS),
    ):
        with suppress(ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (value, value))
    return True


def limit_processor(seconds: int) -> None:
    """Let the kernel end this process (SIGXCPU) after so many more processor seconds."""
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + 1 + CPU_FACTOR * seconds
    with suppress(ValueError, OSError):
        # Only the soft limit, which the next step raises: the hard one cannot be.
        resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))


def confine(package: Path) -> Confinement:
    """Restrict files and system calls of this process, which has one thread, for good.

    `package`: the folder of mmsearch. Call `limit_resources` before.
    """
    files = landlock.restrict_reading(readable_paths(package))
    return Confinement(resource is not None, files, seccomp.restrict_system_calls())


def readable_paths(package: Path) -> Iterator[Path]:
    """What a worker reads besides its file: interpreter, libraries, this package, fonts."""
    yield package
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix}:
        yield from (Path(prefix) / name for name in ("lib", "lib64"))
    paths = sysconfig.get_paths()
    yield from (Path(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    # Not the folder above the package: in a checkout it may hold anything.
    yield from (Path(path) for path in sys.path if path and Path(path) != package.parent)
    yield from (Path(path) for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if path)
    yield from map(Path, (*_SYSTEM_LIBRARIES, *_SYSTEM_FILES))


def hide_memory() -> None:
    """Keep other processes of the same user from reading this process through /proc (Linux).

    Its core is not dumped either. A debugger needs root afterwards.
    """
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _threads_of_user() -> int:
    """Threads of all processes of this user, as RLIMIT_NPROC counts them; 0 if not known."""
    count, user = 0, os.getuid()
    with suppress(OSError):
        for entry in os.scandir("/proc"):
            if entry.name.isdecimal():
                with suppress(OSError):
                    if entry.stat().st_uid == user:
                        # A folder has a link for itself, for "." and for each folder in it.
                        count += os.stat(f"/proc/{entry.name}/task").st_nlink - 2  # noqa: PTH116
    return count
