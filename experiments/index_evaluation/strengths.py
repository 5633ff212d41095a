"""Strengths of memory for a run, chosen on pairs that it was neither trained on nor is tested on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.evaluation.grid_choice import best_of_grid

FIRST_STAGE = "first stage"
RECALLS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
HUBNESSES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)


@dataclass(frozen=True)
class Strengths:
    """Chosen strengths of memory, and their gain.

    Attributes:
        recall: Strength ``a``.
        hubness: Strength ``λ``.
        gain: In R@1 on the queries that chose, each half with the strengths of the other.
        sure: What the gain is above with 95 % confidence (one-sided bootstrap over queries).
        given: Whether the user named the strengths, so that they act whatever they gain.
    """

    recall: float
    hubness: float
    gain: float
    sure: float
    given: bool = False

    @property
    def rests(self) -> bool:
        """Whether memory does not surely gain; then both strengths are 0."""
        return not self.given and self.sure <= 0

    def __str__(self) -> str:
        found = f"gain on the reward split {100 * self.gain:+.1f}, above {100 * self.sure:+.1f} with 95 %"
        if self.rests:
            return f"rests ({found}): no sure gain"
        return f"recall {self.recall:g}, hubness {self.hubness:g} ({found})"


def choose_strengths(
    base: NDArray[np.float32],
    recalled: NDArray[np.float32],
    hubness: NDArray[np.float32],
    right: NDArray[np.bool_],
    *,
    recalls: tuple[float, ...] = RECALLS,
    hubnesses: tuple[float, ...] = HUBNESSES,
    seed: int = 0,
) -> Strengths:
    """The strengths of most R@1; both 0 where they do not surely gain, see `best_of_grid`.

    Args:
        base: ``[Q, C]`` scores without memory, minus infinity where there is no candidate.
        recalled: ``[Q, C]`` evidence of what each query recalls.
        hubness: ``[Q, C]`` of the candidates, or ``[C]`` where all queries have the same ones.
        right: ``[Q, C]`` the right ones.
        recalls: Strengths of recall to choose from, ascending; the single one that the user gave.
        hubnesses: Likewise.
        seed: Of the halves and the bootstrap.
    """
    grid = [(recall, weight) for recall in recalls for weight in hubnesses]
    rows = np.arange(len(base))
    plain = right[rows, base.argmax(axis=1)]
    hits = np.empty((len(grid), len(base)), bool)
    for number, (recall, weight) in enumerate(grid):
        best = (base + np.float32(recall) * recalled - np.float32(weight) * hubness).argmax(axis=1)
        hits[number] = right[rows, best]
    chosen = best_of_grid(hits.astype(np.float64) - plain, seed)
    given = len(grid) == 1
    recall, weight = grid[chosen.place]
    if chosen.sure <= 0 and not given:
        recall = weight = 0.0
    return Strengths(recall, weight, chosen.gain, chosen.sure, given)
