"""Plots of a report, as SVG elements of a page: text and axes take the page's colors."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.reporting.arm_summary import GAIN, Summary
from experiments.reporting.statistics import Estimate
from experiments.reporting.svg_figure import INK, STYLE, WIDTH, line_style, short, svg
from experiments.reporting.titles import CURVE_TITLES, IN_POINTS, curves, title
from experiments.run_folder.names import FINAL


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
        left.set_yticks(range(len(arms)), [short(arm.arm.name) for arm in arms])
        left.set_ylim(len(arms) - 0.4, -0.6)
        return svg(figure, f"{title(summary, key)} and gain by arm")


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
            color, dash = line_style(summary.arms.index(arm))
            line = arm.curves[name]
            values = [scale * value for value in line.values]
            marker = "o" if len(values) == 1 else None
            label = short(arm.arm.name)
            axes.plot(line.evaluations, values, color=color, linestyle=dash, marker=marker, label=label)
            if line.low is not None and line.high is not None:
                low, high = ([scale * value for value in edge] for edge in (line.low, line.high))
                axes.fill_between(line.evaluations, low, high, color=color, alpha=0.16, linewidth=0)
        axes.axhline(0, color=INK, linewidth=0.8, alpha=0.6)
        axes.set_xlabel("evaluations of the environment that the agent has spent")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_title(CURVE_TITLES[name])
        figure.legend(loc="outside right upper", frameon=False, labelcolor=INK)
        return svg(figure, CURVE_TITLES[name])


def _forest(axes: Axes, figures: Sequence[Estimate]) -> None:
    for place, figure in enumerate(figures):
        color, _ = line_style(place)
        if figure.low is not None and figure.high is not None:
            axes.plot(
                [100 * figure.low, 100 * figure.high], [place, place], color=color, linewidth=3, alpha=0.55
            )
        axes.plot(100 * figure.value, place, "o", color=color, markersize=6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.12)
