"""Estimates over few runs: interquartile means, probabilities of improvement, bootstrap intervals.

The estimators are those of Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical
Precipice" (NeurIPS 2021), whose code is the package rliable. Here they draw from an explicit generator, and a
bootstrap may draw columns of scores together: where several scores come from one run, to draw each by itself
would take one run for several and give intervals that are too narrow.
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
    """A figure and how sure it is.

    Attributes:
        value: the estimate.
        low: lower end of the 95 % interval; None where there are fewer than two runs.
        high: its upper end.
        runs: how many runs it rests on.
    """

    value: float
    low: float | None
    high: float | None
    runs: int

    @property
    def certain(self) -> bool:
        """Whether there is an interval."""
        return self.low is not None and self.high is not None

    def includes(self, value: float) -> bool:
        """Whether the interval holds a value; without an interval nothing is ruled out."""
        return self.low is None or self.high is None or self.low <= value <= self.high


def interquartile_mean(scores: Scores) -> Scores:
    """The mean without the lowest and the highest quarter (rounded down) of all scores.

    Args:
        scores: ``[..., n, K]`` of n runs on K tasks.

    Returns:
        ``[...]``.
    """
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    return flat[..., cut : flat.shape[-1] - cut].mean(-1)


def mean(scores: Scores) -> Scores:
    """The mean of ``[..., n, K]`` over runs and tasks: ``[...]``."""
    return scores.mean((-2, -1))


def improvement(ours: Scores, theirs: Scores) -> Scores:
    """The probability that a run of ours beats a run of theirs, ties counting half, averaged over tasks.

    It is the Mann-Whitney statistic over the number of pairs.

    Args:
        ours: ``[..., n, K]``.
        theirs: ``[..., m, K]``.

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
    """Draws runs with replacement, for each stratum by itself.

    Args:
        scores: ``[n, K]``.
        repetitions: ``R``.
        generator: is advanced.
        strata: columns that are drawn together, because they come from the same runs; each column in one of
            them. None: all together. One column each is rliable's stratified bootstrap.

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
    """A statistic with the percentile interval of the stratified bootstrap.

    Args:
        scores: ``[n, K]`` of n runs.
        statistic: from ``[..., n, K]`` to ``[...]``.
        generator: is advanced.
        repetitions: of the bootstrap.
        strata: see `resample`.
    """
    runs = len(scores)
    value = float(statistic(scores))
    if runs < 2:
        return Estimate(value, None, None, runs)
    return Estimate(value, *_interval(statistic(resample(scores, repetitions, generator, strata))), runs)


def estimate_improvement(
    ours: Scores,
    theirs: Scores,
    generator: np.random.Generator,
    *,
    repetitions: int = REPETITIONS,
    strata: Sequence[Sequence[int]] | None = None,
) -> Estimate:
    """`improvement` of ``[n, K]`` over ``[m, K]``; the runs of either side are drawn by themselves."""
    value = float(improvement(ours, theirs))
    runs = min(len(ours), len(theirs))
    if runs < 2:
        return Estimate(value, None, None, runs)
    drawn = [resample(scores, repetitions, generator, strata) for scores in (ours, theirs)]
    return Estimate(value, *_interval(improvement(*drawn)), runs)


def _interval(draws: Scores) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
