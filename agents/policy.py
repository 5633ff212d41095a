"""The network that acts where there are no labels, and how it is trained."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from agents.chance import seeded
from agents.tensors import by_part, flat, optimizer_tensors, restore_optimizer

MEMORY = 100
"""Gradient steps over which the error is averaged."""

CLIP = 1.0
"""Largest norm of a gradient: single rewards can be large."""


class Prediction(NamedTuple):
    """What the network says about `B` observations.

    Attributes:
        logits: Preference among the actions of a search that sees rewards, `[B, A]`.
        gains: Return that is expected of each action without labels, `[B, A]`.
        value: Return that is expected of going on without labels, `[B]`.
    """

    logits: Tensor
    gains: Tensor
    value: Tensor


class PolicyValueNetwork(nn.Module):
    """Two hidden layers and three heads, which start at zero.

    Args:
        observation_size: `O`.
        actions: `A`.
        hidden: Width of both hidden layers.
        seed: Of the initial weights; the global random state is left alone.

    Attributes:
        scale: Unit of gains and value within the network, a scalar: rewards are small numbers, and heads that
            had to find them in their own unit would mostly add noise.
    """

    scale: Tensor

    def __init__(self, observation_size: int, actions: int, hidden: int, seed: int) -> None:
        super().__init__()
        self.observation_size, self.actions = observation_size, actions
        with seeded(seed):
            self.body = nn.Sequential(
                nn.Linear(observation_size, hidden),
                nn.LayerNorm(hidden),
                nn.GELU(),
                nn.Linear(hidden, hidden),
                nn.GELU(),
            )
            self.policy = nn.Linear(hidden, actions)
            self.gains = nn.Linear(hidden, actions)
            self.value = nn.Linear(hidden, 1)
        for head in (self.policy, self.gains, self.value):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.register_buffer("scale", torch.tensor(1.0))

    def forward(self, observation: Tensor) -> Prediction:
        """Predictions for observations `[B, O]`."""
        hidden = self.body(observation)
        gains, value = self.gains(hidden), self.value(hidden).squeeze(-1)
        return Prediction(self.policy(hidden), self.scale * gains, self.scale * value)

    def loss(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean losses by name, over the rows `[n]` of a `Replay` that have the target in question.

        Cross-entropy to the search's policy over legal actions; squared error of gains, over the actions that
        were tried, and of the value, relative to the square of `scale`: 1 is as good as to expect nothing.
        """
        logits, gains, value = self(rows["observation"])
        log_policy = logits.masked_fill(~rows["mask"], -torch.inf).log_softmax(-1)
        guided = rows["policy"].sum(-1)  # 1, or 0 in rows without a policy
        cross_entropy = -torch.where(rows["mask"], rows["policy"] * log_policy, 0.0).sum()
        gain_error = ((gains - rows["gains"]).square() * rows["tried"]).sum()
        known = rows["known"]
        value_error = ((value - rows["value"]).square() * known).sum()
        return {
            "policy": cross_entropy / guided.sum().clamp_min(1),
            "gains": gain_error / rows["tried"].sum().clamp_min(1) / self.scale.square(),
            "value": value_error / known.sum().clamp_min(1) / self.scale.square(),
        }


class Learner:
    """A network with its optimiser and its memory: what is trained, saved and resumed together.

    Args:
        network: Trained in place.
        learning_rate: Of Adam.
        replay: Decisions that are remembered.

    Attributes:
        error: Mean squared error of the predicted gains over the last updates, a scalar.
    """

    def __init__(self, network: PolicyValueNetwork, learning_rate: float, replay: int) -> None:
        self.network = network
        self.optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
        from agents.replay import Replay  # TorchRL is slow to import, and most agents do without

        self.replay = Replay(replay, network.observation_size, network.actions)
        self.error = torch.tensor(0.0)

    def update(self, steps: int, batch_size: int, generator: torch.Generator) -> dict[str, float]:
        """Take gradient steps on what is remembered; mean losses by name, none if nothing is."""
        if len(self.replay) == 0 or steps == 0:
            return {}
        self.network.scale.copy_(self.replay.scale())
        totals: dict[str, Tensor] = {}
        for _ in range(steps):
            losses = self.network.loss(self.replay.sample(batch_size, generator))
            self.optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
            self.optimizer.step()
            error = losses["gains"].detach() * self.network.scale.square()
            self.error = self.error.lerp(error, 1 / MEMORY)
            totals = {name: totals.get(name, 0) + loss.detach() for name, loss in losses.items()}
        return {f"loss/{name}": float(total) / steps for name, total in totals.items()}

    def to(self, device: torch.device) -> None:
        """Move everything to a device."""
        if next(self.network.parameters()).device == device:
            return
        self.network.to(device)
        self.error = self.error.to(device)
        self.replay = self.replay.to(device)
        for state in self.optimizer.state.values():
            state |= {name: value.to(device) for name, value in state.items() if name != "step"}

    def export_state(self) -> dict[str, Tensor]:
        """Everything as flat tensors, copies."""
        return flat(
            network=self.network.state_dict(),
            optimizer=optimizer_tensors(self.optimizer),
            replay=self.replay.tensors(),
            learner={"error": self.error, "replay": torch.tensor(self.replay.capacity)},
        )

    def import_state(self, state: dict[str, Tensor]) -> None:
        """Take over what `export_state` gave; the memory must be empty."""
        parts = by_part(state, "mcts", "network", "optimizer", "replay", "learner")
        self.network.load_state_dict(parts["network"])
        restore_optimizer(self.optimizer, parts["optimizer"])
        self.error = parts["learner"]["error"]
        self.replay.restore(parts["replay"])
