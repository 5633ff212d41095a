"""The tables of a report, the same in every format."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.reporting.formatting import (
    Grid,
    difference,
    duration,
    number,
    percent,
    points,
    probability,
    with_interval,
)
from experiments.reporting.grounding_tables import MAIN, OTHER, grounding
from experiments.reporting.load_runs import GAIN as GAIN_CURVE
from experiments.reporting.load_runs import LABELLED, RETURN
from experiments.reporting.statistics import REPETITIONS, Estimate
from experiments.reporting.summary import ACTED, ALL, GAIN, ArmSummary, PairwiseComparison, Summary
from experiments.reporting.summary import RETURN as RETURN_EARNED
from experiments.run_folder.names import BASELINE, FINAL, RERANKED

DIRECTIONS = {"text_to_shape": "text → shape", "shape_to_text": "shape → text"}
CURVE_TITLES = {
    RETURN: "Return on held-out queries, without labels",
    GAIN_CURVE: "Gain in recall@1 on held-out queries, without labels (points)",
    LABELLED: "Return of the episodes learnt from, with labels",
}
DIVERGENCE = "kl"
"""The term of the reward that is a divergence from the initial attention."""

#: Curves that are shares, shown in points.
IN_POINTS = (GAIN_CURVE,)

READING = (
    "Figures are interquartile means over runs: the mean without the lowest and the highest quarter. In "
    f"brackets are 95 % percentile intervals of the stratified bootstrap ({REPETITIONS:,} draws of whole "
    "runs; the metrics of one run are drawn together).",
    "With one run there is no interval. With three to five runs an interval is too narrow rather than too "
    "wide: read it as a hint.",
    "Gain: with the agent's calibration less without it, in the same run, on the same weights: what "
    "calibrating at query time brings.",
    "Difference: mean of final less final over equal seeds, which share everything before the arms part. "
    "P(X > Y): the probability that a run of the arm has a better final result than a run of the other, ties "
    "counting half.",
    "Return: the reward of an episode, of which the internal part (the fall of the contrastive loss) and the "
    "external part (the rise of the reciprocal rank) are shown before they are weighed.",
    "Bands around curves are 95 % intervals of the same bootstrap, point by point; a curve ends where the "
    "first of its runs ends.",
)


def metric_name(name: str) -> str:
    """``R@1 text → shape``."""
    direction, _, measure = name.partition("/")
    return f"{measure.replace('recall@', 'R@')} {DIRECTIONS.get(direction, direction)}"


def title(summary: Summary, key: str) -> str:
    """A metric's name in its report."""
    if key != ALL:
        return metric_name(key)
    measures = {name.partition("/")[2] for name in summary.metrics}
    if len(measures) == 1 and len(summary.metrics) == len(DIRECTIONS):
        return f"{measures.pop().replace('recall@', 'R@')} both ways"
    return f"mean of {len(summary.metrics)} metrics"


def main_grids(summary: Summary) -> list[Grid]:
    """The tables that answer the question: the first metric (or all together), what it took, grounding."""
    key = summary.keys[0]
    return _not_empty(
        [
            retrieval(summary, key),
            against(summary, key),
            earned(summary),
            costs(summary),
            *grounding(summary, MAIN),
        ]
    )


def other_grids(summary: Summary) -> list[Grid]:
    """The tables of the other metrics, and more of grounding."""
    found = [table(summary, key) for key in summary.keys[1:] for table in (retrieval, against)]
    return _not_empty([*found, *grounding(summary, OTHER)])


def retrieval(summary: Summary, key: str) -> Grid:
    """Final results and gains of the arms."""
    rows = []
    for arm in summary.arms:
        figures = arm.estimates[key]
        rows.append(
            [
                arm.arm.name,
                str(len(arm.arm.runs)),
                percent(figures[BASELINE]),
                percent(figures[RERANKED]),
                percent(figures[FINAL]),
                points(figures[GAIN]),
            ]
        )
    columns = ["arm", "runs", "exact KNN", "HAF, not calibrated", "HAF, calibrated", "gain, points"]
    return Grid(f"{title(summary, key)}, per cent", columns, rows)


def against(summary: Summary, key: str) -> Grid:
    """Arms held against the reference arms."""
    rows = []
    for arm in summary.arms:
        for other in arm.against[key]:
            rows.append([arm.arm.name, other.name, *_against_cells(other)])
    columns = [
        "arm",
        "against",
        "P(X > Y)",
        "difference, points",
        "difference in gain, points",
        "difference in return",
        "paired seeds",
    ]
    return Grid(f"{title(summary, key)}: improvement", columns, rows)


def earned(summary: Summary) -> Grid:
    """What calibrating the test queries brought, in the unit that agents are rewarded in."""
    arms = [arm for arm in summary.arms if arm.earned]
    named = [name for arm in arms for name in arm.earned if name not in (RETURN_EARNED, ACTED)]
    terms = list(dict.fromkeys(named))
    rows = [
        [
            arm.arm.name,
            difference(arm.earned.get(RETURN_EARNED)),
            *(_term(name, arm.earned.get(name)) for name in terms),
            with_interval(arm.earned.get(ACTED), "{:.0f}"),
        ]
        for arm in arms
    ]
    titles = ["divergence, nats" if name == DIVERGENCE else f"{name} part" for name in terms]
    columns = ["arm", "return", *titles, "acted on, per cent"]
    return Grid("Earned on the test queries, without labels, a query", columns, rows)


def costs(summary: Summary) -> Grid:
    """What the arms took."""
    rows = []
    for arm in summary.arms:
        cost = arm.costs
        acted = None if cost.acted is None else 100 * cost.acted
        rows.append(
            [
                arm.arm.name,
                number(cost.evaluations),
                number(cost.episodes),
                number(cost.return_mean, "{:+.3f}"),
                number(acted, "{:.0f} %"),
                duration(cost.seconds.get("train")),
                duration(cost.seconds.get("agent")),
                duration(cost.seconds["total"]),
            ]
        )
    columns = [
        "arm",
        "evaluations",
        "episodes",
        "return with labels",
        "queries acted on",
        "training",
        "agent",
        "wall time",
    ]
    return Grid("Costs, means over the runs", columns, rows)


def _term(name: str, change: Estimate | None) -> str:
    """The change of a term of the reward; a divergence, which begins at zero, has no sign."""
    return with_interval(change, "{:.3f}", 1.0) if name == DIVERGENCE else difference(change)


def curves(arms: Sequence[ArmSummary], name: str) -> list[ArmSummary]:
    """The arms that have a curve of that name."""
    return [arm for arm in arms if name in arm.curves]


def _not_empty(tables: list[Grid]) -> list[Grid]:
    return [table for table in tables if table.rows]


def _against_cells(other: PairwiseComparison) -> list[str]:
    runs = 0 if other.difference is None else other.difference.runs
    return [
        probability(other.probability),
        points(other.difference),
        points(other.gain),
        difference(other.earned),
        str(runs),
    ]
