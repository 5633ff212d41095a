"""Curves of a single run by step, as SVG elements of its page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.reporting.plot_style import COLORS
from experiments.reporting.svg_figure import INK, STYLE, svg

Curves = dict[tuple[str, str], tuple[list[float], list[float]]]
Series = Mapping[str, tuple[list[float], list[float]]]
PANELS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        "agent",
        "Return of the agent's episodes, with labels",
        (("reward/return", "return"),),
    ),
    ("agent", "Return in validation, without labels", (("validation/return", "validation"),)),
    (
        "agent",
        "Parts of the reward, weighted",
        (
            ("reward/weighted/internal", "internal"),
            ("reward/weighted/external", "external"),
            ("reward/weighted/kl", "divergence"),
        ),
    ),
    (
        "train",
        "Losses of the model",
        tuple(
            (f"loss/{name}", name) for name in ("total", "global", "fine", "alone", "grounding", "distill")
        ),
    ),
    ("agent", "R@1 in validation", (("validation/recall@1", "R@1"),)),
    ("agent", "Losses of the agent", (("loss/policy", "policy"), ("loss/value", "value"))),
)
"""Phase, title, and values with their labels."""
LOG = ("Losses of the model",)
SMOOTHED = 80
"""Points of a curve; more are averaged."""


def run_curves(journal: Path) -> list[str]:
    """The plots of what a journal holds; none of values that it lacks or has once.

    Args:
        journal: Path of a metrics.jsonl; lines that cannot be read are left out.
    """
    found = read_curves(journal)
    plots = []
    for phase, title, names in PANELS:
        series = {label: found[phase, name] for name, label in names if (phase, name) in found}
        series = {label: line for label, line in series.items() if len(line[0]) > 1 and any(line[1])}
        if series:
            plots.append(_plot(title, series))
    return plots


def read_curves(journal: Path) -> Curves:
    """Steps and values of everything that a journal holds, by phase and name.

    Args:
        journal: Path of a metrics.jsonl; lines that cannot be read are left out.
    """
    found: Curves = {}
    for line in _lines(journal):
        for name, value in line.items():
            if name not in ("step", "phase", "time") and isinstance(value, int | float):
                steps, values = found.setdefault((line["phase"], name), ([], []))
                steps.append(line["step"])
                values.append(value)
    return found


def _plot(title: str, series: Series) -> str:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 2.9), layout="constrained")
        axes = figure.subplots()
        for number, (label, (steps, values)) in enumerate(series.items()):
            places, means = averaged(np.asarray(steps, float), np.asarray(values, float))
            marker = "o" if len(places) <= 12 else None
            color = COLORS[number % len(COLORS)]
            axes.plot(places, means, color=color, label=label, marker=marker, markersize=4)
        if title in LOG:
            axes.set_yscale("symlog", linthresh=0.01)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        elif min(min(values) for _, values in series.values()) < 0:
            axes.axhline(0, color=INK, linewidth=0.8, alpha=0.6)
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        if len(series) > 1:
            axes.legend(frameon=False, labelcolor=INK, fontsize=8.5)
        return svg(figure, title)


def averaged(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of at most `SMOOTHED` runs of neighbors."""
    parts = np.array_split(np.arange(len(steps)), min(SMOOTHED, len(steps)))
    return np.array([steps[part].mean() for part in parts]), np.array([values[part].mean() for part in parts])


def _lines(journal: Path) -> Iterator[dict[str, Any]]:
    if not journal.is_file():
        return
    with journal.open("rb") as file:
        for text in file:
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(line, dict) and isinstance(line.get("step"), int) and "phase" in line:
                yield line
