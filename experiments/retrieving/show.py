"""What was measured, as tables, as JSON and as plots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table

from experiments.benchmarks.retrieval_plot import line_style
from experiments.retrieving.measure import YARDSTICK, Measured
from retrieval import evaluation
from retrieval.evaluation import batched

MEASURES = {"recall@1": "R@1", "recall@5": "R@5", "recall@10": "R@10", "mrr": "MRR", "ndcg@5": "NDCG@5"}
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
        table.add_row(_named(name), "–", *_percents(found.chosen.quality), once, "–", "–")
        for title_, ranking in found.reranked.items():
            mean, low, high = (100 * value for value in ranking.gain)
            table.add_row(
                "",
                RANKINGS.get(title_, title_),
                *_percents(ranking.quality),
                f"{ranking.search_milliseconds:.3f}",
                f"{ranking.milliseconds:.3f} ({ranking.cpu_milliseconds:.3f})",
                f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]",
            )
        table.add_section()
    return table


def cost_table(measured: Mapping[str, Measured], title: str) -> Table:
    """What each engine costs at its chosen setting."""
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
            " ".join(f"{knob}={value}" for knob, value in point.knobs.items()) or "–",
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
            "chosen": evaluation.as_json(found.chosen),
            "points": [evaluation.as_json(point) for point in found.points],
            "reranked": {title: asdict(ranking) for title, ranking in found.reranked.items()},
        }
        for name, found in measured.items()
    }


def size_plot(by_size: Mapping[int, Mapping[str, Measured]], path: Path, recall: float, k: int) -> Figure:
    """Cost against size on logarithmic axes: seconds of a batched query, and of building.

    Args:
        by_size: vectors → engines → what was measured; an engine that does not reach the recall at a size has
            no mark there.
        path: where to write the PNG.
        recall: at which the engines were compared.
        k: neighbours that the recall is of.
    """
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure = Figure(figsize=(9.0, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, 2)
        names = list(dict.fromkeys(name for measured in by_size.values() for name in measured))
        for name in names:
            style = line_style(name) | {"label": _named(name)}
            there = {size: measured[name] for size, measured in by_size.items() if name in measured}
            reached = {size: found for size, found in there.items() if found.chosen.recall >= recall}
            axes[0].plot(list(reached), [1e3 / batched(found.chosen) for found in reached.values()], **style)
            if name != YARDSTICK:
                axes[1].plot(list(there), [found.cost.build_cpu_seconds for found in there.values()], **style)
        axes[0].set(title=f"a query at recall@{k} ≥ {recall}, batched", ylabel="milliseconds")
        axes[1].set(title="building", ylabel="processor seconds")
        for axis in axes:
            axis.set(xscale="log", yscale="log", xlabel="vectors")
            axis.grid(alpha=0.25, which="both", linewidth=0.5)
        axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)
    return figure


def _named(name: str) -> str:
    return "exact KNN (flat)" if name == YARDSTICK else name


def _percents(quality: Mapping[str, float]) -> list[str]:
    return [f"{100 * quality[name]:.1f}" for name in MEASURES]
