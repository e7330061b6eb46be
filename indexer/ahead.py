"""Loading on threads, a bounded number of things ahead of whoever takes them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")

_LOOK_SECONDS = 0.2
"""How long a thread waits for room before it looks whether anybody still wants it."""


def ahead(
    keys: Iterable[K], load: Callable[[K], Iterator[T]], *, workers: int, most: int
) -> Generator[T, None, None]:
    """What `load` gives for each of the keys, in the order in which it is ready.

    At most `most` things wait, however many there are to a key. An error of `load` or of `keys`
    is raised here. Closing the iterator ends the threads after the thing at hand.
    """
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(most)
    stop = threading.Event()
    turn = threading.Lock()
    source = iter(keys)

    def give(one: T | None, error: BaseException | None = None) -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                ready.put((one, error), timeout=_LOOK_SECONDS)
                return

    def work() -> None:
        try:
            while not stop.is_set():
                with turn:
                    key = next(source, None)
                if key is None:
                    break
                for one in load(key):
                    give(one)
                    if stop.is_set():
                        return
            give(None)
        except BaseException as error:  # noqa: BLE001  # raised again by whoever waits for it
            give(None, error)

    for n in range(workers):
        threading.Thread(target=work, name=f"ahead-{n}", daemon=True).start()
    ended = 0
    try:
        while ended < workers:
            one, error = ready.get()
            if error is not None:
                raise error
            if one is None:
                ended += 1
            else:
                yield one
    finally:
        stop.set()
