"""Pool of Ray's workers, on this machine or many: ``engine=ray``.

A shard is a task: its machine reads the items and writes the file into the folder of the build, which all
machines share, so that only the shard's description travels through Ray. Where a stage waits for others
rather than computes, such as a captioner for its model, the shard is two tasks, on workers of their own
kinds, and the drafts between them are held by Ray.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Future
from typing import Any

from align3d.building.ray_cluster import connect, is_remote
from align3d.building.shard_pools import CRASH, Outcomes
from align3d.building.shards import ShardResult, ShardTask
from align3d.building.stages import Draft
from align3d.errors import DataError
from align3d.record import Record, Rejection
from align3d.sources import Item

CAPTIONS = "captions"
"""Resource of the machines that caption: ``ray start --num-cpus=0 --resources='{"captions": 8}'``."""


class RayPool:
    """Pool of a cluster of Ray.

    Args:
        task: What is the same for every shard.
        workers: Shards that are read at a time; None: as many as the cluster has cores.

    Raises:
        UserError: The package is missing, or there is no cluster.
    """

    def __init__(self, task: ShardTask, workers: int | None) -> None:
        self._ray = ray = connect("engine=ray")
        resources = ray.cluster_resources()
        captioners = int(resources.get(CAPTIONS, 0))
        self.tries = 3 if is_remote() else 1  # a machine may be lost, and no item is to blame
        self._apart = task.first_apart < len(task.stages)
        count = workers or max(1, int(resources.get("CPU", 1)))
        self.most = count + (captioners or count) * self._apart
        geometry = {"num_cpus": 1, "max_retries": 0}
        apart = {"num_cpus": 0, "resources": {CAPTIONS: 1}, "max_retries": 0} if captioners else geometry
        self._read = ray.remote(read_shard).options(name="read", **geometry)
        self._run = ray.remote(run_shard).options(name="read and write", **geometry)
        self._finish = ray.remote(finish_shard).options(name="caption and write", **apart)
        self._one = ray.remote(read_one).options(name="read alone", **(apart if self._apart else geometry))
        self._task = ray.put(task)
        self._open: set[Any] = set()

    def submit(self, index: int, items: Sequence[Item], known: Outcomes) -> Future[ShardResult]:
        """Have a shard read and written."""
        if not self._apart:
            return self._future(self._run.remote(self._task, index, items, dict(known)))
        drafts = self._read.remote(self._task, index, items, dict(known))
        ids = [item.id for item in items]
        return self._future(self._finish.remote(self._task, index, ids, dict(known), drafts))

    def alone(self, item: Item) -> Record | Rejection:
        """Read one item in a task of its own; more than once, as a machine may be lost meanwhile."""
        for _ in range(self.tries):
            try:
                found: Record | Rejection = self._future(self._one.remote(self._task, item)).result()
                return found
            except BrokenExecutor:
                continue
        return Rejection(item.id, CRASH)

    def close(self) -> None:
        """End the tasks that still run."""
        for task in list(self._open):
            self._ray.cancel(task, force=True)

    def _future(self, task: Any) -> Future[Any]:
        """The future of a task, which raises what its body raised, or that its worker is lost."""
        found: Future[Any] = Future()
        self._open.add(task)

        def pass_on(ended: Future[Any]) -> None:
            self._open.discard(task)
            if (error := ended.exception()) is None:
                found.set_result(ended.result())
            else:
                found.set_exception(self._cause(error))

        task.future().add_done_callback(pass_on)
        return found

    def _cause(self, error: BaseException) -> BaseException:
        exceptions = self._ray.exceptions
        while isinstance(error, exceptions.RayTaskError) and error.cause is not None:
            error = error.cause
        if isinstance(error, exceptions.RayError):
            return BrokenExecutor(f"{type(error).__name__}: {error}")
        return error


def run_shard(task: ShardTask, index: int, items: Sequence[Item], known: Outcomes) -> ShardResult:
    """Read and write a shard, in a worker of Ray's."""
    return _here(task).run(index, items, known)


def read_shard(task: ShardTask, index: int, items: Sequence[Item], known: Outcomes) -> list[Draft]:
    """Read a shard for another worker to finish."""
    return _here(task).read(index, items, known)


def finish_shard(
    task: ShardTask, index: int, ids: Sequence[str], known: Outcomes, drafts: Sequence[Draft]
) -> ShardResult:
    """Caption and write a shard that another worker has read."""
    return _here(task).finish(index, ids, known, drafts)


def read_one(task: ShardTask, item: Item) -> Record | Rejection:
    """What comes of one item alone."""
    return _here(task).outcome(item)


def _here(task: ShardTask) -> ShardTask:
    """The task, if the folder of the build is on this machine.

    Raises:
        DataError: It is not.
    """
    if not task.folder.is_dir():
        where = f"{socket.gethostname()} (process {os.getpid()})"
        raise DataError(
            f"engine=ray: {where} has no {task.folder}; name a folder (out=) that all machines share"
        )
    return task
