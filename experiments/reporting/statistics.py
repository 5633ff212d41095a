"""Estimates over few runs: interquartile means, probabilities of improvement, bootstrap intervals.

The estimators are those of Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical
Precipice" (NeurIPS 2021), whose code is the package rliable. Here they draw from an explicit generator, and a
bootstrap may draw columns of scores together: where several scores come from one run, to draw each by itself
would count one run as several and give intervals that are too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Statistic = Callable[[Scores], Scores]

CONFIDENCE = 0.95
REPETITIONS = 10_000


@dataclass(frozen=True)
class Estimate:
    """Point estimate with its interval.

    Attributes:
        value: The estimate.
        low: Lower end of the 95 % interval; None with fewer than two runs.
        high: Upper end of the interval.
        runs: Number of runs behind it.
    """

    value: float
    low: float | None
    high: float | None
    runs: int

    @property
    def certain(self) -> bool:
        """Return whether there is an interval."""
        return self.low is not None and self.high is not None

    def includes(self, value: float) -> bool:
        """Return whether the interval includes a value; without an interval nothing is ruled out."""
        return self.low is None or self.high is None or self.low <= value <= self.high


def interquartile_mean(scores: Scores) -> Scores:
    """Compute the mean without the lowest and the highest quarter (rounded down) of all scores.

    Args:
        scores: Scores ``[..., n, K]`` of n runs on K tasks.

    Returns:
        ``[...]``.
    """
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    return flat[..., cut : flat.shape[-1] - cut].mean(-1)


def mean(scores: Scores) -> Scores:
    """Compute the mean of ``[..., n, K]`` over runs and tasks: ``[...]``."""
    return scores.mean((-2, -1))


def improvement(ours: Scores, theirs: Scores) -> Scores:
    """Compute the probability that our run beats theirs, ties counting half, averaged over tasks.

    It is the Mann-Whitney statistic over the number of pairs.

    Args:
        ours: Scores ``[..., n, K]``.
        theirs: Scores ``[..., m, K]``.

    Returns:
        ``[...]`` in [0, 1].
    """
    above = ours[..., :, None, :] > theirs[..., None, :, :]  # [..., n, m, K]
    equal = ours[..., :, None, :] == theirs[..., None, :, :]
    return (above + 0.5 * equal).mean((-3, -2, -1))


def resample(
    scores: Scores,
    repetitions: int,
    generator: np.random.Generator,
    strata: Sequence[Sequence[int]] | None = None,
) -> Scores:
    """Draw runs with replacement, independently for each stratum.

    Args:
        scores: Scores ``[n, K]``.
        repetitions: Number of draws ``R``.
        generator: Random generator; it is advanced.
        strata: Groups of columns that are drawn together, because they come from the same runs; each column
            is in one group. None: all together. One column each is rliable's stratified bootstrap.

    Returns:
        ``[R, n, K]``.
    """
    runs, columns = scores.shape
    drawn = np.empty((repetitions, runs, columns))
    for stratum in strata if strata is not None else [range(columns)]:
        rows = generator.integers(runs, size=(repetitions, runs))
        drawn[:, :, list(stratum)] = scores[:, list(stratum)][rows]
    return drawn


def estimate(
    scores: Scores,
    statistic: Statistic,
    generator: np.random.Generator,
    *,
    repetitions: int = REPETITIONS,
    strata: Sequence[Sequence[int]] | None = None,
) -> Estimate:
    """Estimate a statistic with the percentile interval of the stratified bootstrap.

    Args:
        scores: Scores ``[n, K]`` of n runs.
        statistic: Function from ``[..., n, K]`` to ``[...]``.
        generator: Random generator; it is advanced.
        repetitions: Number of draws of the bootstrap.
        strata: Groups of columns, see `resample`.
    """
    runs = len(scores)
    value = float(statistic(scores))
    if runs < 2:
        return Estimate(value, None, None, runs)
    return Estimate(
        value, *percentile_interval(statistic(resample(scores, repetitions, generator, strata))), runs
    )


def estimate_improvement(
    ours: Scores,
    theirs: Scores,
    generator: np.random.Generator,
    *,
    repetitions: int = REPETITIONS,
    strata: Sequence[Sequence[int]] | None = None,
) -> Estimate:
    """Estimate the `improvement` of ``[n, K]`` over ``[m, K]``; each side is drawn independently."""
    value = float(improvement(ours, theirs))
    runs = min(len(ours), len(theirs))
    if runs < 2:
        return Estimate(value, None, None, runs)
    drawn = [resample(scores, repetitions, generator, strata) for scores in (ours, theirs)]
    return Estimate(value, *percentile_interval(improvement(*drawn)), runs)


def percentile_interval(draws: Scores) -> tuple[float, float]:
    """Compute the ends of the interval that holds 95 % of draws ``[R]``."""
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
