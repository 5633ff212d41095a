"""Pools of processes that read shards: what each of them does, and the one of this machine's processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from typing import Protocol

from align3d.building.shards import ShardResult, ShardTask, read_in_worker, run_in_worker, start_worker
from align3d.console.interrupts import held_back
from align3d.record import Record, Rejection
from align3d.sources import Item

CRASH = "reading it ends the process, also when it is read alone: a crash in its reader, or out of memory"

Outcomes = Mapping[str, Record | Rejection]
"""What came of some items of a shard before, by their id."""


class ShardPool(Protocol):
    """Processes that read shards, each by itself, so that the death of one does not end another.

    Attributes:
        most: Shards that it is given at a time; the others wait, so that little is in memory.
        tries: Times that a shard is given to it whose processes die without an item to blame.
    """

    most: int
    tries: int

    def submit(self, index: int, items: Sequence[Item], known: Outcomes) -> Future[ShardResult]:
        """Have a shard read and written; the future raises `BrokenExecutor` if the process dies."""

    def alone(self, item: Item) -> Record | Rejection:
        """Read one item in a process of its own; if that dies, this is the item's rejection."""

    def close(self) -> None:
        """End what is still running."""


class ProcessPool:
    """Pool of this machine: processes that are started when they are needed.

    Args:
        task: What is the same for every shard.
        most: Number of processes.
    """

    tries = 1

    def __init__(self, task: ShardTask, most: int) -> None:
        self._task, self.most = task, most
        self._busy: dict[Future[ShardResult], ProcessPoolExecutor] = {}
        self._idle: list[ProcessPoolExecutor] = []

    def submit(self, index: int, items: Sequence[Item], known: Outcomes) -> Future[ShardResult]:
        """Give a shard to an idle process, or to a new one."""
        for future in [future for future in self._busy if future.done()]:
            executor = self._busy.pop(future)
            if isinstance(future.exception(), BrokenExecutor):
                executor.shutdown()
            else:
                self._idle.append(executor)
        executor = self._idle.pop() if self._idle else _process(self._task)
        with held_back():  # a process may be started here
            try:
                future = executor.submit(run_in_worker, index, items, known)
            except BrokenExecutor:  # it died while it was idle
                executor = _process(self._task)
                future = executor.submit(run_in_worker, index, items, known)
        self._busy[future] = executor
        return future

    def alone(self, item: Item) -> Record | Rejection:
        """Read one item in a process of its own."""
        return read_alone(self._task, item)

    def close(self) -> None:
        """End the processes, once each has read its shard."""
        for executor in [*self._idle, *self._busy.values()]:
            executor.shutdown(wait=True, cancel_futures=True)


def read_alone(task: ShardTask, item: Item) -> Record | Rejection:
    """Read one item in a process of its own; if that dies, this is the item's rejection."""
    with _process(task) as executor:
        try:
            with held_back():
                future = executor.submit(read_in_worker, item)
            return future.result()
        except BrokenExecutor:
            return Rejection(item.id, CRASH)


def _process(task: ShardTask) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=start_worker, initargs=(task,))
