"""What there is to learn from a search, and from practice: what the network's memory is filled with.

To imitate the search is not enough at query time. It knows the labels, so its choice is the luckiest of many
tries, and whoever copies it without the labels does harm on average. So the network also learns what an
action earns when nobody looks at labels: from the first tries of each search, which are drawn before any
reward is seen, and from practice, episodes that it plays by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from agents.base import DecisionProcess, Rollout, uniform
from agents.mcts.network import PolicyValueNetwork, Trainer
from agents.search import Summary, Tree, gumbel_noise

TEMPERATURE = 0.1
"""By how much of the spread of a tree's returns an action must fall behind to count e times less."""


class SearchTarget(NamedTuple):
    """What is learnt from one move of a search: which rows, bool `[B]`, and the replay's tensors."""

    learnt: Tensor
    rows: dict[str, Tensor]


def visits_by_return(summary: Summary, tree: Tree) -> Tensor:
    """The visits of the roots' actions, weighted by the best return of each, `[B, A]`.

    At a budget of a few visits an action, most of what a search has found out is in the returns.
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
    caution: float,
) -> dict[str, Tensor]:
    """What the actions tried first earn without labels: their reward, and what surely follows.

    The first state is the only one of the search that was not reached by looking at labels.
    """
    tried = tree.visits[:, 0] > 0  # [B, A]
    gains = tree.rewards[:, 0].clone()
    rows = torch.arange(len(gains), device=gains.device)
    for node in range(1, tree.capacity):
        child = (tree.parent[:, node] == 0) & (node < tree.used)
        if not bool(child.any()):
            continue
        sure = lower_confidence_value(network, core.observation(episode, tree.state[:, node]), caution)
        ahead = child & ~tree.terminal[:, node]
        gains[rows, tree.parent_action[:, node]] += discount * sure * ahead
    return {"gains": gains * tried, "tried": tried}


def collect_unlabelled_rollouts(
    core: DecisionProcess,
    episode: Any,
    learner: Trainer,
    act: Callable[[Tensor, Tensor], Tensor],
    generator: torch.Generator,
    moves: int,
    *,
    explore: float,
    discount: float,
    caution: float,
) -> Tensor:
    """Play without labels, and remember what came of it.

    Some moves, and the first where it would stop at once, are drawn from the search's policy instead. Where
    the moves run out before the episode is over, what surely follows stands in for the rest.

    Args:
        core: The decision process.
        episode: `B` rows.
        learner: Whose memory is filled.
        act: Gives actions `[B]`, or -1 for none, for observations `[B, O]` and masks `[B, A]`.
        generator: Randomness.
        moves: Evaluations a row at most.
        explore: Share of the moves that are drawn.
        discount: Weight of later rewards.
        caution: Standard deviations of the ensemble by which a value counts for less.

    Returns:
        The evaluations that it cost, i64 `[B]`.
    """
    game = Rollout(core, episode)
    played: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = []
    moving = game.alive
    spent = torch.zeros_like(moving, dtype=torch.int64)
    for move in range(moves):
        observation, mask = core.observation(episode, game.state), core.mask(episode, game.state)
        action = act(observation, mask)
        rests = action == (-1 if core.stop is None else core.stop)
        noise = uniform((len(spent), core.actions + 1), generator, spent.device)
        with torch.no_grad():
            logits = learner.network(observation).logits
        keys = (logits + gumbel_noise(noise[:, 1:])).masked_fill(~mask, -torch.inf)
        key, drawn = without_stop(core, keys).max(-1)
        draws = (noise[:, 0] < explore) | (rests & (move == 0))
        draws &= key > -torch.inf
        action = torch.where(draws, drawn, action)
        moving = game.alive & (draws | ~rests)
        if not bool(moving.any()):
            break
        reward = game.move(action)
        spent += moving
        played.append((observation, mask, action, moving, reward))
    gain = torch.zeros(len(spent), device=spent.device)
    cut = game.alive & moving
    if bool(cut.any()):
        gain = lower_confidence_value(learner.network, core.observation(episode, game.state), caution) * cut
    for observation, mask, action, moved, reward in reversed(played):
        gain = reward + discount * gain
        tried = one_hot(action.clamp_min(0), core.actions).bool()
        learner.replay.add(
            moved,
            observation=observation,
            mask=mask,
            gains=gain.unsqueeze(1) * tried,
            tried=tried,
            value=gain,
            known=moved,
            copies=bootstrap_copies(len(moved), learner.network.members, generator).to(moved.device),
        )
    return spent


@torch.no_grad()
def lower_confidence_value(network: PolicyValueNetwork, observation: Tensor, caution: float) -> Tensor:
    """What going on from observations `[B, O]` surely gains without labels, `[B]`; at least the 0 of rest."""
    said = network(observation)
    return (said.value - caution * said.value_doubt).clamp_min(0)


def bootstrap_copies(rows: int, members: int, generator: torch.Generator) -> Tensor:
    """How often each member's bootstrap sample has each of the rows, `[B, M]`, where the generator lives.

    Poisson numbers of mean 1: what a bootstrap sample of a stream amounts to (Oza & Russell, 2001).
    """
    return torch.poisson(torch.ones(rows, members, device=generator.device), generator=generator)


def without_stop(core: DecisionProcess, scores: Tensor) -> Tensor:
    """Scores `[B, A]` by which `stop` cannot be the best."""
    if core.stop is None:
        return scores
    return scores.index_fill(1, torch.tensor(core.stop, device=scores.device), -torch.inf)
