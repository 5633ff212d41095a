"""Fixed calibration, the control that every policy has to beat: the best one for all queries alike.

What one would find by tuning the attention by hand on labeled queries, found within the same budget. A
policy that looks at observations is worth its trouble only where it earns more than this one does.
"""

from __future__ import annotations

from typing import Any

import torch
from typing_extensions import override

from agents.base import DecisionProcess, PlanResult
from agents.baselines.climb import Climb
from agents.baselines.constant_calibration import ConstantCalibrationAgent
from agents.registry import register
from agents.rollout import Rollout
from agents.settings import at_least


@register("fixed")
class FixedAgent(ConstantCalibrationAgent):
    """Climbs to the fixed calibration that earns most, by races between neighbors on the same episodes.

    Steps add up, so a calibration is a multiset of at most ``horizon`` actions. The champion, which at first
    does nothing, meets its neighbors on each batch of labeled episodes: one action more, one less, or one
    exchanged. Differences are taken episode by episode, as what makes episodes differ cancels in them. The
    most promising ones come first, and those that surely earn less are not tried again (as in racing; Maron &
    Moore, 1993). A challenger takes over as soon as it surely earns more, and the climb goes on from there,
    with what is left of the budget.

    Evaluations are shared: the states on the way are kept, and a neighbor is reached from the nearest of
    them, so that most of them cost a single evaluation.

    Args:
        budget: Largest number of evaluations per episode.
        climb_coef: Number of standard errors by which a challenger must lead to take over, besides what is
            added because it is the best of several. It can be small, as a climb may go back.
        lcb_coef: Number of standard errors that the mean gain of the champion must exceed, or nothing is done
            without labels.
    """

    part = "climb"

    def __init__(self, budget: int = 32, *, climb_coef: float = 1.0, lcb_coef: float = 2.0) -> None:
        super().__init__(budget, lcb_coef)
        at_least(0, climb_coef=climb_coef)
        self.climb_coef = climb_coef

    @override
    def make_search(self, actions: int, horizon: int, stop: int | None) -> Climb:
        return Climb(actions, horizon, stop)

    @override
    def learn(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        if self.budget == 0:
            return self.plan(core, episode, generator)
        climb: Climb = self.bind(core)
        rollout = Rollout(core, episode, keep_best=True)
        climb.learn(rollout, self.budget, self.climb_coef, self.lcb_coef, generator)
        return rollout.result(self.search_statistics())
