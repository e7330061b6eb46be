"""The read-ahead on threads: bounded, in no order, and never a result or an error lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from indexer.runners.local import LocalRunner
from mmsearch.protocols import Runner


def doubled(number: int) -> Iterator[int]:
    yield number
    yield -number


def test_every_result_of_every_item_comes_once() -> None:
    """However few may wait."""
    runner: Runner = LocalRunner(workers=3, read_ahead=2)
    results = sorted(runner.map(doubled, range(1, 50)))
    assert results == sorted([*range(1, 50), *range(-49, 0)])
    assert list(runner.map(doubled, [])) == []


def test_items_are_read_by_the_caller_and_only_a_few_ahead() -> None:
    """What is not fetched holds up the reading."""
    read: list[int] = []
    threads: set[int] = set()

    def items() -> Iterator[int]:
        for number in range(1000):
            threads.add(threading.get_ident())
            read.append(number)
            yield number

    with closing(LocalRunner(workers=2, read_ahead=5).map(lambda n: [n], items())) as results:
        assert next(results) < 6
        assert len(read) <= 6
    assert threads == {threading.get_ident()}


def test_the_results_of_one_item_are_bounded_too() -> None:
    """A book with many pages waits until earlier ones were fetched."""
    made: list[int] = []

    def pages(_book: str) -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number

    with closing(LocalRunner(workers=2, read_ahead=4).map(pages, ["a", "b"])) as results:
        for _ in range(3):
            next(results)
        assert len(made) <= 3 + 4 + 2  # fetched, waiting, and one in the hand of each thread


def test_an_error_reaches_the_caller() -> None:
    """Of the function as of the items."""

    def broken(number: int) -> Iterator[int]:
        yield number
        raise ValueError("out of order")

    def items() -> Iterator[int]:
        yield 1
        raise KeyError("no more")

    with pytest.raises(ValueError, match="out of order"):
        list(LocalRunner(workers=1, read_ahead=3).map(broken, [1]))
    with pytest.raises(KeyError, match="no more"):
        list(LocalRunner(workers=1, read_ahead=3).map(doubled, items()))


def test_closing_ends_the_work() -> None:
    """Nothing is begun afterwards, and a thread that waits for room ends."""
    begun: list[int] = []

    def endless(number: int) -> Iterator[int]:
        begun.append(number)
        while True:
            yield number

    before = set(threading.enumerate())
    results = LocalRunner(workers=2, read_ahead=3).map(endless, range(100))
    next(results)
    results.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()
    assert len(begun) <= 2
