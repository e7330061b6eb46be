"""A decoding worker process: `python -m mmsearch.media.sandbox.worker`, started by `Sandbox`.

Requests come on standard input, a Unix socket, with descriptors of the files to read. Parts leave
on standard output. Both use the messages of `wire.py`. The process gives up what it does not need
(see `confinement.py`) before the first request, and ends when its parent does.
"""

from __future__ import annotations

import mimetypes
import os
import signal
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmsearch.errors import MediaError
from mmsearch.media.opened import OpenFile
from mmsearch.media.parts import DecodeRequest, Part
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
    # Python's own list of types: the system's cannot be read later.
    mimetypes.init([])
    # Before anybody waits for a file, and within the limits. Most files are pictures.
    import mmsearch.media.formats.image  # noqa: F401
    from mmsearch.media.decoders import decode

    requests = socket.socket(fileno=0)
    layers = confinement.confine(Path(__file__).resolve().parents[2])
    wire.send(output, {"ready": True, "confinement": asdict(layers)})
    os.dup2(silence, 2)
    step = int(seconds) + _GRACE_SECONDS
    while True:
        try:
            descriptors, header, buffers = wire.receive_descriptors(requests)
        except wire.WireError:
            return 0
        with ExitStack() as opened:
            for descriptor in descriptors:
                opened.callback(os.close, descriptor)
            request = wire.decode_request(header, buffers)
            source = _source(request, descriptors)

            def beside() -> list[OpenFile]:
                """Ask the parent for the files that go with this file."""
                wire.send(output, {"ask": "beside"})
                more, answer, _ = wire.receive_descriptors(requests)
                for descriptor in more:
                    opened.callback(os.close, descriptor)
                return [OpenFile(*pair) for pair in zip(more, answer["names"], strict=True)]

            try:
                _answer(decode(request, source, beside), output, step)
            except BrokenPipeError:
                return 0


def _source(request: DecodeRequest, descriptors: list[int]) -> OpenFile | bytes:
    if request.path is None:
        return request.content or b""
    return OpenFile(descriptors[0], os.path.basename(request.path))  # noqa: PTH119  # no Path needed


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
