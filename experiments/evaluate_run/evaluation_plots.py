"""Plots of an evaluation, as SVG elements of a page: measurements with their intervals as bars."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from experiments.evaluate_run.evaluation_tables import is_plain
from experiments.evaluate_run.task_result import ALL_CORRUPTIONS
from experiments.reporting.plot_style import COLORS
from experiments.reporting.svg_figure import INK, STYLE, WIDTH, line_style, short, svg
from experiments.tasks.measured import Measured

Groups = Mapping[str, Sequence[Measured]]
MOST_ROWS = 60
"""Rows of a plot: more of them nobody reads."""
_SHOTS = re.compile(r"(\d+)-way (\d+)-shot$")
_GALLERY = re.compile(r"^(.*), text → ([\d,]+) shapes$")
_LEVEL = re.compile(r"^(.*):(\d+)$")
_DIRECTION = re.compile(r"^(.*), ((?:text|shape) → (?:text|shape))$")


def plots_of(task: str, shown: Groups, details: Groups) -> Iterator[str]:
    """The plots of a task; none where there is nothing to see.

    Args:
        task: Its name.
        shown: Measurements by title.
        details: Likewise.
    """
    if task == "retrieval":
        yield from _retrieval(shown)
    elif task == "few_shot":
        yield from _few_shot(shown)
    elif task == "robustness":
        yield from _robustness(shown, details)
    elif task == "distractors":
        yield from _distractors(shown)
    else:
        yield from _bars(
            {title: [own for own in group if not is_plain(own.name)] for title, group in shown.items()}
        )
        if task == "zero_shot" and 1 < len(classes := details.get("by class", ())) <= MOST_ROWS:
            ordered = sorted(classes, key=lambda own: -own.value)
            yield from _bars({"top-1 of each class, prompt ensemble": ordered})


def _retrieval(shown: Groups) -> Iterator[str]:
    """R@1 of each way to search, a panel for each direction."""
    panels: dict[str, list[Measured]] = {}
    for title, measured in shown.items():
        match = _DIRECTION.match(title)
        first = next((own for own in measured if own.name == "R@1"), None)
        if match and first is not None:
            own = Measured(match[1], first.value, first.low, first.high, first.count)
            panels.setdefault(f"R@1, {match[2]}", []).append(own)
    yield from _bars(panels, side_by_side=True)


def _few_shot(shown: Groups) -> Iterator[str]:
    lines: dict[str, list[tuple[int, Measured]]] = {}
    for method, measured in shown.items():
        if all(own.low is None for own in measured):
            continue  # standard deviations
        points = [(int(match[2]), own) for own in measured if (match := _SHOTS.search(own.name))]
        lines[method] = sorted(points, key=lambda point: point[0])
    if any(len(points) > 1 for points in lines.values()):
        yield _lines(lines, "accuracy by shots", "shapes of each class in the support", base=2)
    else:
        yield from _bars({f"accuracy, {name}": [own for _, own in points] for name, points in lines.items()})


def _robustness(shown: Groups, details: Groups) -> Iterator[str]:
    lines: dict[str, list[tuple[int, Measured]]] = {}
    for own in details.get("by level", ()):
        if match := _LEVEL.match(own.name):
            lines.setdefault(match[1], []).append((int(match[2]), own))
    clean = next((own for own in shown.get(ALL_CORRUPTIONS, ()) if own.name == "clean"), None)
    if any(len(points) > 1 for points in lines.values()):
        yield _lines(lines, "top-1 by level of corruption", "level", level=clean)
    drops = [
        Measured(kind, own.value, own.low, own.high, own.count)
        for kind, measured in shown.items()
        for own in measured
        if own.name == "drop" and kind != ALL_CORRUPTIONS
    ]
    yield from _bars({"drop of top-1 from clean, points": drops})


def _distractors(shown: Groups) -> Iterator[str]:
    lines: dict[str, list[tuple[int, Measured]]] = {}
    for title, measured in shown.items():
        if match := _GALLERY.match(title):
            size = int(match[2].replace(",", ""))
            for own in measured:
                if own.name.startswith("R@"):
                    lines.setdefault(f"{match[1]} {own.name}", []).append((size, own))
    if lines:
        engines = len({name.partition(" ")[0] for name in lines})
        title, label = "recall by size of the gallery", "shapes in the gallery"
        yield _lines(lines, title, label, base=10, colors=len(lines) // engines)


def _bars(groups: Groups, *, side_by_side: bool = False) -> Iterator[str]:
    """Points with their intervals as bars, a panel for each group: one below the other, or side by side."""
    groups = {title: own for title, own in groups.items() if own}
    if not groups or max(map(len, groups.values())) > MOST_ROWS:
        return
    rows = [len(own) for own in groups.values()]
    height = 0.9 + 0.34 * max(rows) if side_by_side else sum(0.8 + 0.34 * own for own in rows)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        if side_by_side:
            panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
        else:
            panels = figure.subplots(
                len(groups), 1, sharex=True, squeeze=False, height_ratios=[own + 1.2 for own in rows]
            )[:, 0]
        for axes, (title, measured) in zip(panels, groups.items(), strict=True):
            _bar_panel(axes, measured)
            axes.set_title(f"{title}, %" if not title.endswith("points") else title)
        yield svg(figure, ", ".join(groups))


def _bar_panel(axes: Axes, measured: Sequence[Measured]) -> None:
    for place, own in enumerate(measured):
        color, _ = line_style(0)
        if own.low is not None and own.high is not None:
            ends = [100 * own.low, 100 * own.high]
            axes.plot(ends, [place, place], color=color, linewidth=3, alpha=0.55)
        axes.plot(100 * own.value, place, "o", color=color, markersize=6)
    axes.set_yticks(range(len(measured)), [short(own.name) for own in measured])
    axes.set_ylim(len(measured) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)


def _lines(
    lines: Mapping[str, Sequence[tuple[int, Measured]]],
    title: str,
    label: str,
    *,
    base: int | None = None,
    level: Measured | None = None,
    colors: int = len(COLORS),
) -> str:
    """Lines through points whose intervals are bars, over whole numbers.

    Args:
        lines: Points by the name of the line.
        title: Stands above.
        label: Of the axis.
        base: Of the axis's logarithm; None: plain.
        level: What all are compared with.
        colors: Lines after which the colors begin anew, with other dashes.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
        axes = figure.subplots()
        for place, (name, points) in enumerate(lines.items()):
            color, dash = line_style(place % colors + place // colors * len(COLORS))
            style: dict[str, Any] = {
                "color": color,
                "linestyle": dash,
                "marker": "o",
                "markersize": 4,
                "capsize": 2,
            }
            own = [measured for _, measured in points]
            reach = [_reach(own, [one.low for one in own]), _reach(own, [one.high for one in own])]
            values = [100 * one.value for one in own]
            axes.errorbar([x for x, _ in points], values, np.array(reach), label=short(name), **style)
        if level is not None:
            height = 100 * level.value
            axes.axhline(height, color=INK, linewidth=0.8, alpha=0.6)
            kind = ("axes fraction", "data")
            axes.annotate(level.name, (1, height), xycoords=kind, ha="right", va="bottom")
        ticks = sorted({x for points in lines.values() for x, _ in points})
        if base is not None:
            axes.set_xscale("log", base=base)
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.set_xlabel(label)
        axes.set_title(f"{title}, %")
        figure.legend(loc="outside right upper", frameon=False, labelcolor=INK)
        return svg(figure, title)


def _reach(measured: Sequence[Measured], ends: Sequence[float | None]) -> list[float]:
    """Distances in percent from values to the ends of their intervals; 0 without one."""
    pairs = zip(measured, ends, strict=True)
    return [0.0 if end is None else 100 * abs(own.value - end) for own, end in pairs]
