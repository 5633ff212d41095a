"""One step of lookahead: the control that sees rewards but plans nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from agents.base import Agent, DecisionProcess, PlanResult, Rollout, split_budget, uniform
from agents.registry import register


@register("greedy")
class GreedyAgent(Agent):
    """Tries legal actions, makes the best of them if it earns anything, and stops if none does.

    Each move has its share of the budget. Where that covers all legal actions all are tried, else as many as
    it pays for, in an order that is drawn. What was tried is known, so making the move costs nothing more.

    Without labels there is no reward to look ahead to, and `calibrate` leaves the attention as it is.
    """

    @override
    def plan(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        game = Rollout(core, episode)
        evaluations = torch.zeros_like(game.alive, dtype=torch.int64)
        for tries in split_budget(self.budget, core.horizon):
            if not bool(game.alive.any()):
                break
            best, action, following, spent = self._look(core, episode, game, tries, generator)
            evaluations += spent
            stops = game.alive & (best <= 0)  # these rows have not moved
            stop = torch.full_like(action, -1 if core.stop is None else core.stop)
            if core.stop is not None:
                following = core.transition(episode, following, stop, stops)
            game.move(torch.where(stops, stop, action), following)
        return game.result(evaluations)

    @override
    def calibrate(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        game = Rollout(core, episode)
        return game.result(torch.zeros_like(game.alive, dtype=torch.int64))

    def _look(
        self, core: DecisionProcess, episode: Any, game: Rollout, tries: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Any, Tensor]:
        """Try actions; what the best one earns, which it is, where it leads, and how many were tried, `[B]`.

        A row in which nothing earns anything stays where it is, with a best of 0.
        """
        mask = core.mask(episode, game.state)
        if core.stop is not None:
            mask[:, core.stop] = False
        order = uniform(tuple(mask.shape), generator, mask.device)
        order = order.masked_fill(~mask, 2.0).argsort(-1)  # legal ones first
        best = torch.zeros(mask.shape[0], device=mask.device)
        action, following = order[:, 0], game.state.clone()
        spent = torch.zeros_like(action)
        for place in range(min(tries, mask.shape[1])):
            candidate = order[:, place]
            needed = game.alive & mask.gather(1, candidate.unsqueeze(1)).squeeze(1)
            if not bool(needed.any()):
                break
            after = core.transition(episode, game.state, candidate, needed)
            reward, _ = core.reward(episode, game.state, candidate, after)
            better = needed & (reward > best)
            best = torch.where(better, reward, best)
            action = torch.where(better, candidate, action)
            following[better] = after[better]
            spent += needed
        return best, action, following, spent
