"""Agent that draws its actions: a control for whether choosing matters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from agents.base import Agent, DecisionProcess, PlanResult
from agents.registry import register
from agents.rollout import roll
from agents.seeding import uniform


@register("random")
class RandomAgent(Agent):
    """Plays legal actions drawn uniformly, ``stop`` among them, with labels or without.

    It spends one evaluation per move.
    """

    acts_without_labels = True

    @override
    def plan(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        def draw(observation: Tensor, mask: Tensor) -> Tensor:
            keys = uniform(tuple(mask.shape), generator, mask.device)
            return keys.masked_fill(~mask, -1.0).argmax(-1)

        return roll(core, episode, draw, self.budget)

    @override
    def calibrate(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        return self.plan(core, episode, generator)
