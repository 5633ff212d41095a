"""Benchmark of indexes whose exact vectors stay on disk, up to more vectors than memory holds.

Everything that takes long is kept in a folder: the vectors, the exact neighbors, the index, and the rows of
each step that was measured. What was cut off goes on there.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import faiss
import numpy as np
from numpy.typing import NDArray

from align3d.console.progress import Tracker
from align3d.errors import UserError, settings_of
from durable.checksums import checked_json, write_json
from durable.whole_files import replacing
from experiments.benchmarks.base import Row, benchmark
from experiments.benchmarks.engine_rows import OURS, speed_rows
from experiments.console.process import PeakMemory, resident_bytes
from experiments.index_evaluation.engine_settings import engine_name
from experiments.index_evaluation.measure import engines_of, pinned, timed
from experiments.index_evaluation.options import Settings
from retrieval import ErsIndex, Retriever
from retrieval.benchmark import curves
from retrieval.benchmark.curves import GOALS, Point, Task
from retrieval.benchmark.synthetic import BLOCK, MIXTURES, Mixture, queries_of, vectors_of, write_vectors
from retrieval.engines import search_params_of
from retrieval.engines.base import PROBES

NAME = "retrieval_mapped"
LADDER = (*PROBES, 384, 512, 768, 1024, 1536, 2048)
"""Leaves or cells that are tried; ten million vectors need more than a million do."""
LEAST_GAIN = 0.002
"""Recall that half as many leaves more have to bring, or no more are tried."""
STEP = 250_000
"""Vectors that exact search takes at a time."""
MEGABYTE = 1e6
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """Settings that decide what a step measures.

    Attributes:
        folder: Of everything that is kept.
        mixture: Name of the recipe.
        recipe: Of the vectors.
        size: Vectors.
        queries: How many ask.
        k: Neighbors that are asked for.
        seed: Of everything.
    """

    folder: Path
    mixture: str
    recipe: Mixture
    size: int
    queries: int
    k: int
    seed: int

    @property
    def place(self) -> str:
        """Words for the vectors."""
        return f"{self.mixture} {self.size:,} × {self.recipe.width} on disk, 1 thread"

    @property
    def index(self) -> Path:
        """Folder of the index."""
        return self.folder / f"{OURS}-{self.size}"


@benchmark(NAME)
def retrieval_mapped(
    folder: Path = Path("outputs/retrieval_mapped"),
    size: tuple[int, ...] = (10_000, 100_000, 1_000_000),
    dim: int = 256,
    mixture: Literal["easier", "harder"] = "harder",
    engines: tuple[str, ...] = ("ers", "ivfpq"),
    queries: int = 1_000,
    singles: int = 200,
    k: int = 10,
    rounds: int = 3,
    writes: int = 1_000,
    batch: int = 100,
    asks: int = 50,
    seconds: int = 30,
    seed: int = 0,
) -> Iterator[Row]:
    """Vectors on disk, codes in memory: building, memory, speed at equal recall, answers under a writer.

    Args:
        folder: Everything that takes long is kept there, and taken from there again.
        size: Vectors, one size or several; all are the first ones of the largest.
        dim: Width of the vectors.
        mixture: Recipe of the vectors.
        engines: Engines that are compared; those that read a mapped file in place are ers, ivfpq and flat.
        queries: Queries in a batch.
        singles: Queries that are also asked one by one.
        k: Neighbors that are asked for.
        rounds: Rounds of timing.
        writes: Vectors that the writer adds in a second.
        batch: Vectors that it adds in a call.
        asks: Queries that are asked in a second beside it.
        seconds: Time that it writes.
        seed: Seed of everything.
    """
    settings = Settings(mixture=mixture, engines=engines, backend="auto")
    makers = engines_of(settings, tell=True)
    with settings_of(NAME), pinned(1):
        recipe = replace(MIXTURES[mixture], width=dim, rank=min(MIXTURES[mixture].rank, dim))
        place = folder / f"{mixture}-{dim}-{seed}"
        place.mkdir(parents=True, exist_ok=True)
        for count in sorted(size):
            plan = Plan(place, mixture, recipe, count, queries, k, seed)
            yield from _measured(plan, makers, singles, rounds, (writes, batch, asks, seconds))


def _measured(
    plan: Plan,
    makers: Mapping[str, Callable[[], Retriever]],
    singles: int,
    rounds: int,
    writer: tuple[int, int, int, int],
) -> Iterator[Row]:
    """The rows of one size, step by step."""
    whole = _vectors(plan)
    ours = next((title for title in makers if engine_name(title) == OURS), None)
    wanted = f"{plan.queries} {plan.k}"
    if ours is not None:
        yield from _once(plan, f"index {ours}", partial(_cost_of_index, plan, ours, makers[ours], whole))
    comparing = f"speed {' '.join(makers)} {wanted} {singles} {rounds}"
    writing = f"writer {wanted} {' '.join(map(str, writer))}"
    known = _kept(plan)
    if comparing in known:
        for step in (writing, *(f"build {title}" for title in makers if title != ours), comparing):
            yield from known.get(step, [])
        return
    task = _task(plan, whole)
    made: dict[str, Retriever] = {}
    points: dict[str, list[Point]] = {}
    vectors = whole
    if ours is not None:
        made[ours] = ErsIndex.load(plan.index, verify=False)
        vectors = np.load(next(plan.index.glob("data-*/vectors.npy")), mmap_mode="r")  # cached once, for all
        points[ours] = _points(made[ours], task)
        enough = [point for point in points[ours] if point.recall >= GOALS[0]]
        if enough:
            yield from _once(plan, writing, partial(_beside_a_writer, plan, enough[0], task, writer))
    for title, make in makers.items():
        if title not in made:
            made[title] = make()
            rows = list(_build_rows(plan, title, made[title], vectors))  # it is kept nowhere
            yield from _once(plan, f"build {title}", partial(list, rows))
            points[title] = _points(made[title], task)

    def speeds() -> list[Row]:
        found = timed(plan.place, task.queries, made, points, plan.k, rounds, singles)
        return [replace(row, benchmark=NAME) for row in speed_rows(found, plan.place, plan.k)]

    yield from _once(plan, comparing, speeds)


def _vectors(plan: Plan) -> Floats:
    """The vectors ``[N, D]`` under a memory map; the first ones of a larger set that is there."""
    larger = [
        int(path.stem.partition("-")[2])
        for path in plan.folder.glob("vectors-*.npy")
        if path.stem.partition("-")[2].isdecimal()
    ]
    count = min((known for known in larger if known >= plan.size), default=plan.size)
    with Tracker(f"{plan.mixture}: making vectors", count, "vectors") as tracker:
        path = plan.folder / f"vectors-{count}.npy"
        return write_vectors(path, plan.recipe, count, plan.seed, tracker.advance)[: plan.size]


def _task(plan: Plan, vectors: Floats) -> Task:
    """Queries and their exact nearest neighbors, by blocks of the file."""
    path = plan.folder / f"exact-{plan.size}-{plan.queries}-{plan.k}.npz"
    if not path.exists():
        asked = queries_of(plan.recipe, plan.size, plan.queries, plan.seed)
        best = faiss.ResultHeap(len(asked.vectors), plan.k, keep_max=True)
        with Tracker(f"{plan.place}: exact neighbors", plan.size, "vectors") as tracker:
            for at in range(0, plan.size, STEP):
                some = vectors[at : at + STEP]
                scores, rows = faiss.knn(
                    asked.vectors, np.asarray(some), min(plan.k, len(some)), metric=faiss.METRIC_INNER_PRODUCT
                )
                best.add_result(scores, rows + at)
                tracker.advance(len(some))
        best.finalize()
        with replacing(path) as beside, beside.open("wb") as file:
            np.savez(file, queries=asked.vectors, targets=asked.targets, exact=best.I)
    with np.load(path) as kept:
        return Task(kept["queries"], kept["exact"], list(kept["targets"][:, None]))


def _points(engine: Retriever, task: Task) -> list[Point]:
    """For each number of refined candidates the cheapest points that reach the goals."""
    grid = {name: LADDER if values is PROBES else values for name, values in search_params_of(engine).items()}
    tried = curves.curve(engine, task, max(GOALS), grid, LEAST_GAIN)
    first = next(iter(grid), None)
    chosen: list[Point] = []
    for goal in GOALS:
        cheapest: dict[tuple[int, ...], Point] = {}
        for point in tried:
            others = tuple(value for name, value in point.search_params.items() if name != first)
            if point.recall >= goal:
                cheapest.setdefault(others, point)
        chosen += [point for point in cheapest.values() if point not in chosen]
    return chosen


def _build_rows(plan: Plan, title: str, engine: Retriever, vectors: Floats) -> Iterator[Row]:
    """Builds an engine and says what that took."""
    raw, case = vectors.nbytes / MEGABYTE, f"{title}, {plan.place}"
    before = resident_bytes() or (0, 0)
    with PeakMemory() as peak:
        cost = curves.build(engine, vectors, np.arange(len(vectors)))
    figures = [
        ("build s", cost.build_seconds, None),
        ("build CPU-s", cost.build_cpu_seconds, None),
        ("MB of its own while building, at most", max(0, peak.bytes - before[0]) / MEGABYTE, raw),
        ("resident MB", (cost.resident_bytes or 0) / MEGABYTE, raw),
        ("mapped MB", cost.disk_bytes / MEGABYTE, raw),
    ]
    for metric, value, peer in figures:
        yield Row(NAME, case, metric, value, peer, "" if peer is None else "raw", False)


def _cost_of_index(plan: Plan, title: str, make: Callable[[], Retriever], vectors: Floats) -> list[Row]:
    """Building our index, saving it, and opening it again."""
    index = make()
    assert isinstance(index, ErsIndex)
    rows = list(_build_rows(plan, title, index, vectors))
    start = time.perf_counter()
    index.save(plan.index)
    saved = time.perf_counter()
    del index
    before = resident_bytes() or (0, 0)
    loading = time.perf_counter()
    opened = ErsIndex.load(plan.index, verify=False)
    loaded = time.perf_counter()
    after = resident_bytes() or before
    case, raw = f"{title}, {plan.place}", vectors.nbytes / MEGABYTE
    return [
        *rows,
        Row(NAME, case, "save s", saved - start, higher_is_better=False),
        Row(NAME, case, "load s, sizes checked", loaded - loading, higher_is_better=False),
        Row(NAME, case, "MB of its own, loaded", (after[0] - before[0]) / MEGABYTE, raw, "raw", False),
        Row(NAME, case, "leaves", opened.hierarchy.leaf_count),
    ]


def _beside_a_writer(plan: Plan, point: Point, task: Task, writer: tuple[int, int, int, int]) -> list[Row]:
    """Times of single queries by a clock that does not wait for them, without a writer and with one."""
    writes, batch, asks, seconds = writer
    index = ErsIndex.load(plan.index, verify=False)
    curves.set_search_params(index, point.search_params)
    index.search(task.queries[: curves.WARMING], plan.k)
    alone = _asked(index, task.queries, plan.k, asks, seconds)
    first = -(-plan.size // BLOCK)
    blocks = -(-writes * seconds // BLOCK)
    new = np.concatenate(
        list(vectors_of(plan.recipe, (first + blocks) * BLOCK, plan.seed, first))  # of the same kinds
    )
    calls: list[float] = []

    def write() -> None:
        start = time.perf_counter()
        for at in range(0, writes * seconds, batch):
            time.sleep(max(0.0, start + at / writes - time.perf_counter()))
            begin = time.perf_counter()
            if begin - start > seconds:
                return
            some = new[at : at + batch]
            index.add(some, plan.size + np.arange(at, at + len(some)))
            calls.append(time.perf_counter() - begin)

    thread = threading.Thread(target=write)
    thread.start()
    beside = _asked(index, task.queries, plan.k, asks, seconds)
    thread.join()
    case = f"{OURS}, {plan.place}, {asks} queries/s at recall@{plan.k} ≥ {GOALS[0]}"
    found = []
    for name, share in {"p50": 0.5, "p99": 0.99, "longest": 1.0}.items():
        ours, theirs = (1e3 * float(np.quantile(times, share)) for times in (beside, alone))
        found.append(Row(NAME, case, f"ms, {name}, beside a writer", ours, theirs, "no writer", False))
    return [
        *found,
        Row(NAME, case, "vectors added/s", batch * len(calls) / seconds, float(writes), "wanted"),
        Row(NAME, case, f"ms of an addition of {batch}, mean", 1e3 * float(np.mean(calls)), None, "", False),
        Row(NAME, case, f"ms of an addition of {batch}, longest", 1e3 * max(calls), None, "", False),
    ]


def _asked(index: ErsIndex, queries: Floats, k: int, asks: int, seconds: int) -> NDArray[np.float64]:
    """Seconds from when each query was due until it was answered: one that waits makes the next ones late."""
    took = np.empty(asks * seconds)
    start = time.perf_counter()
    for number in range(len(took)):
        due = start + number / asks
        time.sleep(max(0.0, due - time.perf_counter()))
        row = number % len(queries)
        index.search(queries[row : row + 1], k)
        took[number] = time.perf_counter() - due
    return took


def _once(plan: Plan, step: str, measure: Callable[[], Sequence[Row]]) -> list[Row]:
    """The rows of a step: those that are kept, else measured ones, which are then kept."""
    known = _kept(plan)
    if step not in known:
        known[step] = list(measure())
        content = {name: [asdict(row) for row in rows] for name, rows in known.items()}
        write_json(_rows_file(plan), content)
    return known[step]


def _kept(plan: Plan) -> dict[str, list[Row]]:
    path = _rows_file(plan)
    if not path.exists():
        return {}
    try:
        content = checked_json(path, json.loads(path.read_text()))
        return {step: [Row(**row) for row in rows] for step, rows in content.items()}
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}): remove it to measure again") from error


def _rows_file(plan: Plan) -> Path:
    return plan.folder / f"measured-{plan.size}.json"
