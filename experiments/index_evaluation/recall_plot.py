"""The usual plot of nearest-neighbor engines: queries a second over recall, one line an engine."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from numpy.typing import NDArray

from durable.whole_files import replacing
from experiments.index_evaluation.engine_settings import engine_name
from experiments.reporting.plot_style import COLORS, DASHES
from retrieval.benchmark.curves import GOALS, Point, batched, frontier, single
from retrieval.engines import ENGINES

FORMATS = (".png", ".svg")
OURS, EXACT = "ers", "flat"
TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1.0)
MARKERS = ("s", "^", "v", "D", "P", "X")
_END = 1.0005  # where the scale of recall would end: 1 stands a little behind 0.999
_OTHERS = [name for name in ENGINES if name not in (OURS, EXACT)]


def recall_plot(curves: Mapping[str, Sequence[Point]], path: Path, *, title: str = "", k: int = 10) -> Figure:
    """Draws each engine's frontier, batched on the left and one query at a time on the right.

    Recall is spread by the logarithm of what is missing, so that 0.99 and 0.999 are as far apart as 0.9 and
    0.99. Ours is drawn thicker.

    Args:
        curves: Measured points by engine; an engine without points is left out.
        path: Where to write; its ending says whether PNG or SVG. Folders are made.
        title: Stands above.
        k: Neighbors that the recall is of.

    Returns:
        The figure, as it was written.

    Raises:
        ValueError: Another ending, or no points at all.
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
            for name, points in shown.items():
                line = frontier(points, rate)
                style = line_style(name)
                if len(line) == 1:
                    style |= {"marker": "*", "markersize": 9}
                recalls = [point.recall for point in line]
                axis.plot(recalls, [rate(point) for point in line], label=name, **style)
            for goal in GOALS:
                axis.axvline(goal, color="#888888", linewidth=0.7, linestyle="dotted")
            axis.set(yscale="log", xlabel=f"recall@{k} against exact search", title=heading)
            _spread(axis)
            axis.grid(alpha=0.25, which="both", linewidth=0.5)
        axes[0].set_ylabel("queries a second")
        axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        figure.suptitle(title)
        date = {"Date": None} if path.suffix == ".svg" else None
        with replacing(path) as beside:
            figure.savefig(beside, dpi=130, metadata=date)
    return figure


def line_style(name: str) -> dict[str, Any]:
    """Line style of an engine, the same in every plot: ours thick, exact search black.

    With settings behind its name an engine keeps its color, and has dashes and marks by the settings.
    """
    style: dict[str, Any] = {"linewidth": 1.3, "linestyle": "solid", "marker": "o", "markersize": 3.5}
    engine = engine_name(name)
    if engine != name:
        own = zlib.crc32(name.encode())
        marks = {
            "marker": MARKERS[own % len(MARKERS)],
            "linestyle": DASHES[own // len(MARKERS) % len(DASHES)],
        }
        return line_style(engine) | marks
    if name == OURS:
        return style | {"color": COLORS[0], "linewidth": 2.8, "zorder": 3}
    if name == EXACT:
        return style | {"color": "#222222"}
    number = _OTHERS.index(name) if name in _OTHERS else len(_OTHERS)
    others = COLORS[1:]
    return style | {
        "color": others[number % len(others)],
        "linestyle": DASHES[number // len(others) % len(DASHES)],
    }


def _spread(axis: Axes) -> None:
    """Makes the axis of recall logarithmic in what is missing to 1."""

    def forward(recall: NDArray[np.floating]) -> NDArray[np.floating]:
        return -np.log10(np.maximum(_END - np.asarray(recall, float), 1e-9))

    def backward(place: NDArray[np.floating]) -> NDArray[np.floating]:
        return _END - 10.0 ** -np.asarray(place, float)

    drawn = [value for line in axis.get_lines() for value in np.asarray(line.get_xdata(), float)]
    low = max([tick for tick in TICKS if tick <= min(drawn)], default=0.0)
    axis.set_xscale("function", functions=(forward, backward))
    axis.set_xlim(float(backward(forward(np.array(low)) - 0.08)), float(backward(np.array(3.42))))
    ticks = [tick for tick in TICKS if tick >= low]
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.xaxis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
    axis.xaxis.set_minor_locator(NullLocator())


def check_format(path: Path) -> None:
    """Raises a ValueError unless the file's ending is that of a picture that can be drawn."""
    if path.suffix not in FORMATS:
        raise ValueError(f"{path}: expected a file that ends in {' or '.join(FORMATS)}")
