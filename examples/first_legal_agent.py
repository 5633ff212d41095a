"""An agent in one file: it always takes the first legal action but stop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from agents import Agent, DecisionProcess, PlanResult, register, roll


@register("first_legal")
class FirstLegalAgent(Agent):
    """Takes the first legal actions for some moves; `stop` only where nothing else is legal.

    Args:
        budget: Transitions an episode may cost.
        moves: How many actions it takes.
    """

    acts_without_labels = True

    def __init__(self, budget: int = 32, *, moves: int = 1) -> None:
        super().__init__(budget)
        self.moves = moves

    def plan(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        """Plays by the rule; labels are of no use to it."""

        def first(observation: Tensor, mask: Tensor) -> Tensor:
            wanted = mask.float()
            if core.stop is not None:
                wanted[:, core.stop] /= 2
            return wanted.argmax(-1)

        return roll(core, episode, first, min(self.budget, self.moves))

    def calibrate(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        """The same without labels."""
        return self.plan(core, episode, generator)
