"""Intervals over runs and queries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from experiments.reporting.statistics import CONFIDENCE, Estimate


def over_runs_and_queries(
    values: NDArray[np.float64], draws: np.random.Generator, resamples: int
) -> Estimate:
    """The mean with its interval, runs and queries drawn each with replacement (Owen, AOAS 2007).

    The runs are asked the same queries, so that a query that is drawn counts in all of them.

    Args:
        values: ``[R, Q]``.
        draws: Generator; it is advanced.
        resamples: Draws of the bootstrap.
    """
    runs, queries = values.shape
    of_runs, of_queries = (
        draws.multinomial(count, np.full(count, 1 / count), size=resamples) / count
        for count in (runs, queries)
    )
    means = ((of_runs @ values) * of_queries).sum(axis=1)
    return _estimate(values, means)


def over_draws(values: NDArray[np.float64]) -> Estimate:
    """The mean of ``[R, D]`` with the range that holds 95 % of the values themselves."""
    return _estimate(values, values)


def _estimate(values: NDArray[np.float64], drawn: NDArray[np.float64]) -> Estimate:
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(float(values.mean()), float(low), float(high), len(values))
