"""Reading of the shards of a build: those found finished are kept, the others are read in parallel."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from align3d.building.order import Crew
from align3d.building.shard_pools import ProcessPool, ShardPool, read_alone
from align3d.building.shards import ShardResult, ShardTask
from align3d.building.workers import Workers
from align3d.console.progress import Tracker
from align3d.sources import Item, Source


def read_shards(
    task: ShardTask, shards: Mapping[int, Sequence[Item]], crew: Crew, progress: bool
) -> list[ShardResult]:
    """Every shard's result, in order: those found finished, and those that are read.

    Args:
        task: What is the same for every shard.
        shards: The items of each shard, by its number.
        crew: Who reads.
        progress: Whether to say how far it is.
    """
    total = sum(map(len, shards.values()))
    with Tracker(f"reading {task.source.name}", total, "items", patience=2.0, enabled=progress) as bar:
        return _read(task, shards, crew, bar)


def _read(
    task: ShardTask, shards: Mapping[int, Sequence[Item]], crew: Crew, bar: Tracker
) -> list[ShardResult]:
    results: dict[int, ShardResult] = {}
    for index, items in shards.items():
        if (result := task.finished(index)) is not None:
            results[index] = result
            bar.skip(len(items))
    missing = [index for index in shards if index not in results]
    if missing and (pool := _pool(task, crew, len(missing))) is not None:
        results |= Workers(pool, task, shards, bar.advance).run(missing)
    else:
        for index in missing:
            known = {}
            if (place := task.position(index)) is not None:  # where an earlier build died
                item = shards[index][place]
                known = {item.id: read_alone(task, item)}
            results[index] = task.run(index, shards[index], known, bar.advance)
    return [results[index] for index in shards]


def _pool(task: ShardTask, crew: Crew, missing: int) -> ShardPool | None:
    """What reads so many shards; None for this process itself."""
    if crew.engine == "ray":
        from align3d.building.ray_pool import RayPool

        return RayPool(task, crew.workers)
    workers = crew.processes()
    if (workers > 1 and missing > 1) or _can_crash(task.source):
        return ProcessPool(task, min(workers, missing))
    return None


def _can_crash(source: Source) -> bool:
    """Whether a source is to be read in a process of its own even where one process is enough.

    There is none where it could not be started: for a source that was typed in or cannot be pickled, for a
    script whose own code would run again there, as it asks for no ``__name__``, and in a process that may
    have no children.
    """
    if not getattr(source, "can_crash", True) or multiprocessing.current_process().daemon:
        return False
    try:
        pickle.dumps(source)
    except Exception:  # whatever its parts raise
        return False
    script = getattr(sys.modules["__main__"], "__file__", None)
    if script is None:
        return type(source).__module__ != "__main__"
    try:
        return "__name__" in Path(script).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
