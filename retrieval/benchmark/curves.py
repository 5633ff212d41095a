"""Recall, quality, speed and size of an index over its search parameters.

An engine is judged by a curve over its own search parameters, never at one point: who wins there depends on
the choice of the point. `curve` measures points, `frontier` keeps those that nothing beats, `rate_at` reads a
rate between them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.engines import search_params_of
from retrieval.metrics import mean_reciprocal_rank, ndcg_at_k, ranks_from_ids, recall_at_k
from retrieval.protocol import Retriever

GOALS = (0.95, 0.99)
"""Recalls at which engines are compared."""
WARMING = 64
"""Queries asked before a measurement."""
_NEVER = np.iinfo(np.int64).max  # the rank of what was not found


@dataclass(frozen=True)
class Task:
    """Queries with what they should find.

    Attributes:
        queries: ``[Q, D]``.
        exact: ``[Q, k]`` ids of the exact nearest neighbors, best first.
        right: For each query the ids of its right answers, of whatever count.
    """

    queries: NDArray[np.float32]
    exact: NDArray[np.int64]
    right: Sequence[NDArray[np.int64]]

    def __post_init__(self) -> None:
        if self.exact.ndim != 2 or not len(self.queries) == len(self.exact) == len(self.right):
            raise ValueError(
                f"{len(self.queries)} queries, neighbors {self.exact.shape}, {len(self.right)} sets of "
                "right answers: expected Q, [Q, k] and Q"
            )
        if not len(self.queries):
            raise ValueError("no queries: expected at least one")


@dataclass(frozen=True)
class Speed:
    """Query speed of an engine, in the process and with the threads that it has.

    Attributes:
        batched: Queries a second, given all at once.
        single: Queries a second, given one by one.
        p50: Median seconds of a query given by itself.
        p99: Seconds that 99 % of them stay below.
    """

    batched: float
    single: float
    p50: float
    p99: float


@dataclass(frozen=True)
class Point:
    """An engine at one setting of its search parameters.

    Attributes:
        search_params: The setting; empty for an engine without any.
        recall: Share of the exact nearest k that it finds, see `overlap`.
        quality: See `quality`.
        speed: None until it is measured.
    """

    search_params: Mapping[str, int]
    recall: float
    quality: Mapping[str, float]
    speed: Speed | None = None


@dataclass(frozen=True)
class Cost:
    """Resources that an engine needs.

    Attributes:
        build_seconds: Wall-clock seconds of `Retriever.build`.
        build_cpu_seconds: Processor seconds of the same, over all threads.
        resident_bytes: Of memory, by its own account (`resident_bytes()`); None if it gives none.
        disk_bytes: Of files that it reads while it searches (`disk_bytes()`); 0 if it gives none.
    """

    build_seconds: float
    build_cpu_seconds: float
    resident_bytes: int | None
    disk_bytes: int


def overlap(found: NDArray[np.int64], exact: NDArray[np.int64]) -> float:
    """Recall@k against exact search: the mean share of the exact k that are among the found k, in [0, 1].

    Args:
        found: ``[Q, k]`` ids, -1 where nothing was found.
        exact: ``[Q, k]`` ids, -1 beyond what there is.

    Raises:
        ValueError: If the shapes differ, or there is nothing to find.
    """
    if found.shape != exact.shape or found.ndim != 2:
        raise ValueError(f"found {found.shape}, exact {exact.shape}: expected one shape [Q, k]")
    real = exact >= 0
    if not real.any():
        raise ValueError("no exact neighbors: expected at least one a query")
    hit = (found[:, :, None] == exact[:, None, :]).any(1) & real
    return float(hit.sum() / real.sum())


def quality(found: NDArray[np.int64], right: Sequence[NDArray[np.int64]]) -> dict[str, float]:
    """``recall@1``, ``recall@5``, ``recall@10``, ``mrr@10`` and ``ndcg@5`` of found ids ``[Q, k]``.

    A cut-off above k counts only what is there. The reciprocal rank is 0 for what is not among the first ten,
    so that lists of ten and of a hundred can be compared.
    """
    ranks = ranks_from_ids(found, right)
    ranks[ranks > found.shape[1]] = _NEVER
    first_ten = np.where(ranks <= 10, ranks, _NEVER)
    return {
        **{f"recall@{cutoff}": recall_at_k(ranks, cutoff) for cutoff in (1, 5, 10)},
        "mrr@10": mean_reciprocal_rank(first_ten),
        "ndcg@5": ndcg_at_k(found, right, 5),
    }


def build(engine: Retriever, vectors: NDArray[np.float32], ids: NDArray[np.int64], **settings: Any) -> Cost:
    """Builds an engine, with what else its ``build`` takes, and says what that took."""
    wall, cpu = time.perf_counter(), time.process_time()
    engine.build(vectors, ids, **settings)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    resident, disk = getattr(engine, "resident_bytes", None), getattr(engine, "disk_bytes", None)
    return Cost(wall, cpu, _bytes(resident), _bytes(disk) or 0)


def settings_of(values_of: Mapping[str, Sequence[int]]) -> list[dict[str, int]]:
    """All combinations of search parameters, the first moving fastest; one empty one for none."""
    names = list(values_of)
    grids = itertools.product(*(values_of[name] for name in reversed(names)))
    return [dict(zip(names, reversed(values), strict=True)) for values in grids]


def set_search_params(engine: Retriever, search_params: Mapping[str, int]) -> None:
    """Sets an engine's search parameters, of one with memory those of the engine that it is around."""
    engine = getattr(engine, "engine", engine)
    for name, value in search_params.items():
        setattr(engine, name, value)


def curve(
    engine: Retriever,
    task: Task,
    enough: float = 0.998,
    values_of: Mapping[str, Sequence[int]] | None = None,
    least_gain: float | None = None,
) -> list[Point]:
    """An engine's answers over its search parameters, without speed.

    Args:
        engine: A built engine; its search parameters are left at the last setting.
        task: The queries; k is that of its exact neighbors.
        enough: Recall from which on the first parameter is raised no further.
        values_of: For each search parameter the values that are tried; None takes the engine's own.
        least_gain: Recall that raising the first parameter has to gain for it to be raised again; None raises
            it regardless.

    Returns:
        One point a setting that was tried.
    """
    k = task.exact.shape[1]
    values_of = search_params_of(engine) if values_of is None else values_of
    names = list(values_of)
    points: list[Point] = []
    sated: set[tuple[int, ...]] = set()
    before: dict[tuple[int, ...], float] = {}
    for search_params in settings_of(values_of):
        others = tuple(search_params[name] for name in names[1:])
        if others in sated:
            continue
        set_search_params(engine, search_params)
        found, _ = engine.search(task.queries, k)
        recall = overlap(found, task.exact)
        points.append(Point(search_params, recall, quality(found, task.right)))
        gained = recall - before.get(others, -1.0)
        if recall >= enough or (least_gain is not None and gained < least_gain):
            sated.add(others)
        before[others] = recall
    return points


def measure(engine: Retriever, queries: NDArray[np.float32], k: int, singles: int | None = None) -> Speed:
    """Times an engine once as it is set; call it in turns with its peers and take `typical`.

    Args:
        engine: Is built. A few queries are asked beforehand, unmeasured, so that it is warm.
        queries: ``[Q, D]``, asked in one batch.
        k: How many neighbors.
        singles: How many of the queries, the first ones, are then asked one by one; None asks all.
    """
    engine.search(queries[:WARMING], k)
    start = time.perf_counter()
    engine.search(queries, k)
    batch = time.perf_counter() - start
    seconds = np.empty(len(queries) if singles is None else min(singles, len(queries)))
    for row in range(len(seconds)):
        start = time.perf_counter()
        engine.search(queries[row : row + 1], k)
        seconds[row] = time.perf_counter() - start
    p50, p99 = np.quantile(seconds, [0.5, 0.99])
    return Speed(len(queries) / batch, len(seconds) / float(seconds.sum()), float(p50), float(p99))


def typical(speeds: Sequence[Speed]) -> Speed:
    """The median of repeated measurements, figure by figure, which one disturbed turn does not move."""
    if not speeds:
        raise ValueError("no measurements: expected at least one")
    table = [asdict(speed) for speed in speeds]
    return Speed(**{name: float(np.median([row[name] for row in table])) for name in table[0]})


def batched(point: Point) -> float:
    """Queries a second of a measured point, in a batch."""
    return _speed(point).batched


def single(point: Point) -> float:
    """Queries a second of a measured point, one by one."""
    return _speed(point).single


def frontier(points: Sequence[Point], rate: Callable[[Point], float] = batched) -> list[Point]:
    """The points that no other beats in both recall and speed, from the lowest recall to the highest.

    Args:
        points: Measured ones.
        rate: Queries a second of a point: `batched` or `single`.
    """
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.recall, rate(p)), reverse=True):
        if not kept or rate(point) > rate(kept[-1]):
            kept.append(point)
    return kept[::-1]


def rate_at(points: Sequence[Point], recall: float, rate: Callable[[Point], float] = batched) -> float | None:
    """Queries a second at a recall, read off the frontier.

    Between two points the logarithm of the rate is taken to be linear in recall, as on the usual plot. Below
    the lowest recall measured the rate there counts: a better answer serves as well.

    Returns:
        None if the engine does not reach the recall.
    """
    best = frontier(points, rate)
    if not best or best[-1].recall < recall:
        return None
    recalls = [point.recall for point in best]
    return float(np.exp(np.interp(recall, recalls, [np.log(rate(point)) for point in best])))


def as_json(point: Point) -> dict[str, Any]:
    """A point for a file."""
    speed = None if point.speed is None else asdict(point.speed)
    return {
        "knobs": dict(point.search_params),
        "recall": point.recall,
        "quality": dict(point.quality),
        "speed": speed,
    }


def _speed(point: Point) -> Speed:
    if point.speed is None:
        raise ValueError(f"the point at {dict(point.search_params)} has no speed: measure it first")
    return point.speed


def _bytes(counter: Any) -> int | None:
    """A size given as a method, as a plain number, or not at all."""
    value = counter() if callable(counter) else counter
    return None if value is None else int(value)
