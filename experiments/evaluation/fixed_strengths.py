"""Strengths of the library that are the same for all queries of a direction, chosen on labeled queries.

They are the simplest calibration, and the one that an agent has to beat. Held-out queries never choose: these
are of the reward split. Each direction has its own. Where they do not surely gain it takes those that both
directions together would choose, if these surely gain over both and are no loss in this one: twice as many
queries see gains that one direction cannot tell from nothing. Else they are zero, and the library rests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from experiments.evaluation.gallery import STAGES, Stage
from experiments.evaluation.grid_choice import GridChoice, best_of_grid

if TYPE_CHECKING:
    from experiments.evaluation.directions import Direction

GRID = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
PLACES = tuple((recall, hubness) for recall in GRID for hubness in GRID)
"""Strengths of recall and of hubness to choose from."""


@dataclass(frozen=True)
class Strengths:
    """Strengths for one stage and direction.

    Attributes:
        recall: Of what the query recalls.
        hubness: Of the correction for hubness.
        gain: In reciprocal rank on the queries that chose, see `best_of_grid`.
        sure: What the gain is above with 95 % confidence.
        shared: Whether both directions chose together; the gain is then their mean.
    """

    recall: float
    hubness: float
    gain: float
    sure: float
    shared: bool = False

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
    choice: Choice = {}
    for stage in STAGES:
        gains = {name: _gains([one[name] for one in asked], stage) for name in asked[0]}
        together = _together(list(gains.values()))
        for name, own in gains.items():
            chosen = _chosen(best_of_grid(own), shared=False)
            if chosen.rest and together is not None and own[together.place].mean() > 0:
                shared = _chosen(together, shared=True)
                chosen = chosen if shared.rest else shared
            choice[stage, name] = chosen
    return choice


def as_json(choice: Choice) -> dict[str, dict[str, Any]]:
    """The strengths by stage and direction, as results.json holds them."""
    found: dict[str, dict[str, Any]] = {}
    for (stage, name), strengths in choice.items():
        found.setdefault(stage, {})[name] = asdict(strengths)
    return found


def _gains(directions: Sequence[Direction], stage: Stage) -> NDArray[np.float64]:
    """Gains ``[G, Q]`` in reciprocal rank of every place of the grid."""
    before = _reciprocal(directions, stage)
    return np.stack([_reciprocal(directions, stage, *place) - before for place in PLACES])


def _together(gains: Sequence[NDArray[np.float64]]) -> GridChoice | None:
    """The choice of both directions; None where there is one, or they do not ask for the same shapes."""
    if len(gains) < 2 or len({one.shape for one in gains}) > 1:
        return None
    return best_of_grid(np.mean(gains, axis=0))  # query q of each direction is of shape q: one draw


def _chosen(found: GridChoice, *, shared: bool) -> Strengths:
    recall, hubness = PLACES[found.place] if found.sure > 0 else (0.0, 0.0)
    return Strengths(recall, hubness, found.gain, found.sure, shared)


def _reciprocal(
    directions: Sequence[Direction], stage: Stage, recall: float = 0.0, hubness: float = 0.0
) -> NDArray[np.float64]:
    """Reciprocal ranks ``[Q]``, the mean over galleries."""
    return np.mean([1.0 / one.ranks(stage, recall, hubness) for one in directions], axis=0)
