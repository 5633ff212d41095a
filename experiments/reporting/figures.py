"""Plots of a report, as SVG elements of a page: text and axes take the page's colors."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from align3d.console.terminal import on_one_line, visible
from experiments.reporting.arm_summary import GAIN, Summary
from experiments.reporting.plot_style import COLORS, DASHES
from experiments.reporting.statistics import Estimate
from experiments.reporting.titles import CURVE_TITLES, IN_POINTS, curves, title
from experiments.run_folder.names import FINAL

#: Placeholder of the page's own text color until the SVG is written.
INK = "#010203"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # names with dollars as well
    "svg.hashsalt": "align3d",  # equal figures, equal bytes
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), INK
    ),
}
WIDTH = 8.6
MOST_CHARACTERS = 34


def intervals(summary: Summary, key: str) -> str:
    """Draw the final result and the gain of every arm with their intervals, one line per arm."""
    arms = summary.arms
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.25 + 0.36 * len(arms)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        _forest(left, [arm.estimates[key][FINAL] for arm in arms])
        _forest(right, [arm.estimates[key][GAIN] for arm in arms])
        right.axvline(0, color=INK, linewidth=0.8)
        left.set_title(f"{title(summary, key)}, calibrated, %")
        right.set_title("gain by calibrating at query time, points")
        left.set_yticks(range(len(arms)), [_short(arm.arm.name) for arm in arms])
        left.set_ylim(len(arms) - 0.4, -0.6)
        return _svg(figure, f"{title(summary, key)} and gain by arm")


def curve(summary: Summary, name: str) -> str | None:
    """Draw a curve over the agent's evaluations for all arms that have it; None if none has."""
    arms = curves(summary.arms, name)
    if not arms:
        return None
    scale = 100.0 if name in IN_POINTS else 1.0
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
        axes = figure.subplots()
        for arm in arms:
            color, dash = _style(summary.arms.index(arm))
            line = arm.curves[name]
            values = [scale * value for value in line.values]
            marker = "o" if len(values) == 1 else None
            label = _short(arm.arm.name)
            axes.plot(line.evaluations, values, color=color, linestyle=dash, marker=marker, label=label)
            if line.low is not None and line.high is not None:
                low, high = ([scale * value for value in edge] for edge in (line.low, line.high))
                axes.fill_between(line.evaluations, low, high, color=color, alpha=0.16, linewidth=0)
        axes.axhline(0, color=INK, linewidth=0.8, alpha=0.6)
        axes.set_xlabel("evaluations of the environment that the agent has spent")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_title(CURVE_TITLES[name])
        figure.legend(loc="outside right upper", frameon=False, labelcolor=INK)
        return _svg(figure, CURVE_TITLES[name])


def _forest(axes: Axes, figures: Sequence[Estimate]) -> None:
    for place, figure in enumerate(figures):
        color, _ = _style(place)
        if figure.low is not None and figure.high is not None:
            axes.plot(
                [100 * figure.low, 100 * figure.high], [place, place], color=color, linewidth=3, alpha=0.55
            )
        axes.plot(100 * figure.value, place, "o", color=color, markersize=6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.12)


def _style(place: int) -> tuple[str, str]:
    return COLORS[place % len(COLORS)], DASHES[place // len(COLORS) % len(DASHES)]


def _short(name: str) -> str:
    name = on_one_line(name)
    return name if len(name) <= MOST_CHARACTERS else name[: MOST_CHARACTERS - 1] + "…"


def _svg(figure: Figure, label: str) -> str:
    """Render a figure as an element of a page, in the page's text color and without a background."""
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    file = io.StringIO()
    FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(visible(label))}" ', 1)
    return text.replace(INK, "currentColor")
