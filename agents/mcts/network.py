"""The network that acts where there are no labels, and how it is trained."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from agents.mcts.ensemble import Ensemble
from agents.seeding import global_seed
from agents.state_tensors import by_part, flat, optimizer_tensors, restore_optimizer

FAR = 5.0
"""Standard deviations from the mean beyond which an observation says no more."""

CLIP = 1.0
"""Largest norm of a gradient: single rewards can be large."""


class Prediction(NamedTuple):
    """What the network says about `B` observations.

    Attributes:
        logits: Preference among the actions of a search that sees rewards, `[B, A]`.
        gains: Return that is expected of each action without labels, `[B, A]`: the mean of an ensemble.
        doubt: Standard deviation of the ensemble's members, `[B, A]`.
        value: Return that is expected of going on without labels, `[B]`, likewise.
        value_doubt: Standard deviation of the members, `[B]`.
    """

    logits: Tensor
    gains: Tensor
    doubt: Tensor
    value: Tensor
    value_doubt: Tensor


class PolicyValueNetwork(nn.Module):
    """Two hidden layers for the policy, and an ensemble for what is earned; both start at zero.

    Args:
        observation_size: `O`.
        actions: `A`.
        hidden: Width of both hidden layers.
        members: Networks in the ensemble.
        seed: Of the initial weights; the global random state is left alone.

    Attributes:
        scale: Unit of gains and value within the network, a scalar: rewards are small numbers, and heads that
            had to find them in their own unit would mostly add noise.
        mean: Of the observations that are remembered, `[O]`; what the network sees is relative to it,
        spread: in units of this, their standard deviation, `[O]`.
    """

    scale: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, observation_size: int, actions: int, hidden: int, members: int, seed: int) -> None:
        super().__init__()
        self.observation_size, self.actions, self.members = observation_size, actions, members
        with global_seed(seed):
            self.body = nn.Sequential(
                nn.Linear(observation_size, hidden),
                nn.LayerNorm(hidden),
                nn.GELU(),
                nn.Linear(hidden, hidden),
                nn.GELU(),
            )
            self.policy = nn.Linear(hidden, actions)
            self.returns = Ensemble(members, observation_size, actions + 1, hidden)  # gains, and the value
        nn.init.zeros_(self.policy.weight)
        nn.init.zeros_(self.policy.bias)
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("mean", torch.zeros(observation_size))
        self.register_buffer("spread", torch.ones(observation_size))

    def forward(self, observation: Tensor) -> Prediction:
        """Predictions for observations `[B, O]`."""
        seen = self.standardize(observation)
        returns = self.scale * self.returns(seen)
        mean, doubt = returns.mean(0), returns.std(0, correction=0)
        return Prediction(
            self.policy(self.body(seen)), mean[:, :-1], doubt[:, :-1], mean[:, -1], doubt[:, -1]
        )

    def standardize(self, observation: Tensor) -> Tensor:
        """Observations in standard deviations from the mean of those remembered, none further than `FAR`."""
        return ((observation - self.mean) / self.spread).clamp(-FAR, FAR)

    def loss(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean losses by name, over the rows `[n]` of a `Replay` that have the target in question.

        Cross-entropy to the search's policy over legal actions; squared error of gains, over the actions that
        were tried, and of the value, for each member as often as its bootstrap sample has the row, relative
        to the square of `scale`: 1 is as good as to expect nothing.
        """
        seen = self.standardize(rows["observation"])
        log_policy = self.policy(self.body(seen)).masked_fill(~rows["mask"], -torch.inf).log_softmax(-1)
        guided = rows["policy"].sum(-1)  # 1, or 0 in rows without a policy
        cross_entropy = -torch.where(rows["mask"], rows["policy"] * log_policy, 0.0).sum()
        returns, copies = self.returns(seen), rows["copies"].T.unsqueeze(-1)  # [M, n, A + 1], [M, n, 1]

        def error(predicted: Tensor, target: Tensor, there: Tensor) -> Tensor:
            counts = copies * there
            return ((predicted - target / self.scale).square() * counts).sum() / counts.sum().clamp_min(1)

        return {
            "policy": cross_entropy / guided.sum().clamp_min(1),
            "gains": error(returns[..., :-1], rows["gains"], rows["tried"]),
            "value": error(returns[..., -1:], rows["value"].unsqueeze(-1), rows["known"].unsqueeze(-1)),
        }


class Trainer:
    """A network with its optimiser and its memory: what is trained, saved and resumed together.

    Args:
        network: Trained in place.
        learning_rate: Of Adam.
        replay: Decisions that are remembered.
    """

    def __init__(self, network: PolicyValueNetwork, learning_rate: float, replay: int) -> None:
        self.network = network
        self.optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
        from agents.mcts.replay import Replay

        self.replay = Replay(replay, network.observation_size, network.actions, network.members)

    def update(self, steps: int, batch_size: int, generator: torch.Generator) -> dict[str, float]:
        """Take gradient steps on what is remembered; mean losses by name, none if nothing is."""
        if len(self.replay) == 0 or steps == 0:
            return {}
        self.network.scale.copy_(self.replay.scale())
        mean, spread = self.replay.moments()
        self.network.mean.copy_(mean)
        self.network.spread.copy_(spread)
        totals: dict[str, Tensor] = {}
        for _ in range(steps):
            losses = self.network.loss(self.replay.sample(batch_size, generator))
            self.optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
            self.optimizer.step()
            totals = {name: totals.get(name, 0) + loss.detach() for name, loss in losses.items()}
        return {f"loss/{name}": float(total) / steps for name, total in totals.items()}

    def to(self, device: torch.device) -> None:
        """Move everything to a device."""
        if next(self.network.parameters()).device == device:
            return
        self.network.to(device)
        self.replay = self.replay.to(device)
        for state in self.optimizer.state.values():
            state |= {name: value.to(device) for name, value in state.items() if name != "step"}

    def export_state(self) -> dict[str, Tensor]:
        """Everything as flat tensors, copies."""
        return flat(
            network=self.network.state_dict(),
            optimizer=optimizer_tensors(self.optimizer),
            replay=self.replay.tensors(),
            learner={"replay": torch.tensor(self.replay.capacity)},
        )

    def import_state(self, state: dict[str, Tensor]) -> None:
        """Take over what `export_state` gave; the memory must be empty."""
        parts = by_part(state, "mcts", "network", "optimizer", "replay", "learner")
        self.network.load_state_dict(parts["network"])
        restore_optimizer(self.optimizer, parts["optimizer"])
        self.replay.restore(parts["replay"])
