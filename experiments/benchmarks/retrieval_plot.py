"""The usual plot of nearest-neighbour engines: queries a second over recall, one line an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.reporting.figures import COLORS, DASHES
from retrieval.evaluation import GOALS, Point, batched, frontier, single

FORMATS = (".png", ".svg")


def recall_plot(
    curves: Mapping[str, Sequence[Point]], path: Path, *, title: str = "", k: int = 10, bold: str = "ers"
) -> Figure:
    """Draws each engine's frontier, batched on the left and one query at a time on the right.

    Args:
        curves: measured points by engine; an engine without points is left out.
        path: where to write; its ending says whether PNG or SVG. Folders are made.
        title: stands above.
        k: neighbours that the recall is of.
        bold: the engine that is drawn thicker.

    Returns:
        The figure, as it was written.

    Raises:
        ValueError: another ending, or no points at all.
    """
    check_format(path)
    shown = {name: points for name, points in curves.items() if points}
    if not shown:
        raise ValueError("no curves to plot: expected a measured point of at least one engine")
    # text stays text, and equal figures give equal bytes
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "align3d"}):
        figure = Figure(figsize=(9.0, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, 2, sharey=True)
        for axis, rate, heading in zip(axes, (batched, single), ("batched", "one by one"), strict=True):
            for number, (name, points) in enumerate(shown.items()):
                line = frontier(points, rate)
                axis.plot(
                    [point.recall for point in line],
                    [rate(point) for point in line],
                    label=name,
                    color=COLORS[number % len(COLORS)],
                    linestyle=DASHES[number // len(COLORS) % len(DASHES)],
                    linewidth=2.6 if name == bold else 1.3,
                    marker="*" if len(line) == 1 else "o",
                    markersize=9 if len(line) == 1 else 3.5,
                )
            for goal in GOALS:
                axis.axvline(goal, color="#888888", linewidth=0.7, linestyle="dotted")
            axis.set(yscale="log", xlabel=f"recall@{k} against exact search", title=heading)
            axis.grid(alpha=0.25, which="both", linewidth=0.5)
        axes[0].set_ylabel("queries a second")
        axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        figure.suptitle(title)
        path.parent.mkdir(parents=True, exist_ok=True)
        date = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=130, metadata=date)
    return figure


def check_format(path: Path) -> None:
    """Raises a ValueError unless the file's ending is that of a picture that can be drawn."""
    if path.suffix not in FORMATS:
        raise ValueError(f"{path}: expected a file that ends in {' or '.join(FORMATS)}")
