"""Sample efficiency: an arm's curve over the agent's evaluations, as an interquartile mean over its seeds."""

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
        evaluations: ``n`` places.
        values: ``n`` interquartile means over the seeds.
        low: ``n`` lower ends of 95 % intervals; None with fewer than two seeds.
        high: ``n`` upper ends.
        runs: how many seeds.
    """

    evaluations: list[float]
    values: list[float]
    low: list[float] | None
    high: list[float] | None
    runs: int


def arm_curve(runs: Sequence[Points], generator: np.random.Generator) -> Curve | None:
    """Joins the curves of an arm's runs where all of them have values.

    Args:
        runs: of each run its points ``(evaluations, value)`` in order; runs without any are left out.
        generator: of the bootstrap; is advanced.

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
    """A curve's values on a grid ``[n]`` of evaluations.

    Where several points fall into the cell around a place they are averaged, so that many noisy points are
    not sampled at random; where none does, the line between its neighbours counts.
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
