"""Workers of a build: one that dies costs the build the item that killed it, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from typing import Any

from align3d.building.shard_pools import ShardPool
from align3d.building.shards import ShardResult, ShardTask
from align3d.errors import DataError
from align3d.record import Record, Rejection
from align3d.sources import Item

_LOOK_SECONDS = 0.5


class Workers:
    """Shards that a pool reads, and what becomes of those whose process dies.

    Args:
        pool: What reads them; it is closed in the end.
        task: What is the same for every shard.
        shards: The items of each shard, by its number.
        advance: Called with the number of items that were read since.
    """

    def __init__(
        self,
        pool: ShardPool,
        task: ShardTask,
        shards: Mapping[int, Sequence[Item]],
        advance: Callable[[int], Any] = lambda n: None,
    ) -> None:
        self._pool, self._task, self._shards, self._advance = pool, task, shards, advance
        self._running: dict[Future[ShardResult], int] = {}
        self._known: dict[int, dict[str, Record | Rejection]] = {}
        self._told: dict[int, int] = {}
        self._deaths: Counter[int] = Counter()

    def run(self, missing: Sequence[int]) -> dict[int, ShardResult]:
        """Read shards; each item that kills its process is read once more alone, then rejected.

        Args:
            missing: Numbers of the shards to read.

        Raises:
            DataError: Processes died before they read anything, or after all.
            ServiceDown: A stage needs something that does not answer.
        """
        results: dict[int, ShardResult] = {}
        waiting = list(reversed(missing))
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._pool.most:
                    index = waiting.pop()
                    items, known = self._shards[index], self._known.get(index, {})
                    self._running[self._pool.submit(index, items, known)] = index
                done, _ = wait(self._running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    index = self._running.pop(future)
                    try:
                        results[index] = future.result()
                        self._tell(index, len(self._shards[index]))
                    except BrokenExecutor as error:
                        self._read_suspect(index, error)
                        waiting.append(index)
                for index in self._running.values():
                    self._tell(index, self._task.position(index) or 0)
        finally:
            self._pool.close()
            for index in self._running.values():  # they were stopped, and did not die of an item
                self._task.mark(index).unlink(missing_ok=True)
        return results

    def _read_suspect(self, index: int, error: BrokenExecutor) -> None:
        """Read the item alone at which a shard's process died."""
        place, known = self._task.position(index), self._known.setdefault(index, {})
        if place is not None and (item := self._shards[index][place]).id not in known:
            known[item.id] = self._pool.alone(item)
            return
        self._deaths[index] += 1
        if self._deaths[index] >= self._pool.tries:
            when = "before it read anything" if place is None else "while it wrote a shard (out of memory?)"
            raise DataError(
                f"data={self._task.source.name}: a worker process died {when}; what is finished is kept"
            ) from error

    def _tell(self, index: int, done: int) -> None:
        """Report how many items of a shard have been read."""
        if done > self._told.get(index, 0):
            self._advance(done - self._told.get(index, 0))
            self._told[index] = done
