"""A `Runner` of threads in this process: the bounded read-ahead of indexing.

Decoding itself runs in the sandbox's processes, and the models release the interpreter's lock,
so that threads are enough to keep both busy.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")

_FULL_SECONDS = 0.2
"""How long a thread waits for room for a result before it checks whether the run has ended."""
_END = object()


@dataclass(frozen=True, slots=True)
class _Result(Generic[R]):
    value: R


@dataclass(frozen=True, slots=True)
class _Finished:
    """An item has given all its results, or an error."""

    error: BaseException | None = None


class LocalRunner:
    """Runs a function over items on `workers` threads, a bounded number of items ahead.

    `read_ahead` bounds the items that are begun or queued, and also the results that wait: the
    pages of a long document wait in its thread until earlier ones were fetched.
    """

    def __init__(self, workers: int, read_ahead: int) -> None:
        self._workers = workers
        self._read_ahead = read_ahead

    def map(
        self, function: Callable[[T], Iterable[R]], items: Iterable[T]
    ) -> Generator[R, None, None]:
        """What `function` yields for each of `items`, in the order in which it is ready.

        `items` are read by the caller's thread. An error of `function` or `items` is raised
        here. Closing the generator ends the threads after the result at hand.
        """
        ready: queue.SimpleQueue[_Result[R] | _Finished] = queue.SimpleQueue()
        room = threading.Semaphore(self._read_ahead)
        stop = threading.Event()
        running = 0

        def work(item: T) -> None:
            try:
                results = iter(function(item)) if not stop.is_set() else iter(())
                while not stop.is_set() and (result := next(results, _END)) is not _END:
                    while not room.acquire(timeout=_FULL_SECONDS):
                        if stop.is_set():
                            return
                    ready.put(_Result(cast("R", result)))
            except BaseException as error:  # noqa: BLE001  # raised again by the caller's thread
                ready.put(_Finished(error))
            else:
                ready.put(_Finished())

        def fetched() -> Iterator[R]:
            nonlocal running
            entry = ready.get()
            if isinstance(entry, _Result):
                room.release()
                yield entry.value
                return
            running -= 1
            if entry.error is not None:
                raise entry.error

        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="indexer")
        try:
            for item in items:
                pool.submit(work, item)
                running += 1
                while running >= self._read_ahead or not ready.empty():
                    yield from fetched()
            while running:
                yield from fetched()
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
