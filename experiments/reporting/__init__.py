"""Reports on many runs: reading run folders, estimates with intervals, and pages."""

from experiments.reporting.arm_summary import METRICS, ArmSummary, Summary, summarize
from experiments.reporting.arms import Arm, Comparison, compare
from experiments.reporting.load_runs import Run, Unfinished, find_runs
from experiments.reporting.statistics import (
    Estimate,
    estimate,
    estimate_improvement,
    improvement,
    interquartile_mean,
)

__all__ = [
    "METRICS",
    "Arm",
    "ArmSummary",
    "Comparison",
    "Estimate",
    "Run",
    "Summary",
    "Unfinished",
    "compare",
    "estimate",
    "estimate_improvement",
    "find_runs",
    "improvement",
    "interquartile_mean",
    "summarize",
]
