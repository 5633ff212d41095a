"""Planning problem that the tree search gets: which actions a node considers, and in what order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from agents.base import DecisionProcess
from agents.mcts.network import PolicyNetwork
from agents.search import Root, Step, Tree
from envs.protocol import transition_legal

TIES = 1e-3
"""Weight of the noise where a search takes the prior for logits: enough to break ties, and no more."""


class PlanningProblem:
    """Decision process for the search: ``stop`` is left out, and each node considers a few actions.

    ``stop`` earns exactly nothing, so its value is known everywhere and no simulation is spent on it. Of the
    other legal actions a node considers ``max_children``, drawn without replacement from the guide's policy
    by adding Gumbel noise to its logits (Kool et al., 2019; sampled actions as in Hubert et al., 2021). UCT
    tries them in that order; searches that take the prior for logits get it with next to no noise.

    What an action has earned anywhere in a row's tree speaks for it everywhere in that tree: its mean reward,
    in standard deviations of the row's rewards, is added to the logits. Calibrations commute and nearly add
    up, so this says much (a history of moves, as in MAST, Finnsson and Björnsson, 2008).

    Args:
        core: The decision process.
        episode: ``B`` rows.
        guide: Network whose logits ``[B, A]`` order the actions; None for no preference.
        max_children: Number of actions that a node considers, None for all.
        mast_weight: Weight of what an action has earned elsewhere in the tree.
        noise: Gumbel noise, a slice ``[B, A]`` for each node and each search, ``[B, nodes + searches, A]``.
        prior_is_logits: Whether the search takes the prior for logits, as PUCT and Gumbel do.
    """

    def __init__(
        self,
        core: DecisionProcess,
        episode: Any,
        guide: PolicyNetwork | None,
        *,
        max_children: int | None,
        mast_weight: float,
        noise: Tensor,
        prior_is_logits: bool,
    ) -> None:
        self.core, self.episode, self.guide, self.max_children = core, episode, guide, max_children
        self.mast_weight, self.noise, self.prior_is_logits = mast_weight, noise, prior_is_logits
        self._drawn = 0
        batch, _, actions = noise.shape
        self._tried = torch.zeros(batch, actions, device=noise.device)  # times, by action
        self._earned = torch.zeros_like(self._tried)  # sum of rewards, by action
        self._squares = torch.zeros_like(self._tried[:, :1])  # sum of squared rewards, ``[B, 1]``

    def root(self, state: Any) -> Root:
        """Root of the search."""
        mask, prior = self._considered(state)
        return Root(state, mask, self.core.done(state), prior)

    def step(self, state: Any, action: Tensor, needed: Tensor) -> Step:
        """One transition of the core."""
        next_state = transition_legal(self.core, self.episode, state, action, needed)
        reward, _ = self.core.reward(self.episode, state, action, next_state)
        self._tried.scatter_add_(1, action.unsqueeze(1), needed.to(reward).unsqueeze(1))
        self._earned.scatter_add_(1, action.unsqueeze(1), (reward * needed).unsqueeze(1))
        self._squares += (reward * needed).square().unsqueeze(1)
        mask, prior = self._considered(next_state)
        return Step(next_state, reward, self.core.done(next_state), mask, prior=prior)

    def reconsider(self, tree: Tree) -> None:
        """Order the untried actions of the roots anew by what is known now; tried ones keep their place."""
        rows = torch.arange(len(tree.root), device=tree.root.device)
        mask, prior = self._considered(tree.state[rows, tree.root])
        tree.prior[rows, tree.root] = prior.masked_fill(~mask, -torch.inf)

    def _experience(self) -> Tensor:
        """Mean reward of each action in standard deviations of the row, 0 where untried, ``[B, A]``."""
        scale = (self._squares / self._tried.sum(1, keepdim=True).clamp_min(1)).sqrt().clamp_min(1e-12)
        return self._earned / self._tried.clamp_min(1) / scale

    def _considered(self, state: Any) -> tuple[Tensor, Tensor]:
        """Actions that nodes consider, bool ``[B, A]``, and their prior, ``[B, A]``."""
        mask = self.core.mask(self.episode, state).clone()
        if self.core.stop is not None:
            mask[:, self.core.stop] = False
        noise = self.noise[:, self._drawn]
        prior = self.mast_weight * self._experience()
        self._drawn += 1
        if self.guide is not None:
            with torch.no_grad():
                prior = prior + self.guide(self.core.observation(self.episode, state))
        if self.max_children is not None and self.max_children < mask.shape[1]:
            ranked = (noise + prior).masked_fill(~mask, -torch.inf)
            least = ranked.topk(self.max_children, dim=-1).values[:, -1:]
            mask &= ranked >= least
        return mask, prior + (TIES * noise if self.prior_is_logits else noise)
