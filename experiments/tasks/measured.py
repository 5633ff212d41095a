"""Measurements with 95 % intervals: a bootstrap over shapes that draws weights, not rows.

A statistic is a function of weights ``[R, N]``: how often each of N rows was drawn in each of R resamples.
Most are quotients of matrix products with the weights, so that all resamples and all statistics of a task are
computed at once, and all of them from the same draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.reporting.statistics import CONFIDENCE, percentile_interval

Values = NDArray[np.float64]
Statistic = Callable[[Values], Values]
"""From weights ``[R, N]`` to ``[R, K]``; NaN where a resample does not say."""

CHUNK = 2**22
"""Weights that are held at a time: 32 MB."""


@dataclass(frozen=True)
class Measured:
    """A number with its interval.

    Attributes:
        name: What was measured, such as ``R@1``.
        value: Of all rows.
        low: Lower end of the 95 % interval; None where one shape alone leaves it open.
        high: Upper end of it.
        count: Rows behind the value: shapes or queries.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class Bootstrap:
    """Resampling with replacement.

    Attributes:
        resamples: Number of resamples, R.
        seed: Seed of the draws; equal seeds and equal numbers of units draw alike, so that two models are
            compared on the same resamples.
    """

    resamples: int = 1_000
    seed: int = 0

    def weights(self, units: int) -> Iterator[Values]:
        """How often each of ``units`` was drawn, ``[r, units]`` at a time, R rows in all."""
        draws = np.random.default_rng([self.seed, units])
        step = max(1, CHUNK // units)
        for start in range(0, self.resamples, step):
            rows = min(step, self.resamples - start)
            drawn = draws.integers(units, size=(rows, units)) + np.arange(rows)[:, None] * units
            yield np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)


BOOTSTRAP = Bootstrap()
"""A thousand resamples."""


def measure(
    names: Sequence[str],
    statistic: Statistic,
    count: int,
    bootstrap: Bootstrap = BOOTSTRAP,
    clusters: NDArray[np.int64] | None = None,
) -> tuple[Measured, ...]:
    """Measures K statistics of the same rows, with percentile intervals.

    Args:
        names: K.
        statistic: From weights ``[R, count]`` to ``[R, K]``.
        count: Rows.
        bootstrap: Resampling.
        clusters: ``[count]`` what each row belongs to, from 0: rows of one shape, such as its captions, are
            drawn together. None: each row for itself.

    Raises:
        ValueError: There are no rows, or not one cluster per row.
    """
    if count < 1:
        raise ValueError(f"{', '.join(names)}: nothing to measure, the split is empty")
    if clusters is not None and len(clusters) != count:
        raise ValueError(f"{len(clusters)} clusters of {count} rows: expected one each")
    units = count
    if clusters is not None:
        known, clusters = np.unique(clusters, return_inverse=True)
        units = len(known)
    value = statistic(np.ones((1, count)))[0]
    if units < 2:
        return tuple(
            Measured(name, float(own), None, None, count) for name, own in zip(names, value, strict=True)
        )
    drawn = [
        statistic(weights if clusters is None else weights[:, clusters])
        for weights in bootstrap.weights(units)
    ]
    return tuple(
        Measured(name, float(own), *interval(column), count)
        for name, own, column in zip(names, value, np.concatenate(drawn).T, strict=True)
    )


def measure_means(
    values: Mapping[str, Values | NDArray[np.bool_]],
    bootstrap: Bootstrap = BOOTSTRAP,
    clusters: NDArray[np.int64] | None = None,
) -> tuple[Measured, ...]:
    """Measures means of values by name, ``[N]`` each, all of the same rows.

    Shares that are 0 or 1 throughout have no spread to resample: their interval is that of Clopper and
    Pearson (1934) over the clusters.

    Args:
        values: By name.
        bootstrap: Resampling.
        clusters: See `measure`.

    Raises:
        ValueError: There are no values, or their lengths differ.
    """
    columns = np.stack([np.asarray(own, dtype=np.float64) for own in values.values()], axis=1)
    units = len(columns) if clusters is None else len(np.unique(clusters))

    def means(weights: Values) -> Values:
        return (weights @ columns) / weights.sum(axis=1, keepdims=True)

    found = measure(list(values), means, len(columns), bootstrap, clusters)
    return tuple(
        exact_ends(own, units) if (column == column[0]).all() and column[0] in (0, 1) else own
        for own, column in zip(found, columns.T, strict=True)
    )


def exact_ends(measured: Measured, units: int) -> Measured:
    """A share of 0 or 1 with the interval of Clopper and Pearson over so many units."""
    reach = 1 - ((1 - CONFIDENCE) / 2) ** (1 / units)
    low, high = (0.0, reach) if measured.value == 0 else (1 - reach, 1.0)
    return Measured(measured.name, measured.value, low, high, measured.count)


def interval(draws: Values) -> tuple[float | None, float | None]:
    """The percentile interval of the draws ``[R]`` that are finite; None without any."""
    finite = draws[np.isfinite(draws)]
    return percentile_interval(finite) if len(finite) else (None, None)
