"""The batcher on its own: isolation, cancellation, closing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from mmsearch.errors import EmptyQueryError, MMSearchError
from mmsearch.query import Query, SearchResult, Term
from mmsearch.service.errors import RequestError
from mmsearch.service.lanes import QueryBatcher

pytestmark = pytest.mark.anyio


def query(text: str) -> Query:
    return Query((Term(text=text),))


class Recorder:
    """Answers each query with itself, once `gate` is open."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Event()

    def __call__(self, queries: Sequence[Query]) -> list[SearchResult | MMSearchError]:
        self.batches.append([q.terms[0].text or "" for q in queries])
        self.began.set()
        assert self.gate.wait(10)
        if any(q.terms[0].text == "poison" for q in queries):
            raise ZeroDivisionError
        return [
            EmptyQueryError("empty") if q.terms[0].text == "empty" else SearchResult(q, (), 1.0)
            for q in queries
        ]


async def _gather(batcher: QueryBatcher, recorder: Recorder, texts: list[str]) -> list[object]:
    """Results of `texts`, which all wait together behind a first query."""
    recorder.gate.clear()
    recorder.began.clear()
    first = asyncio.create_task(batcher.search(query("first")))
    await asyncio.to_thread(recorder.began.wait, 5)
    tasks = [asyncio.create_task(batcher.search(query(text))) for text in texts]
    await asyncio.sleep(0)
    recorder.gate.set()
    await first
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_querys_error_is_its_own() -> None:
    recorder = Recorder()
    batcher = QueryBatcher(recorder, max_batch=8, max_waiting=8)
    good, bad = await _gather(batcher, recorder, ["good", "empty"])
    assert isinstance(good, SearchResult)
    assert good.query == query("good")
    assert isinstance(bad, EmptyQueryError)
    assert recorder.batches == [["first"], ["good", "empty"]]
    await batcher.close()


async def test_a_query_that_breaks_the_engine_costs_only_itself() -> None:
    recorder = Recorder()
    batcher = QueryBatcher(recorder, max_batch=8, max_waiting=8)
    good, poison, fine = await _gather(batcher, recorder, ["good", "poison", "fine"])
    assert isinstance(good, SearchResult)
    assert isinstance(poison, ZeroDivisionError)
    assert isinstance(fine, SearchResult)
    assert isinstance(await batcher.search(query("after")), SearchResult)
    await batcher.close()


async def test_a_wrong_number_of_results_is_an_error_not_a_hang() -> None:
    batcher = QueryBatcher(lambda _: [], max_batch=4, max_waiting=4)
    with pytest.raises(RuntimeError, match="1 queries gave 0 results"):
        await asyncio.wait_for(batcher.search(query("a")), 5)
    await batcher.close()


async def test_a_cancelled_query_is_never_searched() -> None:
    recorder = Recorder()
    recorder.gate.clear()
    batcher = QueryBatcher(recorder, max_batch=8, max_waiting=8)
    first = asyncio.create_task(batcher.search(query("first")))
    await asyncio.to_thread(recorder.began.wait, 5)
    gone = asyncio.create_task(batcher.search(query("gone")))
    stays = asyncio.create_task(batcher.search(query("stays")))
    await asyncio.sleep(0)
    gone.cancel()
    first.cancel()
    recorder.gate.set()
    assert isinstance(await stays, SearchResult)
    assert recorder.batches == [["first"], ["stays"]]
    await batcher.close()


async def test_cancelled_queries_make_room() -> None:
    recorder = Recorder()
    recorder.gate.clear()
    batcher = QueryBatcher(recorder, max_batch=1, max_waiting=1)
    first = asyncio.create_task(batcher.search(query("first")))
    await asyncio.to_thread(recorder.began.wait, 5)
    gone = asyncio.create_task(batcher.search(query("gone")))
    await asyncio.sleep(0)
    with pytest.raises(RequestError) as refused:
        await batcher.search(query("too many"))
    assert refused.value.status == 429
    gone.cancel()
    await asyncio.sleep(0)
    stays = asyncio.create_task(batcher.search(query("stays")))
    await asyncio.sleep(0)
    recorder.gate.set()
    await first
    assert isinstance(await stays, SearchResult)
    await batcher.close()


async def test_closing_answers_those_who_wait() -> None:
    recorder = Recorder()
    recorder.gate.clear()
    batcher = QueryBatcher(recorder, max_batch=1, max_waiting=8)
    first = asyncio.create_task(batcher.search(query("first")))
    await asyncio.to_thread(recorder.began.wait, 5)
    waiting = asyncio.create_task(batcher.search(query("waiting")))
    await asyncio.sleep(0)
    closing = asyncio.create_task(batcher.close())
    with pytest.raises(RequestError) as refused:
        await waiting
    assert refused.value.status == 503
    recorder.gate.set()
    assert isinstance(await first, SearchResult)
    await closing
    with pytest.raises(RequestError):
        await batcher.search(query("late"))


async def test_batches_are_observed() -> None:
    recorder = Recorder()
    seen: list[int] = []
    batcher = QueryBatcher(
        recorder, max_batch=2, max_waiting=9, observe=lambda size, _: seen.append(size)
    )
    await _gather(batcher, recorder, ["a", "b", "c"])
    await batcher.close()
    assert seen == [1, 2, 1]
