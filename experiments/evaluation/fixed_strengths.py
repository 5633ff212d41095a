"""Strengths of the library that are the same for all queries of a direction, chosen on labeled queries.

They are the simplest calibration, and the one that an agent has to beat. Held-out queries never choose: these
are of the reward split. Where none surely gains they are zero, and the library rests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from experiments.evaluation.gallery import STAGES, Stage
from experiments.evaluation.grid_choice import best_of_grid

if TYPE_CHECKING:
    from experiments.evaluation.directions import Direction

GRID = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)


@dataclass(frozen=True)
class Strengths:
    """Strengths for one stage and direction.

    Attributes:
        recall: Of what the query recalls.
        hubness: Of the correction for hubness.
        gain: In reciprocal rank on the queries that chose, see `best_of_grid`.
        sure: What the gain is above with 95 % confidence.
    """

    recall: float
    hubness: float
    gain: float
    sure: float

    @property
    def rest(self) -> bool:
        """Whether nothing is changed."""
        return not (self.recall or self.hubness)


Choice = dict[tuple[Stage, str], Strengths]
"""Strengths by stage and direction."""


def choose(asked: Sequence[Mapping[str, Direction]]) -> Choice:
    """Chooses strengths for both stages of both directions.

    Args:
        asked: Labeled queries in both directions, whose known pairs are those of others: the same queries in
            one or more galleries, which count equally.
    """
    return {
        (stage, name): _best([one[name] for one in asked], stage) for stage in STAGES for name in asked[0]
    }


def as_json(choice: Choice) -> dict[str, dict[str, Any]]:
    """The strengths by stage and direction, as results.json holds them."""
    found: dict[str, dict[str, Any]] = {}
    for (stage, name), strengths in choice.items():
        found.setdefault(stage, {})[name] = asdict(strengths)
    return found


def _best(directions: Sequence[Direction], stage: Stage) -> Strengths:
    before = _reciprocal(directions, stage)
    grid = [(recall, hubness) for recall in GRID for hubness in GRID]
    gains = np.stack([_reciprocal(directions, stage, *place) - before for place in grid])
    chosen = best_of_grid(gains)
    recall, hubness = grid[chosen.place] if chosen.sure > 0 else (0.0, 0.0)
    return Strengths(recall, hubness, chosen.gain, chosen.sure)


def _reciprocal(
    directions: Sequence[Direction], stage: Stage, recall: float = 0.0, hubness: float = 0.0
) -> NDArray[np.float64]:
    """Reciprocal ranks ``[Q]``, the mean over galleries."""
    return np.mean([1.0 / one.ranks(stage, recall, hubness) for one in directions], axis=0)
