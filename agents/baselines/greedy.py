"""Greedy agent: the control that looks one step ahead at the rewards, and plans nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from agents.base import Agent, DecisionProcess, PlanResult
from agents.registry import register
from agents.rollout import Rollout, check_rewards, split_budget
from agents.seeding import uniform
from envs.protocol import transition_legal


@register("greedy")
class GreedyAgent(Agent):
    """Tries legal actions, makes the best of them if it earns anything, and stops if none does.

    Each move has its share of the budget. If that covers all legal actions, all are tried, else as many as
    it pays for, in random order. What was tried is known, so making the move costs nothing more.

    Without labels there is no reward to look ahead to, and ``calibrate`` leaves the attention as it is.
    """

    @override
    def plan(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        rollout = Rollout(core, episode)
        for tries in split_budget(self.budget, core.horizon):
            if not bool(rollout.alive.any()):
                break
            best, action, next_state = self._look_ahead(rollout, tries, generator)
            stops = rollout.alive & (best <= 0)  # these rows have not moved
            stop = torch.full_like(action, -1 if core.stop is None else core.stop)
            if core.stop is not None:
                next_state = core.transition(episode, next_state, stop, stops)
            rollout.move(torch.where(stops, stop, action), next_state)
        return rollout.result()

    @override
    def calibrate(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        return Rollout(core, episode).result()

    def _look_ahead(
        self, rollout: Rollout, tries: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Any]:
        """Try actions, each of which is an evaluation.

        Returns:
            What the best action of each row earns, ``[B]``, which it is, i64 ``[B]``, and the state it leads
            to. A row in which nothing earns anything stays where it is, with a best of 0.
        """
        core, state, mask = rollout.core, rollout.state, rollout.mask()
        if core.stop is not None:
            mask[:, core.stop] = False
        order = uniform(tuple(mask.shape), generator, mask.device)
        order = order.masked_fill(~mask, 2.0).argsort(-1)  # legal ones first
        best = torch.zeros(mask.shape[0], device=mask.device)
        action, next_state = order[:, 0], state.clone()
        for place in range(min(tries, mask.shape[1])):
            candidate = order[:, place]
            tried = rollout.alive & mask.gather(1, candidate.unsqueeze(1)).squeeze(1)
            if not bool(tried.any()):
                break
            reached = transition_legal(core, rollout.episode, state, candidate, tried)
            reward, _ = core.reward(rollout.episode, state, candidate, reached)
            check_rewards(reward, candidate, tried)
            better = tried & (reward > best)
            best = torch.where(better, reward, best)
            action = torch.where(better, candidate, action)
            next_state[better] = reached[better]
            rollout.evaluations += tried
        return best, action, next_state
