"""Concurrent queries are encoded together.

While the worker thread runs one batch, arriving queries wait and form the next. An idle
worker takes a single query at once: no query waits for others.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from mmsearch.errors import MMSearchError
from mmsearch.query import Query, SearchResult
from mmsearch.service.errors import RequestError

log = logging.getLogger("mmsearch.service")

SearchMany = Callable[[Sequence[Query]], list[SearchResult | MMSearchError]]
_Waiting = tuple[Query, "asyncio.Future[SearchResult]"]


class QueryBatcher:
    """Belongs to one event loop; `search_many` runs in one thread of its own."""

    def __init__(
        self,
        search_many: SearchMany,
        *,
        max_batch: int,
        max_waiting: int,
        name: str = "queries",
        observe: Callable[[int, float], None] | None = None,
    ) -> None:
        """`observe` is called with the size and the seconds of every batch."""
        self._search_many = search_many
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._observe = observe
        self._waiting: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._batch_seconds = 0.1
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"mmsearch-{name}")

    @property
    def waiting(self) -> int:
        """Queries that are in no batch yet."""
        return len(self._waiting)

    async def search(self, query: Query) -> SearchResult:
        """One query's result. Raises its MMSearchError, or RequestError (429, 503).

        A cancelled caller's query is dropped if its batch has not begun.
        """
        if self._closed:
            raise RequestError(503, "shutting_down", "The service is shutting down.")
        if len(self._waiting) >= self._max_waiting:
            self._drop_cancelled()
        if len(self._waiting) >= self._max_waiting:
            batches = math.ceil(len(self._waiting) / self._max_batch)
            raise RequestError(
                429, "too_many_queries", "Too many queries are waiting; try again shortly.",
                headers={"Retry-After": str(max(1, math.ceil(batches * self._batch_seconds)))},
            )  # fmt: skip
        future: asyncio.Future[SearchResult] = asyncio.get_running_loop().create_future()
        self._waiting.append((query, future))
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await future

    async def close(self) -> None:
        """Waiting queries fail with 503; a running batch is completed."""
        self._closed = True
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(
                    RequestError(503, "shutting_down", "The service is shutting down.")
                )
        if self._task is not None:
            await self._task
        self._thread.shutdown(wait=False)

    def _drop_cancelled(self) -> None:
        self._waiting = deque(item for item in self._waiting if not item[1].done())

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < self._max_batch:
            item = self._waiting.popleft()
            if not item[1].done():
                batch.append(item)
        return batch

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while batch := self._take():
                began = time.perf_counter()
                queries = [query for query, _ in batch]
                outcomes = await loop.run_in_executor(self._thread, self._run, queries)
                for (_, future), outcome in zip(batch, outcomes, strict=True):
                    if future.done():
                        continue
                    if isinstance(outcome, SearchResult):
                        future.set_result(outcome)
                    else:
                        future.set_exception(outcome)
                seconds = time.perf_counter() - began
                self._batch_seconds += 0.2 * (seconds - self._batch_seconds)
                if self._observe is not None:
                    self._observe(len(batch), seconds)
        finally:
            self._task = None

    def _run(self, queries: Sequence[Query]) -> Sequence[SearchResult | Exception]:
        """In the worker thread. If a batch fails, its queries run one by one."""
        try:
            outcomes = self._search_many(queries)
            if len(outcomes) != len(queries):
                raise RuntimeError(f"{len(queries)} queries gave {len(outcomes)} results")
            return outcomes
        except Exception as error:  # handed to the query that caused it
            if len(queries) == 1:
                return [error]
            log.exception("a batch of %d queries failed; they run one by one", len(queries))
        return [self._run([query])[0] for query in queries]
