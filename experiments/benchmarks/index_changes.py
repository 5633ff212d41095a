"""Benchmark of an index along a stream of changes: its recall beside that of fresh builds, and what it costs.

The content grows fivefold by kinds that were not there when the index was built, is exchanged in part,
shrinks to a quarter, and grows again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from align3d.errors import UserError, settings_of
from durable.whole_files import replacing
from experiments.benchmarks.base import Row, benchmark
from experiments.index_evaluation.measure import pinned
from experiments.index_evaluation.recall_plot import FORMATS
from experiments.reporting.plot_style import COLORS
from retrieval import ErsIndex, FlatIndex, SemanticHierarchy
from retrieval.benchmark.synthetic import MIXTURES, vectors_of
from retrieval.ers.beam_search import nearest_leaves

K = 10
NOISE = 0.5
"""Length of what a query differs by from a vector of the content."""
SHARES = (("grow", 0.4), ("exchange", 0.2), ("shrink", 0.36), ("grow", 0.04))
"""Parts of the stream, by their share of the changes."""
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Checkpoint:
    """Figures after some changes.

    Attributes:
        changes: Changes so far.
        live: Vectors in the index.
        phase: What the last changes did.
        maintained: Recall@10 of the index that keeps up.
        neglected: Of the one that does not.
        fresh: Of one that is built of the same content.
    """

    changes: int
    live: int
    phase: str
    maintained: float
    neglected: float
    fresh: float


@benchmark("index_changes")
def index_changes(
    changes: int = 100_000,
    step: int = 200,
    checkpoints: int = 25,
    width: int = 64,
    mixture: Literal["easier", "harder"] = "easier",
    queries: int = 500,
    seed: int = 0,
    plot: Path | None = None,
) -> Iterator[Row]:
    """Recall of ERS along a stream of changes, against fresh builds and against no maintenance."""
    if plot is not None and plot.suffix not in FORMATS:
        raise UserError(f"plot={plot}: expected a file that ends in {' or '.join(FORMATS)}")
    if min(changes // step, checkpoints, queries, width) < 1 or checkpoints > changes // step:
        raise UserError(
            f"changes={changes} step={step} checkpoints={checkpoints}: expected a step for each checkpoint"
        )
    with settings_of("index_changes"):
        recipe = replace(MIXTURES[mixture], width=width, rank=min(MIXTURES[mixture].rank, width))
        pool = _by_kind(np.concatenate(list(vectors_of(recipe, max(changes, 1000), seed))), seed)
    with pinned(1):
        stream = _Stream(pool, changes, step, queries, seed)
        points: list[Checkpoint] = []
        done, due = 0, 1
        for phase, share in SHARES:
            for _ in range(round(share * changes / step)):
                done += stream.change(phase)
                if done >= due * changes / checkpoints:
                    due += 1
                    point = stream.measured(done, phase)
                    points.append(point)
                    yield from _rows(point)
        yield from stream.costs(done)
    if plot is not None:
        draw(points, plot, f"{mixture}, {width} dimensions")


class _Stream:
    """Two indexes under the same changes, one of which is maintained, and their content."""

    def __init__(self, pool: Floats, changes: int, step: int, queries: int, seed: int) -> None:
        self.pool, self.step, self.queries = pool, step, queries
        self.rng = np.random.default_rng(seed)
        self.next = max(len(pool) // 10, 1)  # of the pool's vectors the first that has not been used
        self.row = {one: one for one in range(self.next)}  # of the pool, by id
        self.seconds = {"maintained": 0.0, "neglected": 0.0}
        self.built = 0.0
        self.indexes = {name: ErsIndex(maintain=name == "maintained") for name in self.seconds}
        for index in self.indexes.values():
            start = time.process_time()
            index.build(pool[: self.next], np.arange(self.next))
            self.built = (time.process_time() - start) / self.next

    def change(self, phase: str) -> int:
        """One step of changes; returns how many there were."""
        ids = np.array(sorted(self.row))
        if phase == "shrink":
            some = self.rng.choice(ids, min(self.step, len(ids) - K), replace=False)
            self._timed("remove", some)
            for one in some.tolist():
                del self.row[one]
            return len(some)
        rows = np.arange(self.next, self.next + self.step) % len(self.pool)
        self.next += self.step
        if phase == "grow":
            some = ids[-1] + 1 + np.arange(self.step)
            self._timed("add", self.pool[rows], some)
        else:
            some = self.rng.choice(ids, min(self.step, len(ids)), replace=False)
            rows = rows[: len(some)]
            self._timed("update", self.pool[rows], some)
        self.row.update(zip(some.tolist(), rows.tolist(), strict=True))
        return len(some)

    def _timed(self, what: str, *arguments: NDArray) -> None:
        for name, index in self.indexes.items():
            start = time.process_time()
            getattr(index, what)(*arguments)
            self.seconds[name] += time.process_time() - start

    def measured(self, changes: int, phase: str) -> Checkpoint:
        """Recall of both, and of a fresh build."""
        ids = np.array(sorted(self.row))
        vectors = self.pool[[self.row[one] for one in ids.tolist()]]
        chosen = vectors[self.rng.integers(0, len(vectors), self.queries)]
        noise = self.rng.standard_normal(chosen.shape, dtype=np.float32)
        asked = chosen + np.float32(NOISE / np.sqrt(chosen.shape[1])) * noise
        exact, fresh = FlatIndex(), ErsIndex()
        exact.build(vectors, ids)
        fresh.build(vectors, ids)
        truth, _ = exact.search(asked, K)
        found = [_recall(index, asked, truth) for index in (*self.indexes.values(), fresh)]
        return Checkpoint(changes, len(ids), phase, *found)

    def costs(self, changes: int) -> Iterator[Row]:
        """Costs of the changes."""
        each = {name: 1e6 * seconds / changes for name, seconds in self.seconds.items()}
        case, metric = f"{changes:,} changes, {self.step} at a time", "CPU us/change"
        yield Row("index_changes", case, metric, each["maintained"], each["neglected"], "neglected", False)
        build = 1e6 * self.built
        yield Row("index_changes", case, metric, each["maintained"], build, "fresh build, us/vector", False)


def draw(points: Sequence[Checkpoint], path: Path, title: str) -> Figure:
    """Draws recall over changes, and the size of the index below; returns the figure, as it was written.

    Args:
        points: Figures along the stream, at least one.
        path: Where to write, a PNG or SVG. Folders are made.
        title: What was searched.
    """
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    at = [point.changes / 1000 for point in points]
    lines = (
        ("built afresh", [point.fresh for point in points], "#222222", "dashed", 1.3),
        ("maintained", [point.maintained for point in points], COLORS[0], "solid", 2.8),
        ("not maintained", [point.neglected for point in points], COLORS[1], "solid", 1.3),
    )
    for label, values, color, dashes, thickness in lines:
        top.plot(at, values, label=label, color=color, linestyle=dashes, linewidth=thickness)
    top.set(
        ylabel=f"recall@{K}", ylim=(min(0.9, *(min(line[1]) for line in lines)) - 0.02, 1.005), title=title
    )
    top.legend(frameon=False)
    below.fill_between(at, [point.live / 1000 for point in points], color="#888888", alpha=0.4, linewidth=0)
    below.set(xlabel="thousand changes", ylabel="thousands")
    below.set_title("vectors in the index", fontsize="medium", loc="left")
    for axis in (top, below):
        axis.grid(alpha=0.25, linewidth=0.5)
    with replacing(path) as beside:
        figure.savefig(beside, dpi=130, metadata={"Date": None} if path.suffix == ".svg" else None)
    return figure


def _rows(point: Checkpoint) -> Iterator[Row]:
    case = f"{point.changes:,} changes ({point.phase}), {point.live:,} vectors"
    yield Row("index_changes", case, f"recall@{K}", point.maintained, point.fresh, "fresh")
    yield Row("index_changes", case, f"recall@{K}", point.maintained, point.neglected, "neglected")


def _by_kind(pool: Floats, seed: int) -> Floats:
    """The vectors ``[N, D]`` in the order of kinds, so that what comes later is of other kinds."""
    tree = SemanticHierarchy.train(pool[:10_000], min(40, len(pool)), depth=1, seed=seed)
    return np.ascontiguousarray(pool[np.argsort(nearest_leaves(tree, pool), kind="stable")])


def _recall(index: ErsIndex, asked: Floats, truth: Ints) -> float:
    found, _ = index.search(asked, K)
    return float(np.mean([np.isin(own, other).mean() for own, other in zip(truth, found, strict=True)]))
