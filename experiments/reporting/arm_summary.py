"""Figures of a report: the estimates for each arm, before they are written in any format."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.reporting.arms import Arm, Comparison
from experiments.reporting.learning_curves import Curve, arm_curve
from experiments.reporting.load_runs import CURVES, Run
from experiments.reporting.statistics import (
    Estimate,
    Scores,
    estimate,
    estimate_improvement,
    interquartile_mean,
    mean,
)
from experiments.run_folder.names import BASELINE, FINAL, FIXED, MEMORY, RERANKED

METRICS = ("text_to_shape/recall@1", "shape_to_text/recall@1")
ALL = "all"
"""Name of the estimates over all metrics of a report together."""

GAIN = "gain"
RETURN, ACTED = "return", "acted"
"""In ``agent.test`` and ``agent.validation`` of a run: the mean return, and the share of queries changed."""
RETURN_ERROR = "return_error"
"""Standard error of the return in validation."""
STANDARD_ERRORS = "standard_errors"
"""Return in validation over its standard error."""

BEFORE, AFTER = "before", "after"
COUNTS = ("pairs", "shapes")
"""Of grounding: numbers of what was measured."""
_ENDS = ("_low", "_high")
"""Endings of a run's own intervals over its shapes; the intervals of a report are over runs."""


@dataclass(frozen=True)
class PairwiseComparison:
    """Comparison of an arm with a reference arm.

    Attributes:
        name: Name of the reference arm.
        probability: Probability that a run of this arm has the better final result, P(X > Y).
        difference: Mean difference of the final results with equal seeds; None if no seed is in common.
        gain: The same for the gains at query time.
        earned: The same for the returns on the test queries, without labels.
    """

    name: str
    probability: Estimate
    difference: Estimate | None
    gain: Estimate | None
    earned: Estimate | None


@dataclass(frozen=True)
class Costs:
    """Means over an arm's runs; None if no run states the figure.

    Attributes:
        seconds: Wall time by phase, and ``total``.
        evaluations: Transitions of the environment that the agent computed.
        episodes: Episodes that it learned from.
        return_mean: Mean return of these episodes, with labels.
    """

    seconds: dict[str, float]
    evaluations: float | None
    episodes: float | None
    return_mean: float | None


@dataclass(frozen=True)
class ArmSummary:
    """Figures of an arm.

    Attributes:
        arm: The arm.
        estimates: Estimates by metric (`ALL` for all of them together), for the rows ``baseline``,
            ``reranked``, ``final`` and for ``gain``, which is final minus reranked of the same run.
        against: Comparisons with the reference arms, by metric.
        earned: What calibrating the test queries without labels earned: the ``return``, each of its parts,
            and the share ``acted`` of queries that were changed.
        validation: The ``return`` of the validation that counts, in ``standard_errors``, and ``acted``.
        acting: Number of runs whose agent may act in the test, and of those that have an agent and say so.
        costs: What the runs took.
        curves: Curves by name.
        grounding: By measure, ``before``, ``after`` and their paired ``gain``.
        counts: Least and most of what a run measured grounding on: `COUNTS`.
    """

    arm: Arm
    estimates: dict[str, dict[str, Estimate]]
    against: dict[str, list[PairwiseComparison]]
    earned: dict[str, Estimate]
    validation: dict[str, Estimate]
    acting: tuple[int, int]
    costs: Costs
    curves: dict[str, Curve]
    grounding: dict[str, dict[str, Estimate]]
    counts: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Summary:
    """A comparison and its figures.

    Attributes:
        comparison: Arms that can be compared.
        metrics: Names of the retrieval metrics of the report.
        arms: Figures of each arm.
    """

    comparison: Comparison
    metrics: list[str]
    arms: list[ArmSummary]

    @property
    def keys(self) -> list[str]:
        """Return the metrics, with `ALL` in front if there are several."""
        return [ALL, *self.metrics] if len(self.metrics) > 1 else list(self.metrics)


def summarize(comparison: Comparison, metrics: Sequence[str]) -> Summary:
    """Compute the figures of a comparison; equal runs give equal figures.

    Raises:
        UserError: A run lacks a metric.
    """
    return Summary(comparison, list(metrics), [_arm(comparison, arm, metrics) for arm in comparison.arms])


def scores(runs: Iterable[Run], row: str, metrics: Sequence[str]) -> Scores:
    """Collect the scores ``[n, K]`` of runs and metrics; the row ``gain`` is final minus reranked."""
    if row == GAIN:
        runs = list(runs)
        return scores(runs, FINAL, metrics) - scores(runs, RERANKED, metrics)
    return np.array([[run.metric(row, name) for name in metrics] for run in runs])


def _arm(comparison: Comparison, arm: Arm, metrics: Sequence[str]) -> ArmSummary:
    sets = {name: [name] for name in metrics}
    if len(metrics) > 1:
        sets = {ALL: list(metrics), **sets}
    estimates = {
        key: {
            row: estimate(scores(arm.runs, row, names), interquartile_mean, _draws(arm.name, key, row))
            for row in (BASELINE, *_memory_rows(arm), RERANKED, FINAL, GAIN)
        }
        for key, names in sets.items()
    }
    against = {
        key: [_against(arm, other, names) for other in comparison.references(arm)]
        for key, names in sets.items()
    }
    curves = {}
    for name in CURVES:
        curve = arm_curve([run.curves.get(name, []) for run in arm.runs], _draws(arm.name, name))
        if curve is not None:
            curves[name] = curve
    return ArmSummary(
        arm,
        estimates,
        against,
        earned=_figures(arm, "test", [earned(run) for run in arm.runs]),
        validation=_figures(arm, "validation", [_validation(run) for run in arm.runs]),
        acting=_acting(arm.runs),
        costs=_costs(arm.runs),
        curves=curves,
        grounding=_grounding(arm),
        counts=_counts(arm),
    )


def _memory_rows(arm: Arm) -> list[str]:
    """The rows of the memory, which runs without one and older runs lack."""
    return [row for row in (MEMORY, FIXED) if all(run.has(row) for run in arm.runs)]


def _against(arm: Arm, other: Arm, metrics: Sequence[str]) -> PairwiseComparison:
    ours, theirs = scores(arm.runs, FINAL, metrics), scores(other.runs, FINAL, metrics)
    draws = _draws(arm.name, other.name, *metrics)
    return PairwiseComparison(
        other.name,
        estimate_improvement(ours, theirs, draws),
        _paired(arm, other, FINAL, metrics, draws),
        _paired(arm, other, GAIN, metrics, draws),
        _paired_return(arm, other, draws),
    )


def _paired(
    arm: Arm, other: Arm, row: str, metrics: Sequence[str], draws: np.random.Generator
) -> Estimate | None:
    """Estimate the mean difference over common seeds: with one seed both share all but what differs."""
    pairs = _pairs(arm.runs, other.runs)
    if not pairs:
        return None
    left, right = (scores(side, row, metrics) for side in zip(*pairs, strict=True))
    return estimate(left - right, mean, draws)


def _paired_return(arm: Arm, other: Arm, draws: np.random.Generator) -> Estimate | None:
    """Estimate the mean difference of the returns on the test queries, over the runs that state them."""
    sides = [[run for run in side.runs if RETURN in earned(run)] for side in (arm, other)]
    pairs = _pairs(*sides)
    if not pairs:
        return None
    differences = [[earned(ours)[RETURN] - earned(theirs)[RETURN]] for ours, theirs in pairs]
    return estimate(np.array(differences), mean, draws)


def _pairs(ours: Sequence[Run], theirs: Sequence[Run]) -> list[tuple[Run, Run]]:
    by_seed = {run.seed: run for run in theirs}
    return [(run, by_seed[run.seed]) for run in ours if run.seed in by_seed]


def earned(run: Run) -> Mapping[str, float]:
    """Return what a run's calibration of the test queries earned; empty if it does not say."""
    return run.results["agent"].get("test") or {}


def _validation(run: Run) -> dict[str, float]:
    """Collect what decided whether a run's agent may act in the test."""
    stated = run.results["agent"].get("validation") or {}
    found = {name: stated[name] for name in (RETURN, ACTED) if stated.get(name) is not None}
    if RETURN in found and stated.get(RETURN_ERROR):
        found[STANDARD_ERRORS] = found[RETURN] / stated[RETURN_ERROR]
    return found


def _acting(runs: Sequence[Run]) -> tuple[int, int]:
    """Count the runs whose agent may act in the test, and the runs with an agent that say so."""
    agents = [run.results["agent"] for run in runs]
    stated = [agent["acts"] for agent in agents if agent.get("validation") and agent.get("acts") is not None]
    return sum(stated), len(stated)


def _figures(arm: Arm, place: str, stated: Sequence[Mapping[str, float]]) -> dict[str, Estimate]:
    """Estimate each figure that runs state."""
    names = dict.fromkeys(name for figures in stated for name in figures)
    found = {}
    for name in names:
        values = [[figures[name]] for figures in stated if name in figures]
        if values:
            found[name] = estimate(np.array(values), interquartile_mean, _draws(arm.name, place, name))
    return found


def _costs(runs: Sequence[Run]) -> Costs:
    timings = [run.results.get("timing", {}) for run in runs]
    names = dict.fromkeys(name for timing in timings for name in timing)
    seconds = {
        name.removesuffix("_seconds"): float(np.mean([timing.get(name, 0.0) for timing in timings]))
        for name in names
    }
    seconds["total"] = sum(seconds.values())
    agents = [run.results["agent"] for run in runs]
    return Costs(
        seconds,
        **{
            name: _mean(agent.get(name) for agent in agents)
            for name in ("evaluations", "episodes", "return_mean")
        },
    )


def _grounding(arm: Arm) -> dict[str, dict[str, Estimate]]:
    sides = [(_grounded(run, BEFORE), _grounded(run, AFTER)) for run in arm.runs]
    found = {}
    for name in dict.fromkeys(name for before, after in sides for name in before if name in after):
        if name in COUNTS or name.endswith(_ENDS):
            continue
        rows = np.array([[b[name], a[name]] for b, a in sides if name in b and name in a])
        before, after = rows[:, :1], rows[:, 1:]
        found[name] = {
            part: estimate(values, interquartile_mean, _draws(arm.name, name, part))
            for part, values in ((BEFORE, before), (AFTER, after), (GAIN, after - before))
        }
    return found


def _counts(arm: Arm) -> dict[str, tuple[int, int]]:
    found = {}
    for name in COUNTS:
        stated = [int(before[name]) for run in arm.runs if name in (before := _grounded(run, BEFORE))]
        if stated:
            found[name] = (min(stated), max(stated))
    return found


def _grounded(run: Run, side: str) -> Mapping[str, float]:
    return (run.results.get("grounding") or {}).get(side, {})


def _mean(values: Iterable[float | None]) -> float | None:
    stated = [float(value) for value in values if value is not None]
    return float(np.mean(stated)) if stated else None


def _draws(*names: str) -> np.random.Generator:
    """Give each figure a generator of its own, so that no figure changes another."""
    return np.random.default_rng([zlib.crc32(name.encode()) for name in names])
