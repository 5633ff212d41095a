"""Queue of requests: queries that wait are searched together, and there is an end to how many may wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Search = Callable[[Floats, int, Any], tuple[Ints, Floats]]


class BusyError(RuntimeError):
    """As many requests wait as may."""


@dataclass(frozen=True, eq=False)
class _Query:
    vectors: Floats
    k: int
    where: Any
    key: Hashable
    done: asyncio.Future[tuple[Ints, Floats]]


class QueryBatcher:
    """Searches what waits in batches: while one is searched, the next gathers. Nothing waits for others.

    Used by one event loop. Queries with one filter share a search, of the largest ``k`` among them.

    Args:
        search: ``(queries [Q, D], k, where) -> (ids, scores)``.
        batch: Queries of a batch, at most, but for one request that has more.
        most_waiting: Requests that may wait or be under way.
        threads: Batches, and other work, at once.
        on_batch: Told of the number of queries of each batch.
    """

    def __init__(
        self,
        search: Search,
        batch: int,
        most_waiting: int,
        threads: int = 2,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._search, self._batch, self._most, self._threads = search, batch, most_waiting, threads
        self._on_batch = on_batch
        self._waiting: deque[_Query] = deque()
        self._running = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="search")
        self._changes = ThreadPoolExecutor(1, thread_name_prefix="change")
        self._tasks: set[asyncio.Task[None]] = set()
        self.count = 0
        """Requests that wait or are under way."""

    async def search(self, vectors: Floats, k: int, where: Any, key: Hashable) -> tuple[Ints, Floats]:
        """Answers to queries ``[Q, D]``: ``(ids [Q, k], scores [Q, k])``.

        Args:
            vectors: ``[Q, D]`` checked.
            k: How many.
            where: The filter.
            key: Equal for equal filters.

        Raises:
            BusyError: Too many wait.
            ValueError: The index refuses the filter or ``k``.
        """
        self._begin()
        try:
            query = _Query(vectors, k, where, key, asyncio.get_running_loop().create_future())
            self._waiting.append(query)
            self._start()
            return await query.done
        finally:
            self.count -= 1

    async def run(self, work: Callable[..., Any], *arguments: Any, changes: bool = False) -> Any:
        """What other work returns; changes are made one after the other.

        Raises:
            BusyError: Too many wait.
        """
        self._begin()
        try:
            pool = self._changes if changes else self._pool
            return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)
        finally:
            self.count -= 1

    def close(self) -> None:
        """Ends the threads once they have done what they are at."""
        self._pool.shutdown(cancel_futures=True)
        self._changes.shutdown(cancel_futures=True)

    def _begin(self) -> None:
        if self.count >= self._most:
            raise BusyError("too many are asking at the moment; try again in a second")
        self.count += 1

    def _start(self) -> None:
        if self._running < self._threads and self._waiting:
            self._running += 1
            task = asyncio.get_running_loop().create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        """Searches batches until nothing waits."""
        try:
            while self._waiting:
                await self._search_together(self._next_batch())
        finally:
            self._running -= 1

    def _next_batch(self) -> list[_Query]:
        """The first that waits, and others with its filter, in their order; who gave up is left out."""
        batch: list[_Query] = []
        left: deque[_Query] = deque()
        size = 0
        for query in self._waiting:
            if query.done.done():
                continue
            fits = not batch or (query.key == batch[0].key and size + len(query.vectors) <= self._batch)
            if fits:
                batch.append(query)
                size += len(query.vectors)
            else:
                left.append(query)
        self._waiting = left
        return batch

    async def _search_together(self, batch: list[_Query]) -> None:
        if not batch:
            return
        vectors = np.concatenate([query.vectors for query in batch])
        k = max(query.k for query in batch)
        self._on_batch(len(vectors))
        try:
            loop = asyncio.get_running_loop()
            ids, scores = await loop.run_in_executor(self._pool, self._search, vectors, k, batch[0].where)
        except Exception as error:
            for query in batch:
                if not query.done.done():
                    query.done.set_exception(error)
            return
        at = 0
        for query in batch:
            rows = slice(at, at + len(query.vectors))
            at += len(query.vectors)
            if not query.done.done():
                query.done.set_result((ids[rows, : query.k], scores[rows, : query.k]))
