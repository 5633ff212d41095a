"""The network that acts where there are no labels, and how it is trained."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from agents.chance import seeded
from agents.ensemble import Ensemble
from agents.tensors import by_part, flat, optimizer_tensors, restore_optimizer

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
        value: Return that is expected of going on without labels, `[B]`.
    """

    logits: Tensor
    gains: Tensor
    doubt: Tensor
    value: Tensor


class PolicyValueNetwork(nn.Module):
    """Two hidden layers with two heads, which start at zero, and an ensemble that predicts what actions gain.

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
        with seeded(seed):
            self.body = nn.Sequential(
                nn.Linear(observation_size, hidden),
                nn.LayerNorm(hidden),
                nn.GELU(),
                nn.Linear(hidden, hidden),
                nn.GELU(),
            )
            self.policy = nn.Linear(hidden, actions)
            self.value = nn.Linear(hidden, 1)
            self.gains = Ensemble(members, observation_size, actions, hidden)
        for head in (self.policy, self.value):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("mean", torch.zeros(observation_size))
        self.register_buffer("spread", torch.ones(observation_size))

    def forward(self, observation: Tensor) -> Prediction:
        """Predictions for observations `[B, O]`."""
        seen = self.standardize(observation)
        hidden = self.body(seen)
        gains, value = self.gains(seen), self.value(hidden).squeeze(-1)
        doubt = gains.std(0, correction=0)
        return Prediction(
            self.policy(hidden), self.scale * gains.mean(0), self.scale * doubt, self.scale * value
        )

    def standardize(self, observation: Tensor) -> Tensor:
        """Observations in standard deviations from the mean of those remembered, none further than `FAR`."""
        return ((observation - self.mean) / self.spread).clamp(-FAR, FAR)

    def loss(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean losses by name, over the rows `[n]` of a `Replay` that have the target in question.

        Cross-entropy to the search's policy over legal actions; squared error of gains, over the actions that
        were tried, for each member as often as its bootstrap sample has the row, and of the value. Both are
        relative to the square of `scale`: 1 is as good as to expect nothing.
        """
        seen = self.standardize(rows["observation"])
        hidden = self.body(seen)
        log_policy = self.policy(hidden).masked_fill(~rows["mask"], -torch.inf).log_softmax(-1)
        guided = rows["policy"].sum(-1)  # 1, or 0 in rows without a policy
        cross_entropy = -torch.where(rows["mask"], rows["policy"] * log_policy, 0.0).sum()
        counts = rows["tried"] * rows["copies"].T.unsqueeze(-1)  # [M, n, A]
        gain_error = ((self.gains(seen) - rows["gains"] / self.scale).square() * counts).sum()
        known = rows["known"]
        value_error = ((self.value(hidden).squeeze(-1) - rows["value"] / self.scale).square() * known).sum()
        return {
            "policy": cross_entropy / guided.sum().clamp_min(1),
            "gains": gain_error / counts.sum().clamp_min(1),
            "value": value_error / known.sum().clamp_min(1),
        }


class Learner:
    """A network with its optimiser and its memory: what is trained, saved and resumed together.

    Args:
        network: Trained in place.
        learning_rate: Of Adam.
        replay: Decisions that are remembered.
    """

    def __init__(self, network: PolicyValueNetwork, learning_rate: float, replay: int) -> None:
        self.network = network
        self.optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
        from agents.replay import Replay  # TorchRL is slow to import, and most agents do without

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
