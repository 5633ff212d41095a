"""Agent that does nothing: what every other one has to beat."""

from __future__ import annotations

from typing import Any

import torch
from typing_extensions import override

from agents.base import Agent, DecisionProcess, PlanResult
from agents.registry import register
from agents.rollout import Rollout


@register("none")
class NoneAgent(Agent):
    """Leaves the attention as it is, and spends no evaluation."""

    @override
    def plan(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        return Rollout(core, episode).result()

    @override
    def calibrate(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        return self.plan(core, episode, generator)
