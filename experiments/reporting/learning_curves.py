"""Curves of sample efficiency: interquartile means over seeds, along the evaluations of the agent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.reporting.statistics import CONFIDENCE, interquartile_mean, resample

POINTS = 40
REPETITIONS = 2_000

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """A curve of an arm.

    Attributes:
        evaluations: Numbers of evaluations, ``[n]``.
        values: Interquartile means over the seeds, ``[n]``.
        low: Lower ends of 95 % intervals, ``[n]``; None with fewer than two seeds.
        high: Upper ends, ``[n]``.
        runs: Number of seeds.
    """

    evaluations: list[float]
    values: list[float]
    low: list[float] | None
    high: list[float] | None
    runs: int


def arm_curve(runs: Sequence[Points], generator: np.random.Generator) -> Curve | None:
    """Join the curves of an arm's runs where all of them have values.

    Args:
        runs: Points ``(evaluations, value)`` of each run in order; runs without any are left out.
        generator: Random generator of the bootstrap; it is advanced.

    Returns:
        None if no run has a point, or the runs' ranges have nothing in common.
    """
    runs = [points for points in runs if points]
    if not runs:
        return None
    start, end = max(points[0][0] for points in runs), min(points[-1][0] for points in runs)
    if start > end:
        return None
    count = min(POINTS, max(len(points) for points in runs)) if end > start else 1
    grid = np.linspace(start, end, count)
    table = np.stack([on_grid(points, grid) for points in runs])  # [runs, n]
    values = interquartile_mean(table.T[:, :, None])
    low = high = None
    if len(runs) > 1:
        drawn = resample(table, REPETITIONS, generator)  # [R, runs, n]
        spread = interquartile_mean(drawn.transpose(0, 2, 1)[..., None])  # [R, n]
        edges = np.quantile(spread, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
        low, high = edges[0].tolist(), edges[1].tolist()
    return Curve(grid.tolist(), values.tolist(), low, high, len(runs))


def on_grid(points: Points, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate a curve on a grid ``[n]`` of evaluations.

    Points that fall into the same cell of the grid are averaged, so that many noisy points are not sampled
    at random; a cell without points is interpolated linearly.
    """
    places, values = np.array(points, dtype=np.float64).T
    found = np.interp(grid, places, values)
    if len(grid) < 2:
        return found
    edges = (grid[1:] + grid[:-1]) / 2
    cell = np.searchsorted(edges, places, side="right")
    inside = (places >= grid[0]) & (places <= grid[-1])
    counts = np.bincount(cell[inside], minlength=len(grid))
    sums = np.bincount(cell[inside], weights=values[inside], minlength=len(grid))
    return np.where(counts > 1, sums / np.maximum(counts, 1), found)
