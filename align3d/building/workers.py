"""Worker processes of a build: one that dies costs the build the item that killed it, and nothing else."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from align3d.building.shards import ShardResult, ShardTask, read_in_worker, run_in_worker, start_worker
from align3d.console.interrupts import held_back
from align3d.errors import DataError
from align3d.record import Record, Rejection
from align3d.sources import Item

CRASH = "reading it ends the process, also when it is read alone: a crash in its reader, or out of memory"
_LOOK_SECONDS = 0.5


class Workers:
    """Processes that read shards, each by itself, so that the death of one does not end another.

    Args:
        task: What is the same for every shard.
        shards: The items of each shard, by its number.
        count: Number of processes.
        advance: Called with the number of items that were read since.
    """

    def __init__(
        self,
        task: ShardTask,
        shards: Mapping[int, Sequence[Item]],
        count: int,
        advance: Callable[[int], Any] = lambda n: None,
    ) -> None:
        self._task, self._shards, self._count, self._advance = task, shards, count, advance
        self._running: dict[Future[ShardResult], tuple[ProcessPoolExecutor, int]] = {}
        self._idle: list[ProcessPoolExecutor] = []
        self._known: dict[int, dict[str, Record | Rejection]] = {}
        self._told: dict[int, int] = {}

    def run(self, missing: Sequence[int]) -> dict[int, ShardResult]:
        """Read shards; each item that kills its process is read once more alone, then rejected.

        Args:
            missing: Numbers of the shards to read.

        Raises:
            DataError: A process died before it read anything, or after all.
            ServiceDown: A stage needs something that does not answer.
        """
        results: dict[int, ShardResult] = {}
        waiting = list(reversed(missing))
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._count:
                    self._start(waiting.pop())
                done, _ = wait(self._running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    executor, index = self._running.pop(future)
                    self._idle.append(executor)
                    try:
                        results[index] = future.result()
                        self._tell(index, len(self._shards[index]))
                    except BrokenProcessPool as error:
                        self._idle.pop().shutdown()
                        self._read_suspect(index, error)
                        waiting.append(index)
                for _, index in self._running.values():
                    self._tell(index, self._task.position(index) or 0)
        finally:
            for executor in [*self._idle, *(executor for executor, _ in self._running.values())]:
                executor.shutdown(wait=True, cancel_futures=True)
            for _, index in self._running.values():  # they were stopped, and did not die of an item
                self._task.mark(index).unlink(missing_ok=True)
        return results

    def _start(self, index: int) -> None:
        """Give a shard to an idle process, or to a new one."""
        executor = self._idle.pop() if self._idle else _process(self._task)
        known = self._known.get(index, {})
        with held_back():  # a process may be started here
            try:
                future = executor.submit(run_in_worker, index, self._shards[index], known)
            except BrokenProcessPool:  # it died while it was idle
                executor = _process(self._task)
                future = executor.submit(run_in_worker, index, self._shards[index], known)
        self._running[future] = executor, index

    def _read_suspect(self, index: int, error: BrokenProcessPool) -> None:
        """Read the item alone at which a shard's process died."""
        place, known = self._task.position(index), self._known.setdefault(index, {})
        if place is None or self._shards[index][place].id in known:
            when = "before it read anything" if place is None else "while it wrote a shard (out of memory?)"
            raise DataError(
                f"data={self._task.source.name}: a worker process died {when}; what is finished is kept"
            ) from error
        item = self._shards[index][place]
        known[item.id] = read_alone(self._task, item)

    def _tell(self, index: int, done: int) -> None:
        """Report how many items of a shard have been read."""
        if done > self._told.get(index, 0):
            self._advance(done - self._told.get(index, 0))
            self._told[index] = done


def read_alone(task: ShardTask, item: Item) -> Record | Rejection:
    """Read one item in a process of its own; if that dies, this is the item's rejection."""
    with _process(task) as executor:
        try:
            with held_back():
                future = executor.submit(read_in_worker, item)
            return future.result()
        except BrokenProcessPool:
            return Rejection(item.id, CRASH)


def _process(task: ShardTask) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=start_worker, initargs=(task,))
