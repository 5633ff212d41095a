"""Curves of several runs in common plots, with intervals where runs state their errors, as SVG elements."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.reporting.load_runs import Run
from experiments.reporting.run_curves import LOG, PANELS, Curves, averaged, read_curves
from experiments.reporting.svg_figure import INK, STYLE, line_style, short, svg
from experiments.reporting.verdict import QUANTILE
from experiments.run_folder.names import JOURNAL

ERROR = "_error"
"""Ending of the name under which a value's standard error is written."""


def overlaid_curves(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """A plot for each value that any of the runs has more than once.

    Args:
        runs: The runs, one line each.
        names: What they are called.
    """
    curves = [read_curves(run.folder / JOURNAL) for run in runs]
    plots = []
    for phase, title, values in PANELS:
        for value, label in values:
            having = [place for place, own in enumerate(curves) if _moves(own, phase, value)]
            if having:
                several = f"{title}: {label}" if len(values) > 1 else title
                plots.append(_plot(several, title in LOG, curves, having, names, (phase, value)))
    return plots


def _moves(curves: Curves, phase: str, value: str) -> bool:
    steps, values = curves.get((phase, value), ([], []))
    return len(steps) > 1 and any(values)


def _plot(
    title: str,
    logarithmic: bool,
    curves: Sequence[Curves],
    having: Sequence[int],
    names: Sequence[str],
    key: tuple[str, str],
) -> str:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 2.9 + 0.2 * len(having)), layout="constrained")
        axes = figure.subplots()
        lowest = np.inf
        for place in having:
            steps, values = (np.asarray(side, float) for side in curves[place][key])
            lowest = min(lowest, float(values.min()))
            color, dash = line_style(place)
            _band(axes, curves[place], key, color)
            places, means = averaged(steps, values)
            marker = "o" if len(places) <= 12 else None
            axes.plot(
                places,
                means,
                color=color,
                linestyle=dash,
                label=short(names[place]),
                marker=marker,
                markersize=4,
            )
        if logarithmic:
            axes.set_yscale("symlog", linthresh=0.01)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        elif lowest < 0:
            axes.axhline(0, color=INK, linewidth=0.8, alpha=0.6)
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        figure.legend(loc="outside lower left", ncols=2, frameon=False, labelcolor=INK, fontsize=8.5)
        return svg(figure, title)


def _band(axes: Axes, curves: Curves, key: tuple[str, str], color: str) -> None:
    """The 95 % interval of a value whose standard error was written with it, step by step."""
    phase, value = key
    errors = dict(zip(*curves.get((phase, f"{value}{ERROR}"), ([], [])), strict=True))
    steps, means = curves[key]
    known = [(step, mean, errors[step]) for step, mean in zip(steps, means, strict=True) if step in errors]
    if len(known) < 2:
        return
    at, mean, error = np.asarray(known, float).T
    axes.fill_between(
        at, mean - QUANTILE * error, mean + QUANTILE * error, color=color, alpha=0.16, linewidth=0
    )
