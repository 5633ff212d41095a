"""The network that acts where there are no labels, and the memory it learns from."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

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
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
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


class Replay:
    """The last `capacity` states of which something was learnt, as tensors that wrap around.

    Args:
        capacity: How many are kept.
        observation_size: `O`.
        actions: `A`.

    Attributes:
        tensors: `observation` `[n, O]`, `mask` of legal actions bool `[n, A]`, `policy` `[n, A]` (zero where
            there is none), `gains` `[n, A]` of the actions `tried` bool `[n, A]`, `value` `[n]` of states in
            which it is `known` bool `[n]`.
        added: States that were ever added.
    """

    def __init__(self, capacity: int, observation_size: int, actions: int) -> None:
        self.tensors = {
            "observation": torch.zeros(capacity, observation_size),
            "mask": torch.zeros(capacity, actions, dtype=torch.bool),
            "policy": torch.zeros(capacity, actions),
            "gains": torch.zeros(capacity, actions),
            "tried": torch.zeros(capacity, actions, dtype=torch.bool),
            "value": torch.zeros(capacity),
            "known": torch.zeros(capacity, dtype=torch.bool),
        }
        self.capacity = capacity
        self.added = 0

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, which: Tensor, **rows: Tensor) -> None:
        """Remember those of the rows `[B, ...]` that `which` bool `[B]` picks; the oldest are forgotten.

        Tensors that are left out have no target.
        """
        count = int(which.sum())
        index = torch.arange(self.added, self.added + count, device=which.device) % self.capacity
        for name, tensor in self.tensors.items():
            if name in rows:
                tensor[index[-self.capacity :]] = rows[name][which][-self.capacity :].to(tensor.dtype)
            else:
                tensor[index] = 0
        self.added += count

    def scale(self) -> Tensor:
        """Root mean square of the gains that are remembered, a scalar; 1 if there are none but zeros."""
        gains, tried = self.tensors["gains"][: len(self)], self.tensors["tried"][: len(self)]
        scale = (gains.square().sum() / tried.sum().clamp_min(1)).sqrt()
        return torch.where(scale > 1e-6, scale, torch.ones_like(scale))

    def sample(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw `count` rows, with replacement."""
        device = self.tensors["value"].device
        index = torch.randint(0, len(self), (count,), generator=generator, device=generator.device).to(device)
        return {name: tensor[index] for name, tensor in self.tensors.items()}


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
        self.replay.tensors = {name: tensor.to(device) for name, tensor in self.replay.tensors.items()}
        for state in self.optimizer.state.values():
            state |= {name: value.to(device) for name, value in state.items() if name != "step"}

    def export_state(self) -> dict[str, Tensor]:
        """Everything as flat tensors, copies."""
        state = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer/{index}/{name}": value for name, value in moments.items()}
        state |= {f"replay/{name}": value for name, value in self.replay.tensors.items()}
        state["learner/error"] = self.error
        state["replay/added"] = torch.tensor(self.replay.added)
        return {name: value.detach().clone() for name, value in state.items()}

    def import_state(self, state: dict[str, Tensor]) -> None:
        """Take over what `export_state` gave."""
        parts: dict[str, dict[str, Tensor]] = {
            "network": {},
            "optimizer": {},
            "replay": {},
            "learner": {},
        }
        for name, value in state.items():
            part, key = name.split("/", 1)
            parts[part][key] = value.clone()
        self.network.load_state_dict(parts["network"])
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in parts["optimizer"].items():
            index, name = key.split("/")
            moments.setdefault(int(index), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.error = parts["learner"]["error"]
        self.replay.added = int(parts["replay"].pop("added"))
        self.replay.tensors = parts["replay"]
