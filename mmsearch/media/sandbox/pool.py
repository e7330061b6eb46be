"""Decoding in worker processes: a crash, a hang or a bomb costs one file, never the run.

`Sandbox` keeps up to N workers (`worker.py`) and lends one to each call of `decode`. A worker
that hangs is killed, one that dies is replaced, each is renewed after some hundred files.
Why processes, pipes and JSON: docs/decisions/0004-decoding-in-workers.md.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

from mmsearch.errors import ConfigurationError, MediaError
from mmsearch.media.parts import DecodeRequest, ImagePart, Part
from mmsearch.media.sandbox import wire
from mmsearch.media.sandbox.confinement import Confinement, hide_memory
from mmsearch.media.sandbox.files import open_companions, open_regular

logger = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parents[3]
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")
_PIPE_BYTES = 2**20
_START_SECONDS = 60.0
_F_SETPIPE_SZ = 1031


class Sandbox:
    """A pool of decoding processes.

    `seconds` bounds each step of decoding (a picture, a text, one stretch of a recording) by
    the wall clock, counted only while somebody waits for it; `memory_mb` bounds a worker's
    address space; after `files_per_worker` files a worker is renewed. Workers start when first
    needed. With `require_confinement`, decoding raises ConfigurationError on a machine that
    lacks a layer of confinement; otherwise a warning is logged once. Thread-safe; close it, or
    use it as a context manager.
    """

    def __init__(
        self,
        workers: int,
        *,
        seconds: float = 60.0,
        memory_mb: int = 3072,
        files_per_worker: int = 1000,
        require_confinement: bool = False,
    ) -> None:
        if workers < 1:
            raise ValueError("a sandbox needs at least one worker")
        self._seconds = seconds
        self._memory_mb = memory_mb
        self._files_per_worker = files_per_worker
        self._require_confinement = require_confinement
        self._warned = False
        self._second_attempt = threading.Lock()
        # A slot holds an idle worker, or None where one may be started. The last one used comes
        # first: little work keeps few processes.
        self._slots: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(workers):
            self._slots.put(None)
        self._all: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = False
        # Workers die with the *thread* that started them (see worker._die_with): one that
        # lives as long as the sandbox.
        self._spawner = ThreadPoolExecutor(1, thread_name_prefix="sandbox-spawner")

    def decode(self, request: DecodeRequest) -> Iterator[Part]:
        """The file's parts, as they are decoded; blocks while all workers are lent.

        A worker is lent until the iterator ends or is closed, so whoever holds one unfinished
        must not wait for another. A worker that is killed from outside (by the kernel, for
        memory) is replaced, and the file is decoded once more. Raises MediaError: the file's
        own, or timeout, crashed, memory.
        """
        if request.path is not None:
            path = os.path.abspath(request.path)  # noqa: PTH100  # may hold undecodable bytes
            request = replace(request, path=path)
        complete = 0
        try:
            for part in self._decode(request):
                complete += 1
                yield part
        except _KilledError:
            logger.warning("a decoding worker was killed; its file is decoded once more")
        else:
            return
        # One such file at a time: several at once may be what used up the memory.
        with self._second_attempt:
            for number, part in enumerate(self._decode(request)):
                if number >= complete:
                    yield part

    def _decode(self, request: DecodeRequest) -> Iterator[Part]:
        worker = self._slots.get()
        try:
            if worker is not None and not worker.alive:
                self._discard(worker)
                worker = None
            worker = worker or self._start()
            yield from worker.decode(request, self._seconds)
        except MediaError:
            if self._closed:  # killed by us: nothing was learnt about the file
                raise RuntimeError("the sandbox is closed") from None
            raise
        finally:
            if worker is not None and (
                self._closed or not worker.idle or worker.files >= self._files_per_worker
            ):
                self._discard(worker)
                worker = None
            self._slots.put(worker)

    def picture(self, request: DecodeRequest) -> ImagePart | None:
        """The first picture of a file, if it has one; raises as `decode` does.

        The parts are read to their end: a worker that is left before is not used again.
        """
        pictures = [part for part in self.decode(request) if isinstance(part, ImagePart)]
        return pictures[0] if pictures else None

    def warm(self) -> None:
        """Start one worker now, in the background, so that the first file does not wait."""

        def start() -> None:
            with suppress(queue.Empty):
                slot = self._slots.get_nowait()
                try:
                    # The first call of `decode` reports what goes wrong here.
                    with suppress(ConfigurationError, RuntimeError):
                        slot = slot or self._start()
                finally:
                    self._slots.put(slot)

        threading.Thread(target=start, name="sandbox-warm", daemon=True).start()

    def close(self) -> None:
        """End all workers, also busy ones; safe to call twice. A `decode` that is under way
        raises RuntimeError, as does any later one."""
        with self._lock:
            self._closed = True
            workers = list(self._all)
        for worker in workers:
            # Only the signal: the pipes are closed by whoever reads them.
            worker.signal()
        idle = []
        with suppress(queue.Empty):
            while True:
                idle.append(self._slots.get_nowait())
        for slot in idle:
            if slot is not None:
                self._discard(slot)
            self._slots.put(None)
        self._spawner.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the living workers."""
        with self._lock:
            return tuple(worker.pid for worker in self._all if worker.alive)

    def _start(self) -> _Worker:
        if self._closed:
            raise RuntimeError("the sandbox is closed")
        hide_memory()
        worker = self._spawner.submit(_Worker, self._memory_mb, self._seconds).result()
        missing = ", ".join(worker.confinement.missing)
        if missing and self._require_confinement:
            worker.kill()
            raise ConfigurationError(
                f"This machine cannot confine decoding workers fully (missing: {missing}), and "
                "require_confinement is set.",
                param="require_confinement",
            )
        with self._lock:
            if missing and not self._warned:
                logger.warning("decoding workers are confined without: %s", missing)
                self._warned = True
            self._all.add(worker)
            closed = self._closed
        if closed:
            self._discard(worker)
            raise RuntimeError("the sandbox is closed")
        return worker

    def _discard(self, worker: _Worker) -> None:
        worker.kill()
        with self._lock:
            self._all.discard(worker)


class _Worker:
    """One process. Used by one thread at a time, but for `kill`."""

    def __init__(self, memory_mb: int, seconds: float) -> None:
        # A socket and no pipe: descriptors of files travel with the requests.
        self._requests, stdin = socket.socketpair()
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-P", "-m", "mmsearch.media.sandbox.worker",
             str(memory_mb), str(seconds), str(os.getpid())],
            stdin=stdin.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            env=_environment(),
            # Its own group: Ctrl-C is for the parent, which decides what becomes of the file. Not
            # its own session: Linux shares the processor evenly among sessions (autogroup), and
            # niceness would count for nothing beside a service that answers.
            process_group=0,
        )  # fmt: skip
        stdin.close()
        self.pid = self._process.pid
        self.files = 0
        self.idle = False
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._answers = self._process.stdout.fileno()
        _widen(self._answers)
        os.set_blocking(self._answers, False)
        try:
            header, _ = wire.receive(self._answers, time.monotonic() + _START_SECONDS)
        except (wire.WireError, wire.WireTimeoutError):
            self.signal()
            detail = self._process.stderr.read().decode(errors="replace").strip()
            self.kill()
            last = detail.splitlines()[-1] if detail else "no message"
            raise ConfigurationError(
                f"A decoding process could not start ({last}). Is decode_memory_mb too small?",
                param="decode_memory_mb",
            ) from None
        self._process.stderr.close()
        self.idle = header.get("ready") is True
        self.confinement = Confinement(**header["confinement"])

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def decode(self, request: DecodeRequest, seconds: float) -> Iterator[Part]:
        """Parts of one file; `idle` is true again only if the worker finished it."""
        self.idle = False
        self.files += 1
        descriptors: list[int] = []
        try:
            if request.path is not None:
                descriptors.append(self._open(request.path))
            # The worker learns the file's name, not where it is.
            wire.send_descriptors(
                self._requests, descriptors, *wire.encode_request(_without_folder(request))
            )
            while True:
                header, buffers = wire.receive(self._answers, time.monotonic() + seconds)
                if "ask" in header:
                    self._send_companions(request)
                    continue
                if "part" in header:
                    yield wire.decode_part(header, buffers)
                    continue
                self.idle = True
                if "error" not in header:
                    return
                code, reason = str(header["error"]), str(header["reason"])
                # After that its heap is fragmented at best.
                self.idle = code != "memory"
                raise MediaError(code, reason)
        except wire.WireTimeoutError:
            self.kill()
            raise MediaError("timeout", f"Decoding took longer than {seconds:g} seconds.") from None
        except (wire.WireError, OSError):
            raise self._death() from None
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _open(self, path: str) -> int:
        try:
            return open_regular(path)
        except MediaError:
            self.idle = True  # it was not asked yet
            raise

    def _send_companions(self, request: DecodeRequest) -> None:
        descriptors, names = open_companions(request.path) if request.path else ([], [])
        try:
            wire.send_descriptors(self._requests, descriptors, {"names": names})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _death(self) -> MediaError:
        """Why the process is gone, in words."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        status = self._process.poll()
        self.kill()
        if status in {-signal.SIGALRM, -signal.SIGXCPU}:
            return MediaError("timeout", "Decoding took too long.")
        if status == -signal.SIGKILL:
            # Not by us: the kernel ran out of memory, or an administrator did it.
            return _KilledError("memory", "Reading the file needed too much memory.")
        if status is not None and status < 0:
            name = signal.Signals(-status).name
            return MediaError("crashed", f"The file made its decoder crash ({name}).")
        return MediaError("crashed", "The file made its decoder fail.")

    def signal(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            # The process has not been waited for, so the id is still its own.
            if self._process.poll() is None:
                os.killpg(self.pid, signal.SIGKILL)

    def kill(self) -> None:
        self.idle = False
        self.signal()
        self._process.wait()
        self._requests.close()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


class _KilledError(MediaError):
    """The worker was killed by SIGKILL, and not by this process."""


def _without_folder(request: DecodeRequest) -> DecodeRequest:
    if request.path is None:
        return request
    return replace(request, path=os.path.basename(request.path))  # noqa: PTH119  # undecodable bytes


def _environment() -> dict[str, str]:
    """Nothing of the parent's but what finding libraries needs: no keys, no tokens."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return kept | {
        "PYTHONPATH": os.fspath(_ROOT),
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        # One thread a worker: the pool is the parallelism, and thread stacks eat address space.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }


def _widen(*pipes: int) -> None:
    """A picture's pixels in one system call rather than three (Linux)."""
    if sys.platform == "linux":
        import fcntl

        for pipe in pipes:
            with suppress(OSError):
                fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_BYTES)
