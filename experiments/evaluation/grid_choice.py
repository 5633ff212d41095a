"""Choice of one setting out of a grid by what it gains on labeled queries, if that is sure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2_000


@dataclass(frozen=True)
class GridChoice:
    """Chosen place of a grid, and its gain.

    Attributes:
        place: In the grid.
        gain: Mean over the queries, each half with the place that the other half would choose.
        sure: What the gain is above with 95 % confidence (one-sided bootstrap over queries).
    """

    place: int
    gain: float
    sure: float


def best_of_grid(gains: NDArray[np.floating], seed: int = 0) -> GridChoice:
    """The place of a grid that gains most.

    The best of a grid is flattered by having been chosen, so what is gained is measured on each half of the
    queries by the place that the other half would choose. Ties are broken by the lowest place.

    Args:
        gains: ``[G, Q]`` of every place for every query.
        seed: Of the halves and the bootstrap.
    """
    queries = gains.shape[1]
    draw = np.random.default_rng([seed, queries])
    half = draw.permutation(queries) % 2 == 0
    found = np.empty(queries)
    for chooses, measured in ((half, ~half), (~half, half)):
        best_there = int(gains[:, chooses].mean(axis=1).argmax()) if chooses.any() else 0
        found[measured] = gains[best_there, measured]
    means = [found[draw.integers(0, queries, queries)].mean() for _ in range(RESAMPLES)]
    return GridChoice(int(gains.mean(axis=1).argmax()), float(found.mean()), float(np.quantile(means, 0.05)))
