"""The figures of a report: what is said of each arm, before it is written in any format."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.reporting.arms import Arm, Comparison
from experiments.reporting.curves import Curve, arm_curve
from experiments.reporting.load_runs import CURVES, Run, flatten
from experiments.reporting.statistics import (
    Estimate,
    Scores,
    estimate,
    estimate_improvement,
    interquartile_mean,
    mean,
)
from experiments.run_folder.names import BASELINE, FINAL, RERANKED

METRICS = ("text_to_shape/recall@1", "shape_to_text/recall@1")
ALL = "all"
"""Name of the estimates over all metrics of a report."""

GAIN = "gain"
RETURN, ACTED = "return", "acted"
"""In ``agent.test`` of a run, before and after the terms of its reward: means over its test queries."""

BEFORE, AFTER = "before", "after"
COUNTS = ("pairs", "shapes")
"""Of grounding: how many were measured."""
_ENDS = ("_low", "_high")
"""Of the interval that a run gives a measure of grounding, over its shapes; here intervals are over runs."""


@dataclass(frozen=True)
class PairwiseComparison:
    """An arm held against another.

    Attributes:
        name: of the other.
        probability: that a run of this arm has the better final result, P(X > Y).
        difference: mean difference of the final results with equal seeds; None where no seed is in common.
        gain: the same of the gains at query time.
        earned: the same of the returns on the test queries, without labels.
    """

    name: str
    probability: Estimate
    difference: Estimate | None
    gain: Estimate | None
    earned: Estimate | None


@dataclass(frozen=True)
class Costs:
    """Means over an arm's runs; None where no run tells.

    Attributes:
        seconds: wall time by phase, and ``total``.
        evaluations: transitions that the agent computed.
        episodes: that it learnt from.
        return_mean: of these episodes, with labels.
        acted: share of the held-out queries that it changed anything in.
    """

    seconds: dict[str, float]
    evaluations: float | None
    episodes: float | None
    return_mean: float | None
    acted: float | None


@dataclass(frozen=True)
class ArmSummary:
    """What is said of an arm.

    Attributes:
        arm: the arm.
        estimates: by metric (`ALL` for all of them), of the rows ``baseline``, ``reranked``, ``final`` and of
            ``gain``, which is final less reranked of the same run.
        against: by metric, the arms it is held against.
        earned: what calibrating the test queries without labels earned: `RETURN`, the terms of the
            reward by name, `ACTED`.
        costs: what it took.
        curves: by name.
        grounding: by measure, ``before``, ``after`` and their paired ``gain``.
        counts: least and most of what a run measured grounding on: `COUNTS`.
    """

    arm: Arm
    estimates: dict[str, dict[str, Estimate]]
    against: dict[str, list[PairwiseComparison]]
    earned: dict[str, Estimate]
    costs: Costs
    curves: dict[str, Curve]
    grounding: dict[str, dict[str, Estimate]]
    counts: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Summary:
    """A comparison and its figures."""

    comparison: Comparison
    metrics: list[str]
    arms: list[ArmSummary]

    @property
    def keys(self) -> list[str]:
        """The metrics, and `ALL` in front where there are several."""
        return [ALL, *self.metrics] if len(self.metrics) > 1 else list(self.metrics)


def summarize(comparison: Comparison, metrics: Sequence[str]) -> Summary:
    """Computes the figures of a comparison; equal runs give equal figures.

    Raises:
        UserError: a run lacks a metric.
    """
    return Summary(comparison, list(metrics), [_arm(comparison, arm, metrics) for arm in comparison.arms])


def scores(runs: Iterable[Run], row: str, metrics: Sequence[str]) -> Scores:
    """``[n, K]`` of runs and metrics; the row ``gain`` is final less reranked."""
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
            for row in (BASELINE, RERANKED, FINAL, GAIN)
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
    costs, grounding, counts = _costs(arm.runs), _grounding(arm), _counts(arm)
    return ArmSummary(arm, estimates, against, _earned(arm), costs, curves, grounding, counts)


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
    """The mean difference over the seeds that both have: with one seed both share all but what differs."""
    pairs = _pairs(arm.runs, other.runs)
    if not pairs:
        return None
    left, right = (scores(side, row, metrics) for side in zip(*pairs, strict=True))
    return estimate(left - right, mean, draws)


def _paired_return(arm: Arm, other: Arm, draws: np.random.Generator) -> Estimate | None:
    """The mean difference of the returns on the test queries, of the runs that tell them."""
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
    """What a run's calibration of the test queries earned; empty where it does not tell."""
    return run.results["agent"].get("test") or {}


def _earned(arm: Arm) -> dict[str, Estimate]:
    found = {}
    for name in dict.fromkeys(name for run in arm.runs for name in earned(run)):
        values = [[earned(run)[name]] for run in arm.runs if name in earned(run)]
        found[name] = estimate(np.array(values), interquartile_mean, _draws(arm.name, "test", name))
    return found


def _costs(runs: Sequence[Run]) -> Costs:
    timings = [run.results.get("timing", {}) for run in runs]
    names = dict.fromkeys(name for timing in timings for name in timing)
    seconds = {
        name.removesuffix("_seconds"): float(np.mean([timing.get(name, 0.0) for timing in timings]))
        for name in names
    }
    seconds["total"] = sum(seconds.values())
    agents = [dict(flatten(run.results["agent"])) for run in runs]
    return Costs(
        seconds,
        **{
            field: _mean(agent.get(name) for agent in agents)
            for field, name in (
                ("evaluations", "evaluations"),
                ("episodes", "episodes"),
                ("return_mean", "return_mean"),
                ("acted", "validation.acted"),
            )
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
        told = [int(before[name]) for run in arm.runs if name in (before := _grounded(run, BEFORE))]
        if told:
            found[name] = (min(told), max(told))
    return found


def _grounded(run: Run, side: str) -> Mapping[str, float]:
    return (run.results.get("grounding") or {}).get(side, {})


def _mean(values: Iterable[float | None]) -> float | None:
    told = [float(value) for value in values if value is not None]
    return float(np.mean(told)) if told else None


def _draws(*names: str) -> np.random.Generator:
    """A generator of its own for each figure, so that no figure moves another."""
    return np.random.default_rng([zlib.crc32(name.encode()) for name in names])
