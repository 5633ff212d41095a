"""Nearest neighbours: every installed engine over its own knobs, at equal recall, with equal threads."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import faiss
import numba
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align3d.errors import settings_of
from experiments.benchmarks.base import Row, benchmark
from experiments.index_evaluation.recall_plot import check_format, recall_plot
from retrieval import Retriever
from retrieval.benchmark import curves as curve_points
from retrieval.benchmark.curves import GOALS, Cost, Point, Speed, Task
from retrieval.benchmark.synthetic import MIXTURES, queries_of, vectors_of
from retrieval.engines import ENGINES, MissingEngineError, make_index
from retrieval.validation import thread_count

OURS = "ers"
YARDSTICK = "flat"
LEAST_RECALL = 0.9
"""Points below are left untimed, but for each engine's nearest: nobody asks what they cost."""
RATES: Mapping[str, Callable[[Point], float]] = {
    "batched": curve_points.batched,
    "single": curve_points.single,
}


@benchmark("retrieval")
def retrieval(
    size: int = 100_000,
    width: int = 256,
    mixture: Literal["easier", "harder"] = "easier",
    engines: tuple[str, ...] = tuple(ENGINES),
    threads: int = 1,
    queries: int = 1_000,
    singles: int = 200,
    k: int = 10,
    rounds: int = 5,
    seed: int = 0,
    plot: Path | None = None,
    curves: Path | None = None,
) -> Iterator[Row]:
    """Nearest neighbours at recall@k of 0.95 and 0.99: ours, faiss, hnswlib, usearch, ScaNN, DiskANN."""
    with settings_of("retrieval"):
        for name, value in (("k", k), ("rounds", rounds), ("singles", singles)):
            if value < 1:
                raise ValueError(f"{name}={value}: expected at least 1")
        if k > size:
            raise ValueError(f"k={k}: expected at most size={size}")
        if plot is not None:
            check_format(plot)
        made = _made(engines, threads)
        recipe = replace(MIXTURES[mixture], width=width, rank=min(MIXTURES[mixture].rank, width))
        asked = queries_of(recipe, size, queries, seed)
    vectors, filled = np.empty((size, width), np.float32), 0
    for block in vectors_of(recipe, size, seed):  # in place: a list of blocks would take the memory twice
        vectors[filled : filled + len(block)] = block
        filled += len(block)
    before = faiss.omp_get_max_threads(), numba.get_num_threads()
    with threadpool_limits(threads):
        faiss.omp_set_num_threads(threads)
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
        try:
            costs, points = _measured(made, vectors, asked.vectors, asked.targets, k, singles, rounds)
        finally:
            faiss.omp_set_num_threads(before[0])
            numba.set_num_threads(before[1])
    place = f"{mixture} {size:,} × {width}, {threads} thread{'s' if threads > 1 else ''}"
    if plot is not None:
        recall_plot(points, plot, title=place, k=k)
    if curves is not None:
        found = {name: [curve_points.as_json(point) for point in line] for name, line in points.items()}
        curves.parent.mkdir(parents=True, exist_ok=True)
        curves.write_text(json.dumps(found, indent=1) + "\n")
    yield from speed_rows(points, place, k)
    yield from cost_rows(costs, place, vectors.nbytes)


def speed_rows(points: Mapping[str, Sequence[Point]], place: str, k: int) -> Iterator[Row]:
    """Each engine's rate at each goal beside that of exact search, and ours beside the best rival's."""
    for goal in GOALS:
        for kind, rate in RATES.items():
            rates = {name: curve_points.rate_at(line, goal, rate) for name, line in points.items()}
            reached = {name: value for name, value in rates.items() if value is not None}
            metric = f"queries/s at recall@{k} ≥ {goal}, {kind}"
            for name in points:
                if name not in reached:
                    print(f"{name}: {place}: does not reach recall@{k} {goal}", file=sys.stderr)
                elif name != YARDSTICK or len(points) == 1:
                    peer = reached.get(YARDSTICK) if name != YARDSTICK else None
                    named = YARDSTICK if peer is not None else ""
                    yield Row("retrieval", f"{name}, {place}", metric, reached[name], peer, named)
            rivals = {name: value for name, value in reached.items() if name not in (OURS, YARDSTICK)}
            if OURS in reached and rivals:
                best = max(rivals, key=lambda name: rivals[name])
                case = f"{OURS} against the best rival, {place}"
                yield Row("retrieval", case, metric, reached[OURS], rivals[best], best)


def cost_rows(costs: Mapping[str, Cost], place: str, raw: int) -> Iterator[Row]:
    """Each engine's building beside HNSW's, and its memory beside the raw vectors'."""
    graph = costs.get("hnsw")
    for name, cost in costs.items():
        if name == YARDSTICK:
            continue
        case = f"{name}, {place}"
        other = None if graph is None or name == "hnsw" else graph.build_cpu_seconds
        named = "" if other is None else "hnsw"
        yield Row("retrieval", case, "build CPU-s", cost.build_cpu_seconds, other, named, False)
        if cost.resident_bytes is not None:
            memory = cost.resident_bytes / 1e6
            yield Row("retrieval", case, "resident MB", memory, raw / 1e6, "raw", False)
        if cost.disk_bytes:
            yield Row("retrieval", case, "disk MB", cost.disk_bytes / 1e6, raw / 1e6, "raw", False)


def worth_timing(points: Sequence[Point]) -> list[Point]:
    """The points of some recall, and the best one below where they alone do not reach down to the goals."""
    chosen = [point for point in points if point.recall >= LEAST_RECALL]
    below = [point for point in points if point.recall < LEAST_RECALL]
    if below and (not chosen or min(point.recall for point in chosen) > min(GOALS)):
        chosen.append(max(below, key=lambda point: point.recall))
    return chosen


def _made(engines: Sequence[str], threads: int) -> dict[str, Retriever]:
    """The engines that are installed; the others are named on stderr."""
    thread_count("threads", threads)
    made = {}
    for name in dict.fromkeys(engines):
        try:
            engine = make_index(name)
        except MissingEngineError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        if hasattr(engine, "threads"):
            engine.threads = threads
        made[name] = engine
    if not made:
        raise ValueError(f"engines={','.join(engines)}: none of them is installed")
    return made


def _measured(
    made: Mapping[str, Retriever],
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    targets: NDArray[np.int64],
    k: int,
    singles: int,
    rounds: int,
) -> tuple[dict[str, Cost], dict[str, list[Point]]]:
    """Builds all engines, finds their recalls, and times their points in turns."""
    ids = np.arange(len(vectors))
    exact = make_index(YARDSTICK)
    exact.build(vectors, ids)
    task = Task(queries, exact.search(queries, k)[0], list(targets[:, None]))
    del exact
    costs, jobs = {}, []
    for name, engine in made.items():
        costs[name] = curve_points.build(engine, vectors, ids)
        print(f"{name}: built in {costs[name].build_seconds:,.1f} s", file=sys.stderr)
        jobs += [(name, point) for point in worth_timing(curve_points.curve(engine, task))]
    speeds: list[list[Speed]] = [[] for _ in jobs]
    for number in range(rounds):
        # another job begins each round, and every other round goes backwards: nobody always follows the same
        first = number * len(jobs) // rounds
        order = [*range(first, len(jobs)), *range(first)]
        for job in order if number % 2 == 0 else reversed(order):
            name, point = jobs[job]
            curve_points.set_search_params(made[name], point.search_params)
            speeds[job].append(curve_points.measure(made[name], queries, k, singles))
    points: dict[str, list[Point]] = {name: [] for name in made}
    for (name, point), found in zip(jobs, speeds, strict=True):
        points[name].append(replace(point, speed=curve_points.typical(found)))
    return costs, points
