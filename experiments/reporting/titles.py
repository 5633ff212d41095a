"""Titles of a report's tables and plots, and the arms that a plot shows."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.reporting.arm_summary import ALL, ArmSummary, Summary
from experiments.reporting.load_runs import GAIN as GAIN_CURVE
from experiments.reporting.load_runs import LABELED, RETURN

DIRECTIONS = {"text_to_shape": "text → shape", "shape_to_text": "shape → text"}
CURVE_TITLES = {
    RETURN: "Return on held-out queries, without labels",
    GAIN_CURVE: "Gain in recall@1 on held-out queries, without labels (points)",
    LABELED: "Return of the episodes learned from, with labels",
}
#: Curves that are shares, shown in points.
IN_POINTS = (GAIN_CURVE,)


def metric_name(name: str) -> str:
    """Format the name of a metric: ``R@1 text → shape``."""
    direction, _, measure = name.partition("/")
    return f"{measure.replace('recall@', 'R@')} {DIRECTIONS.get(direction, direction)}"


def title(summary: Summary, key: str) -> str:
    """Name a metric in its report."""
    if key != ALL:
        return metric_name(key)
    measures = {name.partition("/")[2] for name in summary.metrics}
    if len(measures) == 1 and len(summary.metrics) == len(DIRECTIONS):
        return f"{measures.pop().replace('recall@', 'R@')} both ways"
    return f"mean of {len(summary.metrics)} metrics"


def curves(arms: Sequence[ArmSummary], name: str) -> list[ArmSummary]:
    """Select the arms that have a curve of that name."""
    return [arm for arm in arms if name in arm.curves]
