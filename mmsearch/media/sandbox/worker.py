"""A decoding worker process: `python -m mmsearch.media.sandbox.worker`, started by `Sandbox`.

Requests come on standard input, parts leave on standard output, in the language of `wire.py`.
The process gives up what it does not need (see `confinement.py`) before it opens the first file,
and ends when its parent does.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from mmsearch.errors import MediaError
from mmsearch.media.parts import Part
from mmsearch.media.sandbox import confinement, wire

_GRACE_SECONDS = 10
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Serve until the parent closes standard input. Arguments: memory in MiB, step in seconds,
    the parent's process id."""
    memory_mb, seconds, parent = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    _die_with(parent)
    # Libraries print to standard output when they please: keep them out of the messages.
    output = os.dup(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    confinement.limit_resources(memory_mb)
    warnings.simplefilter("ignore")
    # Before anybody waits for a file, and within the limits. Most files are pictures.
    import mmsearch.media.formats.image  # noqa: F401
    from mmsearch.media.decoders import decode

    confinement.forbid_network_and_programs()
    wire.send(output, {"ready": True})
    os.dup2(silence, 2)
    step = int(seconds) + _GRACE_SECONDS
    while True:
        try:
            header, buffers = wire.receive(0)
        except wire.WireError:
            return 0
        try:
            _answer(decode(wire.decode_request(header, buffers)), output, step)
        except BrokenPipeError:
            return 0


def _answer(parts: Iterator[Part], output: int, step: int) -> None:
    answer: dict[str, Any]
    try:
        _begin(step)
        for part in parts:
            # Whoever takes long to fetch a part is not the file's fault.
            signal.alarm(0)
            wire.send(output, *wire.encode_part(part))
            _begin(step)
        answer = {"end": True}
    except MediaError as error:
        answer = {"error": error.code, "reason": error.reason}
    except MemoryError:
        answer = {"error": "memory", "reason": "Reading the file needs too much memory."}
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001  # a decoder may raise anything on hostile bytes
        detail = f"{type(error).__name__}: {error}".split("\n", 1)[0][:200]
        answer = {"error": "corrupt", "reason": f"The file cannot be decoded ({detail})."}
    signal.alarm(0)
    wire.send(output, answer)


def _begin(step: int) -> None:
    """A step of decoding: so many seconds of the wall clock, and of the processor."""
    signal.alarm(step)
    confinement.limit_processor(step)


def _die_with(parent: int) -> None:
    """Have the kernel end this process when the parent's spawning thread ends (Linux).

    Elsewhere the end of standard input and the alarm clock of `_answer` do it, later.
    """
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before the call
        sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
