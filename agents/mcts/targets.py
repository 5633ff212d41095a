"""Training targets from searches with labels and from rollouts without, which fill the replay buffer.

To imitate the search is not enough at query time. It knows the labels, so its choice is the luckiest of many
tries, and imitating it without the labels does harm on average. So the network also learns what an action
earns if labels are not looked at: from the expansions of the root of each search, which are drawn before any
reward is seen, and from unlabeled rollouts, episodes that it plays by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from agents.base import DecisionProcess
from agents.mcts.default_policy import DefaultPolicy
from agents.mcts.network import PolicyValueNetwork, Trainer
from agents.rollout import Rollout
from agents.search import Summary, Tree, gumbel_noise
from agents.seeding import uniform

TEMPERATURE = 0.1
"""Share of the spread of a tree's returns by which an action must fall behind to count e times less."""


class SearchTarget(NamedTuple):
    """Targets from one move of a search.

    Attributes:
        learned: Rows that there is something to learn from, bool ``[B]``.
        rows: Tensors for the replay buffer by name, ``[B, ...]`` each.
    """

    learned: Tensor
    rows: dict[str, Tensor]


def visits_by_return(summary: Summary, tree: Tree) -> Tensor:
    """Visits of the actions at the roots, weighted by the best return of each, ``[B, A]``.

    At a budget of a few visits per action, most of what a search has found out is in the returns.
    """
    behind = summary.best - summary.best.amax(-1, keepdim=True)
    spread = (tree.high - tree.low).clamp_min(1e-9).unsqueeze(-1)
    return torch.where(summary.visits > 0, summary.visits * (behind / (TEMPERATURE * spread)).exp(), 0.0)


def root_expansion_returns(
    core: DecisionProcess,
    episode: Any,
    tree: Tree,
    network: PolicyValueNetwork,
    *,
    discount: float,
    lcb_coef: float,
) -> dict[str, Tensor]:
    """Returns without labels of the actions that were expanded at the root.

    They are the reward of the action and a lower confidence bound of what follows. The first state is the
    only one of a search that was not reached by looking at labels.

    Returns:
        The ``gains`` of the actions ``[B, A]``, and which were ``tried``, bool ``[B, A]``.
    """
    tried = tree.visits[:, 0] > 0  # [B, A]
    gains = tree.rewards[:, 0].clone()
    rows = torch.arange(len(gains), device=gains.device)
    for node in range(1, tree.capacity):
        child = (tree.parent[:, node] == 0) & (node < tree.used)
        if not bool(child.any()):
            continue
        value = lower_confidence_value(network, core.observation(episode, tree.state[:, node]), lcb_coef)
        ahead = child & ~tree.terminal[:, node]
        gains[rows, tree.parent_action[:, node]] += discount * value * ahead
    return {"gains": gains * tried, "tried": tried}


def collect_unlabeled_rollouts(
    core: DecisionProcess,
    episode: Any,
    trainer: Trainer,
    act: Callable[[Tensor, Tensor], Tensor],
    default: DefaultPolicy,
    weights: Tensor,
    generator: torch.Generator,
    moves: int,
    *,
    exploration_fraction: float,
    discount: float,
    lcb_coef: float,
) -> Tensor:
    """Play episodes without labels, and remember what they have earned.

    Some moves, and the first where the agent would stop at once, are drawn from the policy of the search
    instead. Where the moves run out before the episode is over, a lower confidence bound stands for the rest.

    Args:
        core: The decision process.
        episode: ``B`` rows.
        trainer: Owner of the replay buffer that is filled.
        act: Function from observations ``[B, O]`` and masks ``[B, A]`` to actions ``[B]``, -1 for none.
        default: Policy that ``act`` goes by, which is told what is made.
        weights: Weights of the rows in the bootstrap samples of the ensemble, ``[B, M]``.
        generator: Source of all random draws.
        moves: Largest number of evaluations per row.
        exploration_fraction: Share of the moves that are drawn from the policy of the search.
        discount: Discount factor of later rewards.
        lcb_coef: Number of standard deviations of the ensemble that are subtracted from a value.

    Returns:
        Evaluations that were spent, i64 ``[B]``.
    """
    rollout = Rollout(core, episode)
    played: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = []
    moving = rollout.alive
    for move in range(moves):
        observation, mask = rollout.observation(), rollout.mask()
        action = act(observation, mask)
        rests = action == (-1 if core.stop is None else core.stop)
        noise = uniform((len(action), core.actions + 1), generator, action.device)
        with torch.no_grad():
            logits = trainer.network(observation).logits
        keys = (logits + gumbel_noise(noise[:, 1:])).masked_fill(~mask, -torch.inf)
        key, drawn = without_stop(core, keys).max(-1)
        draws = (noise[:, 0] < exploration_fraction) | (rests & (move == 0))
        draws &= key > -torch.inf
        action = torch.where(draws, drawn, action)
        moving = rollout.alive & (draws | ~rests)
        if not bool(moving.any()):
            break
        default.made(torch.where(moving, action, -1))
        played.append((observation, mask, action, moving, rollout.move(action)))
    gain = torch.zeros_like(rollout.return_)
    cut = rollout.alive & moving
    if bool(cut.any()):
        gain = lower_confidence_value(trainer.network, rollout.observation(), lcb_coef) * cut
    for observation, mask, action, moved, reward in reversed(played):
        gain = reward + discount * gain
        tried = one_hot(action.clamp_min(0), core.actions).bool()
        trainer.remember(
            moved,
            observation=observation,
            mask=mask,
            gains=gain.unsqueeze(1) * tried,
            tried=tried,
            value=gain,
            known=moved,
            bootstrap_weights=weights,
        )
    return rollout.evaluations


@torch.no_grad()
def lower_confidence_value(network: PolicyValueNetwork, observation: Tensor, lcb_coef: float) -> Tensor:
    """Lower confidence bound of the value of observations ``[B, O]``, ``[B]``; at least the 0 of resting."""
    prediction = network(observation)
    return (prediction.value - lcb_coef * prediction.value_std).clamp_min(0)


def without_stop(core: DecisionProcess, scores: Tensor) -> Tensor:
    """Scores ``[B, A]`` of which that of ``stop`` is -inf."""
    if core.stop is None:
        return scores
    return scores.index_fill(1, torch.tensor(core.stop, device=scores.device), -torch.inf)
