"""Tables, JSON and plots of what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, NullLocator
from rich.table import Table

from durable.whole_files import replacing
from experiments.index_evaluation.measure import EXACT, WITH_MEMORY, Measured, Remembered, Reranked
from experiments.index_evaluation.recall_plot import line_style
from retrieval.benchmark import curves
from retrieval.benchmark.curves import batched, single
from retrieval.memory.folding import folded_width

MEASURES = {"recall@1": "R@1", "recall@5": "R@5", "recall@10": "R@10", "mrr@10": "MRR@10", "ndcg@5": "NDCG@5"}
RANKINGS = {
    "light": "light re-ranker",
    "cascade": "light re-ranker, HAF on its first",
    "haf": "HAF on all",
}


def quality_table(measured: Mapping[str, Measured], title: str) -> Table:
    """Quality of each engine without and with re-ranking, and what re-ranking adds to exact search's R@1."""
    table = Table(title=title)
    for name in ("engine", "re-ranking"):
        table.add_column(name, no_wrap=True)
    for heading in (*MEASURES.values(), "search ms", "re-rank ms (CPU)", "R@1 − exact KNN, 95 %"):
        table.add_column(heading, justify="right")
    for name, found in measured.items():
        speed = found.chosen.speed
        once = "" if speed is None else f"{1e3 / speed.batched:.3f}"
        gain = "–" if name == EXACT else _interval(found.gain)
        table.add_row(_named(name), "–", *_percents(found.chosen.quality), once, "–", gain)
        for title_, ranking in found.reranked.items():
            table.add_row(
                "",
                RANKINGS.get(title_, title_),
                *_percents(ranking.quality),
                f"{ranking.search_milliseconds:.3f}",
                f"{ranking.milliseconds:.3f} ({ranking.cpu_milliseconds:.3f})",
                _interval(ranking.gain),
            )
        table.add_section()
    return table


def cost_table(measured: Mapping[str, Measured], title: str) -> Table:
    """Table of each engine's cost at its chosen setting."""
    table = Table(title=title)
    for name in ("engine", "setting"):
        table.add_column(name, no_wrap=True)
    headings = (
        "overlap",
        "q/s batched",
        "q/s single",
        "p50 ms",
        "p99 ms",
        "build s",
        "resident MB",
        "disk MB",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, found in measured.items():
        point, cost, speed = found.chosen, found.cost, found.chosen.speed
        assert speed is not None
        resident = "–" if cost.resident_bytes is None else f"{cost.resident_bytes / 1e6:,.1f}"
        table.add_row(
            _named(name),
            " ".join(f"{key}={value}" for key, value in point.search_params.items()) or "–",
            f"{100 * point.recall:.1f}",
            f"{speed.batched:,.0f}",
            f"{speed.single:,.0f}",
            f"{1e3 * speed.p50:.3f}",
            f"{1e3 * speed.p99:.3f}",
            f"{cost.build_seconds:,.2f}",
            resident,
            f"{cost.disk_bytes / 1e6:,.1f}",
        )
    return table


def as_json(measured: Mapping[str, Measured]) -> dict[str, Any]:
    """Everything that was measured, by engine."""
    return {
        name: {
            "cost": asdict(found.cost),
            "chosen": curves.as_json(found.chosen),
            "points": [curves.as_json(point) for point in found.points],
            "reranked": {title: _ranking(one) for title, one in found.reranked.items()},
            "gain": found.gain,
        }
        for name, found in measured.items()
    }


def _ranking(ranking: Reranked) -> dict[str, Any]:
    """A ranking for a file, which calls search parameters as it does for points."""
    plain = asdict(ranking)
    return {"knobs": plain.pop("search_params"), **plain}


def size_plot(by_size: Mapping[int, Mapping[str, Measured]], path: Path, recall: float, k: int) -> Figure:
    """Cost against size on logarithmic axes: milliseconds of a query, and seconds of building.

    Times are read off each engine's frontier at the recall, as settings that happen to find more cost more.
    A dotted line beside them grows as the number of vectors does.

    Args:
        by_size: Vectors → engines → what was measured; an engine that does not reach the recall at a size has
            no mark there.
        path: Where to write the PNG.
        recall: At which the engines are compared.
        k: Neighbors that the recall is of.
    """
    sizes = sorted(by_size)
    names = list(dict.fromkeys(name for size in sizes for name in by_size[size]))
    figure = Figure(figsize=(11.0, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3)
    for name in names:
        there = {size: by_size[size][name] for size in sizes if name in by_size[size]}
        style = line_style(name) | {"label": _named(name)}
        for axis, rate in zip(axes, (batched, single), strict=False):
            rates = {size: curves.rate_at(found.points, recall, rate) for size, found in there.items()}
            costs = {size: 1e3 / value for size, value in rates.items() if value is not None}
            axis.plot(list(costs), list(costs.values()), **style)
        built = {size: found.cost.build_cpu_seconds for size, found in there.items() if name != EXACT}
        axes[2].plot(list(built), list(built.values()), **style)
    figure.suptitle(f"cost at recall@{k} ≥ {recall}")
    axes[0].set(title="a query of a batch", ylabel="milliseconds")
    axes[1].set(title="a query by itself", ylabel="milliseconds")
    axes[2].set(title="building", ylabel="processor seconds")
    for axis in axes:
        _logarithmic(axis, sizes)
    axes[0].legend(frameon=False)
    with replacing(path) as beside:
        figure.savefig(beside, dpi=130)
    return figure


def _logarithmic(axis: Axes, sizes: Sequence[int]) -> None:
    """Plain numbers on logarithmic axes, and a line of slope 1 under the lowest of the others."""
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axis.get_lines()])
    drawn = drawn[drawn > 0]
    if not len(drawn):  # no engine reaches the recall, or exact search alone, which is not built
        axis.set(xlabel="vectors", xticks=[], yticks=[])
        return
    line = 0.6 * drawn.min() * np.array(sizes) / sizes[0]
    shown = line <= 1.5 * drawn.max()
    axis.plot(np.array(sizes)[shown], line[shown], color="#888888", linestyle="dotted", label="linear")
    axis.set(xscale="log", yscale="log", xlabel="vectors")
    axis.xaxis.set_major_locator(FixedLocator(sizes))
    axis.xaxis.set_major_formatter(FixedFormatter([f"{size:,}" for size in sizes]))
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for one in (axis.xaxis, axis.yaxis):
        one.set_minor_locator(NullLocator())
    axis.grid(alpha=0.25, linewidth=0.5)


def memory_lines(name: str, memory: Remembered, vectors: int) -> list[str]:
    """Lines on the memory of a problem: pairs, bytes, and the strengths that were chosen or given."""
    pairs = memory.pairs
    size, more = pairs.resident_bytes(), 4 * (folded_width(pairs.width) - pairs.width)
    lines = [
        f"{name}: memory of {len(pairs):,} known pairs, {size / 1e6:.1f} MB "
        f"({size / vectors:,.0f} bytes a vector), and {more} bytes a vector for the two columns"
    ]
    lines += [f"{name}, memory, {stage}: {found}" for stage, found in memory.strengths.items()]
    return lines


def hubness_lines(name: str, memory: Remembered) -> list[str]:
    """Lines on the cost of the hubness of re-rankers' candidates, which is computed once a candidate."""
    return [
        f"{name}, memory, {part}: hubness of {found.computed:,} candidates, "
        f"{1e3 * found.seconds / found.computed:.2f} ms each, once"
        for part, found in memory.hubness.items()
        if found.computed
    ]


def memory_json(memory: Remembered) -> dict[str, Any]:
    """The same for a file, and what the hubness of re-rankers took."""
    pairs = memory.pairs
    return {
        "pairs": len(pairs),
        "bytes": pairs.resident_bytes(),
        "bytes_per_vector": 4 * (folded_width(pairs.width) - pairs.width),
        "sharpness": pairs.sharpness,
        "beta": pairs.beta,
        "strengths": {
            stage: {**asdict(found), "rests": found.rests} for stage, found in memory.strengths.items()
        },
        "hubness": {
            name: {"candidates": one.computed, "seconds": one.seconds} for name, one in memory.hubness.items()
        },
    }


def _interval(gain: tuple[float, float, float]) -> str:
    mean, low, high = (100 * value for value in gain)
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def _named(name: str) -> str:
    plain = name.removesuffix(WITH_MEMORY)
    return f"{'exact KNN (flat)' if plain == EXACT else plain}{WITH_MEMORY if plain != name else ''}"


def _percents(quality: Mapping[str, float]) -> list[str]:
    return [f"{100 * quality[name]:.1f}" for name in MEASURES]
