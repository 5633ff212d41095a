"""Tables of a report, the same for every output format."""

from __future__ import annotations

from experiments.reporting.arm_summary import (
    ACTED,
    GAIN,
    STANDARD_ERRORS,
    PairwiseComparison,
    Summary,
)
from experiments.reporting.arm_summary import RETURN as EARNED
from experiments.reporting.formatting import (
    NOTHING,
    RANKINGS,
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
from experiments.reporting.statistics import REPETITIONS, Estimate
from experiments.reporting.titles import title

READING = (
    "Figures are interquartile means over runs: the mean without the lowest and the highest quarter. In "
    f"brackets are 95 % percentile intervals of the stratified bootstrap ({REPETITIONS:,} draws of whole "
    "runs; the metrics of one run are drawn together).",
    "With one run there is no interval. With three to five runs an interval is too narrow rather than too "
    "wide: read it as a hint.",
    "Gain: the result with the agent's calibration minus the result without it, in the same run, on the same "
    "weights: what calibrating at query time brings.",
    "Difference: mean over equal seeds of this arm's final result minus the other's. Runs of equal seeds "
    "share everything up to where the arms begin to differ.",
    "Against `fixed`: the one calibration for all queries that earned most on the queries learned from, at "
    "the same budget. An agent that does not beat it has gained nothing by looking at each query.",
    "Return: the reward of an episode. Its parts are shown unweighted: the internal one is the fall of the "
    "contrastive loss, the external one the rise of the reciprocal rank, the divergence is that of the "
    "calibrated attention from the initial one.",
    "Validation: queries that the agent did not learn from; they decide whether it may act. Test: queries "
    "that nothing was chosen on. The agent sees no labels in either.",
    "Bands around curves are 95 % intervals of the same bootstrap, point by point; a curve ends where the "
    "first of its runs ends.",
)


PROBABILITY_NOTE = (
    "P(X > Y): the probability that a run of the arm ends with a better result than a run of the other, ties "
    "counting half. 0.50: neither is better. An interval of [0, 1]: these runs are too few to tell."
)
#: Headings of the parts of a return that have a name of their own.
PART_TITLES = {"internal": "internal part", "external": "external part", "kl": "divergence, nats"}


def main_grids(summary: Summary) -> list[Grid]:
    """Build the tables that answer the question: the first metric (or all together), costs, grounding."""
    key = summary.keys[0]
    return _not_empty(
        [
            retrieval(summary, key),
            against(summary, key),
            acting(summary),
            earned(summary),
            costs(summary),
            *grounding(summary, MAIN),
        ]
    )


def other_grids(summary: Summary) -> list[Grid]:
    """Build the tables of the other metrics, and more of grounding."""
    found = [table(summary, key) for key in summary.keys[1:] for table in (retrieval, against)]
    return _not_empty([*found, *grounding(summary, OTHER)])


def retrieval(summary: Summary, key: str) -> Grid:
    """Build the table of the arms' final results and gains."""
    shown = [name for name in RANKINGS if any(name in arm.estimates[key] for arm in summary.arms)]
    rows = []
    for arm in summary.arms:
        figures = arm.estimates[key]
        rankings = [percent(figures.get(name)) for name in shown]
        rows.append([arm.arm.name, str(len(arm.arm.runs)), *rankings, points(figures[GAIN])])
    columns = ["arm", "runs", *(RANKINGS[name] for name in shown), "gain, points"]
    return Grid(f"{title(summary, key)}, per cent", columns, rows)


def against(summary: Summary, key: str) -> Grid:
    """Build the table that compares arms with the reference arms."""
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
    return Grid(f"{title(summary, key)}: improvement", columns, rows, PROBABILITY_NOTE)


def acting(summary: Summary) -> Grid:
    """Build the table of whether agents act on queries without labels, in validation and in the test."""
    rows = [
        [
            arm.arm.name,
            _acts(*arm.acting),
            difference(arm.validation.get(EARNED)),
            with_interval(arm.validation.get(STANDARD_ERRORS), "{:+.1f}", 1.0),
            percent(arm.validation.get(ACTED)),
            percent(arm.earned.get(ACTED)),
        ]
        for arm in summary.arms
        if arm.validation
    ]
    columns = [
        "arm",
        "in the test",
        "return in validation",
        "in standard errors",
        "changed in validation, per cent",
        "changed in test, per cent",
    ]
    return Grid("Does the agent act, without labels?", columns, rows, _margin(summary))


def earned(summary: Summary) -> Grid:
    """Build the table of what calibrating the test queries brought, in the unit of the reward."""
    stated = dict.fromkeys(name for arm in summary.arms for name in arm.earned if name != ACTED)
    found = [name for name in (EARNED, *PART_TITLES) if name in stated]
    found += [name for name in stated if name not in found]
    rows = [
        [arm.arm.name, *(_part(name, arm.earned.get(name)) for name in found)]
        for arm in summary.arms
        if arm.earned
    ]
    columns = ["arm", *(PART_TITLES.get(name, name) for name in found)]
    return Grid("Mean return per test query, without labels", columns, rows)


def costs(summary: Summary) -> Grid:
    """Build the table of what the arms took."""
    rows = []
    for arm in summary.arms:
        cost = arm.costs
        rows.append(
            [
                arm.arm.name,
                number(cost.evaluations),
                number(cost.episodes),
                number(cost.return_mean, "{:+.4f}"),
                duration(cost.seconds.get("train")),
                duration(cost.seconds.get("agent")),
                duration(cost.seconds["total"]),
            ]
        )
    columns = ["arm", "evaluations", "episodes", "return with labels", "training", "agent", "wall time"]
    return Grid("Costs, means over the runs", columns, rows)


def _part(name: str, figure: Estimate | None) -> str:
    """Format the return or a part of it; a divergence has no sign."""
    return with_interval(figure, "{:.4f}", 1.0) if name == "kl" else difference(figure)


def _acts(count: int, agents: int) -> str:
    """Say how many of an arm's agents may act in the test."""
    if agents == 0:
        return NOTHING
    return {0: "rests", agents: "acts"}.get(count, f"acts in {count} of {agents} runs")


def _margin(summary: Summary) -> str:
    """State what an agent needs in validation to act."""
    runs = [run for arm in summary.arms if arm.acting[1] for run in arm.arm.runs]
    chosen = [run.settings for run in runs if run.settings.get("dap.keep") == "best"]
    margins = sorted({settings["dap.margin"] for settings in chosen if "dap.margin" in settings})
    if not margins:
        return ""
    needed = " or ".join(f"{margin:g}" for margin in margins)
    return (
        f"An agent acts in the test if its best validation returned more than {needed} standard errors above "
        "0; otherwise it rests and leaves HAF's attention as it is. Shares are of the queries."
    )


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
