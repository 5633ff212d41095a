"""Measurement of one direction of search: engines over their settings, then with re-ranking."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import faiss
import numba
import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align3d.console.progress import Tracker
from align3d.console.terminal import say
from align3d.errors import UserError
from experiments.index_evaluation.engine_settings import engine_name, engine_settings
from experiments.index_evaluation.options import Settings
from experiments.index_evaluation.strengths import FIRST_STAGE, Strengths
from retrieval import FlatIndex, KnownPairs, MemoryIndex, Retriever
from retrieval.benchmark import curves
from retrieval.benchmark.curves import GOALS, Cost, Point, Speed, Task
from retrieval.engines import MissingEngineError, make_index
from retrieval.memory.reranking import ScoreHubness
from retrieval.metrics import ranks_from_ids
from retrieval.reranker import Reranker, Timed, rerank

EXACT = "flat"
WITH_MEMORY = " + memory"
"""Behind an engine's name."""
LEAST_RECALL = 0.9
"""Points below are left untimed, but for each engine's nearest: nobody asks what they cost."""


@dataclass(frozen=True)
class Remembered:
    """Memory for a problem.

    Attributes:
        pairs: The bank.
        own: ``[N, P]`` places of the pairs that mean each vector, -1 for none.
        strengths: Of the ``first stage`` and of re-rankers.
        rerankers: By name, with memory.
        hubness: Of re-rankers, which know what it took.
    """

    pairs: KnownPairs
    own: NDArray[np.int64] | None
    strengths: Mapping[str, Strengths]
    rerankers: Mapping[str, Reranker]
    hubness: Mapping[str, ScoreHubness]

    def first(self, count: int) -> Remembered:
        """Of the first so many vectors."""
        return replace(self, own=None if self.own is None else self.own[:count])


@dataclass(frozen=True)
class Problem:
    """Vectors, queries, and the queries' right answers; ``N`` vectors, ``Q`` queries.

    Attributes:
        name: Such as ``text_to_shape``.
        vectors: ``[N, D]``; ids are rows.
        queries: ``[Q, D]``.
        right: For each query the ids of its right answers.
        rows: ``[Q]`` by which re-rankers know the queries.
        rerankers: By name; none where there is nothing but vectors.
        memory: With which all engines are measured once more.
    """

    name: str
    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]
    right: Sequence[NDArray[np.int64]]
    rows: NDArray[np.int64]
    rerankers: Mapping[str, Reranker] = field(default_factory=dict)
    memory: Remembered | None = None


@dataclass(frozen=True)
class Candidates:
    """Candidates that an engine found, to be re-ranked.

    Attributes:
        search_params: Its setting.
        ids: ``[Q, C]``.
        overlap: Share of exact search's first C that are among them.
        milliseconds: A query in a batch.
    """

    search_params: Mapping[str, int]
    ids: NDArray[np.int64]
    overlap: float
    milliseconds: float


@dataclass(frozen=True)
class Reranked:
    """An engine's candidates in the order of a re-ranker.

    Attributes:
        search_params: The fastest setting whose candidates reach the wanted overlap with exact search's, else
            the one that comes nearest: what serves for ``k`` answers may be too little for all candidates.
        overlap: Of the candidates with exact search's.
        quality: See `retrieval.benchmark.curves.quality`.
        milliseconds: Of the re-ranker, a query in a batch, on the wall's clock.
        cpu_milliseconds: Of the processor.
        search_milliseconds: Of finding the candidates, a query in a batch.
        gain: Its R@1 less that of exact search, and the ends of the 95 % interval.
    """

    search_params: Mapping[str, int]
    overlap: float
    quality: Mapping[str, float]
    milliseconds: float
    cpu_milliseconds: float
    search_milliseconds: float
    gain: tuple[float, float, float]


@dataclass(frozen=True)
class Measured:
    """An engine on a problem.

    Attributes:
        cost: Of building and keeping it.
        points: Over its search parameters.
        chosen: The fastest of them that reaches the wanted overlap with exact search, else the one with most.
        reranked: By the re-ranker's name.
        gain: R@1 at the chosen point less that of exact search without memory, and the ends of its 95 %
            interval.
    """

    cost: Cost
    points: list[Point]
    chosen: Point
    reranked: Mapping[str, Reranked]
    gain: tuple[float, float, float]


def engines_of(settings: Settings, *, tell: bool = False) -> dict[str, Callable[[], Retriever]]:
    """Makers of the engines that are installed.

    Args:
        settings: Name the engines.
        tell: Print those that are not installed, and the fix, to stderr.

    Raises:
        UserError: None is, or an engine has no such setting.
    """
    found: dict[str, Callable[[], Retriever]] = {}
    for name in dict.fromkeys(settings.engines):
        try:
            _made(name, settings)
        except ValueError as error:
            raise UserError(f"engines={name}: {error}") from error
        except MissingEngineError as error:
            if tell:
                say(f"left out: {error}", error=True)
            continue
        found[name] = partial(_made, name, settings)
    if not found:
        raise UserError(f"engines={','.join(settings.engines)}: none of them is installed")
    return found


def measure(problem: Problem, settings: Settings) -> dict[str, Measured]:
    """Measures all engines on a problem, by name, and those with memory behind `WITH_MEMORY`."""
    count = len(problem.vectors)
    ids, k = np.arange(count), min(settings.k, count)
    makers = engines_of(settings)
    made: dict[str, Retriever] = {}
    costs: dict[str, Cost] = {}
    points: dict[str, list[Point]] = {}
    found: dict[str, Measured] = {}
    arms = ["", WITH_MEMORY] if problem.memory is not None else [""]
    exact: dict[str, Retriever] = {}
    tasks: dict[str, Task] = {}
    for arm in arms:
        exact[arm] = _armed(FlatIndex(threads=settings.threads), problem, arm)
        exact[arm].build(problem.vectors, ids, **_own(problem, arm))
        tasks[arm] = Task(problem.queries, exact[arm].search(problem.queries, k)[0], problem.right)
    exact_hits = ranks_from_ids(tasks[""].exact, problem.right) == 1
    arm_of = {f"{name}{arm}": (name, arm) for name in makers for arm in arms}
    with Tracker(f"{problem.name}: building", len(arm_of), "engines") as tracker:
        for title, (name, arm) in arm_of.items():
            made[title] = _armed(makers[name](), problem, arm)
            costs[title] = curves.build(made[title], problem.vectors, ids, **_own(problem, arm))
            points[title] = worth_timing(curves.curve(made[title], tasks[arm]))
            tracker.advance(note=title)
    points = timed(problem.name, problem.queries, made, points, k, settings.rounds, settings.singles)
    wanted = {arm: exact[arm].search(problem.queries, min(settings.candidates, count))[0] for arm in arms}
    total = len(made) * len(problem.rerankers)
    with Tracker(f"{problem.name}: re-ranking", total, "rankings") as tracker:
        for title, (_, arm) in arm_of.items():
            chosen = choose(points[title], settings.recall)
            reranked = {}
            rerankers = problem.memory.rerankers if arm and problem.memory else problem.rerankers
            if rerankers:
                candidates = for_candidates(
                    made[title], problem.queries, wanted[arm], points[title], settings.recall
                )
            for ranking, reranker in rerankers.items():
                if arm:  # the hubness that is computed once a candidate is no part of a query's time
                    reranker(problem.rows, candidates.ids)
                reranked[ranking] = _reranked(problem, reranker, candidates, settings, exact_hits)
                tracker.advance(note=f"{title}, {ranking}")
            hits = ranks_from_ids(_found(made[title], problem, chosen, k), problem.right) == 1
            gain = bootstrap(hits.astype(np.float64) - exact_hits, settings.resamples, settings.seed)
            found[title] = Measured(costs[title], points[title], chosen, reranked, gain)
    return found


def _armed(engine: Retriever, problem: Problem, arm: str) -> Any:
    """The engine, in the arm with memory around its first stage."""
    if not arm or problem.memory is None:
        return engine
    strengths = problem.memory.strengths[FIRST_STAGE]
    return MemoryIndex(engine, problem.memory.pairs, recall=strengths.recall, hubness=strengths.hubness)


def _own(problem: Problem, arm: str) -> dict[str, Any]:
    """Arguments that building in the arm with memory needs besides vectors."""
    return {"leave_out": problem.memory.own} if arm and problem.memory is not None else {}


def _found(engine: Retriever, problem: Problem, point: Point, k: int) -> NDArray[np.int64]:
    """Ids that an engine finds at a point."""
    curves.set_search_params(engine, point.search_params)
    return engine.search(problem.queries, k)[0]


def worth_timing(points: Sequence[Point]) -> list[Point]:
    """The points of some recall, and the best one below where they alone do not reach down to the goals."""
    chosen = [point for point in points if point.recall >= LEAST_RECALL]
    below = [point for point in points if point.recall < LEAST_RECALL]
    if below and (not chosen or min(point.recall for point in chosen) > min(GOALS)):
        chosen.append(max(below, key=lambda point: point.recall))
    return chosen


def choose(points: Sequence[Point], recall: float) -> Point:
    """The fastest point that reaches the recall; where none does, that of most recall."""
    enough = [point for point in points if point.recall >= recall]
    if enough:
        return max(enough, key=curves.batched)
    return max(points, key=lambda point: (point.recall, curves.batched(point)))


def bootstrap(difference: NDArray[np.floating], resamples: int, seed: int) -> tuple[float, float, float]:
    """The mean of paired differences ``[Q]`` and the ends of its 95 % interval, resampling the queries."""
    draw = np.random.default_rng([seed, len(difference)])
    means = np.empty(resamples)
    for row in range(resamples):
        means[row] = difference[draw.integers(0, len(difference), len(difference))].mean()
    low, high = np.quantile(means, [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """So many threads for every library, and those that they had before afterwards."""
    before = faiss.omp_get_max_threads(), numba.get_num_threads(), torch.get_num_threads()
    with threadpool_limits(threads):
        faiss.omp_set_num_threads(threads)
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            faiss.omp_set_num_threads(before[0])
            numba.set_num_threads(before[1])
            torch.set_num_threads(before[2])


def _made(title: str, settings: Settings) -> Retriever:
    """An empty engine, with the settings behind its name."""
    name, own = engine_name(title), engine_settings(title)
    engine = make_index(name, **({"backend": settings.backend} | own if name == "ers" else own))
    if hasattr(engine, "threads"):
        engine.threads = settings.threads
    return engine


def timed(
    title: str,
    queries: NDArray[np.float32],
    made: Mapping[str, Retriever],
    found_points: Mapping[str, list[Point]],
    k: int,
    rounds: int,
    singles: int,
) -> dict[str, list[Point]]:
    """The same points with their speeds, the engines' turns interleaved.

    Args:
        title: Of the progress.
        queries: ``[Q, D]``.
        made: Built engines by name.
        found_points: Of each.
        k: Neighbors that are asked for.
        rounds: Turns of each point.
        singles: Queries that are also asked one by one.
    """
    jobs = [(name, point) for name, points in found_points.items() for point in points]
    speeds: list[list[Speed]] = [[] for _ in jobs]
    with Tracker(f"{title}: timing", rounds * len(jobs), "points") as tracker:
        for number in range(rounds):
            first = number * len(jobs) // rounds  # nobody always follows the same
            order = [*range(first, len(jobs)), *range(first)]
            for job in order if number % 2 == 0 else reversed(order):
                name, point = jobs[job]
                curves.set_search_params(made[name], point.search_params)
                speeds[job].append(curves.measure(made[name], queries, k, singles))
                tracker.advance(note=name)
    with_speed: dict[str, list[Point]] = {name: [] for name in made}
    for (name, point), found in zip(jobs, speeds, strict=True):
        with_speed[name].append(replace(point, speed=curves.typical(found)))
    return with_speed


def for_candidates(
    engine: Retriever,
    queries: NDArray[np.float32],
    wanted: NDArray[np.int64],
    points: Sequence[Point],
    recall: float,
) -> Candidates:
    """An engine's candidates at the fastest of its settings that finds enough of the wanted ones.

    Args:
        engine: Is built; its search parameters are left at the last setting that was tried.
        queries: ``[Q, D]``.
        wanted: ``[Q, C]`` of exact search.
        points: Measured.
        recall: Share of the wanted ones that is enough; where no setting finds so much, the best one counts.
    """
    best: Candidates | None = None
    for point in sorted(points, key=curves.batched, reverse=True):
        curves.set_search_params(engine, point.search_params)
        seconds = time.perf_counter()
        ids, _ = engine.search(queries, wanted.shape[1])
        seconds = time.perf_counter() - seconds
        found = Candidates(
            point.search_params, ids, curves.overlap(ids, wanted), 1e3 * seconds / len(queries)
        )
        if best is None or found.overlap > best.overlap:
            best = found
        if best.overlap >= recall:
            break
    if best is None:
        raise ValueError("no measured points: expected at least one")
    return best


def _reranked(
    problem: Problem,
    reranker: Reranker,
    candidates: Candidates,
    settings: Settings,
    exact_hits: NDArray[np.bool_],
) -> Reranked:
    few = slice(0, min(8, len(candidates.ids)))
    reranker(problem.rows[few], candidates.ids[few])  # what compiles does so now
    timed = Timed(reranker)
    ids, _ = rerank(problem.rows, candidates.ids, timed, candidates.ids.shape[1])
    hits = ranks_from_ids(ids, problem.right) == 1
    difference = hits.astype(np.float64) - exact_hits
    return Reranked(
        search_params=candidates.search_params,
        overlap=candidates.overlap,
        quality=curves.quality(ids, problem.right),
        milliseconds=timed.milliseconds,
        cpu_milliseconds=timed.cpu_milliseconds,
        search_milliseconds=candidates.milliseconds,
        gain=bootstrap(difference, settings.resamples, settings.seed),
    )
