"""The network that acts where there are no labels, and the memory it learns from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STOP_BIAS = 2.0
"""Initial logit of `stop`: a network that has learnt nothing leaves the attention alone."""


class PolicyValueNetwork(nn.Module):
    """From an observation to a preference among the actions and the return that can be had.

    Args:
        observation_size: `O`.
        actions: `A`.
        hidden: Width of both hidden layers.
        stop: The action that an untrained network prefers, if any.
        seed: Of the initial weights; the global random state is left alone.
    """

    def __init__(self, observation_size: int, actions: int, hidden: int, stop: int | None, seed: int) -> None:
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
            self.value = nn.Linear(hidden, 1)
        for head in (self.policy, self.value):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        if stop is not None:
            with torch.no_grad():
                self.policy.bias[stop] = STOP_BIAS

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[B, A]` and values `[B]` of observations `[B, O]`."""
        hidden = self.body(observation)
        return self.policy(hidden), self.value(hidden).squeeze(-1)

    def loss(self, observation: Tensor, mask: Tensor, policy: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy to a policy `[B, A]` over legal actions, and squared error to a value `[B]`."""
        logits, estimate = self(observation)
        log_policy = logits.masked_fill(~mask, -torch.inf).log_softmax(-1)
        cross_entropy = -torch.where(mask, policy * log_policy, 0.0).sum(-1).mean()
        return cross_entropy, nn.functional.mse_loss(estimate, value)


class Replay:
    """The last `capacity` decisions, as tensors that wrap around.

    Args:
        capacity: How many are kept.
        observation_size: `O`.
        actions: `A`.
    """

    def __init__(self, capacity: int, observation_size: int, actions: int) -> None:
        self.tensors = {
            "observation": torch.zeros(capacity, observation_size),
            "mask": torch.zeros(capacity, actions, dtype=torch.bool),
            "policy": torch.zeros(capacity, actions),
            "value": torch.zeros(capacity),
        }
        self.capacity = capacity
        self.added = 0

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, **rows: Tensor) -> None:
        """Remember rows, `[n, ...]` of each tensor; the oldest are forgotten."""
        count = len(rows["value"])
        index = torch.arange(self.added, self.added + count, device=rows["value"].device) % self.capacity
        for name, tensor in self.tensors.items():
            tensor[index[-self.capacity :]] = rows[name][-self.capacity :].to(tensor.dtype)
        self.added += count

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
    """

    def __init__(self, network: PolicyValueNetwork, learning_rate: float, replay: int) -> None:
        self.network = network
        self.optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
        self.replay = Replay(replay, network.observation_size, network.actions)

    def update(
        self, steps: int, batch_size: int, value_weight: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Take gradient steps on what is remembered; mean losses by name, none if nothing is."""
        if len(self.replay) == 0 or steps == 0:
            return {}
        losses = []
        for _ in range(steps):
            policy, value = self.network.loss(**self.replay.sample(batch_size, generator))
            self.optimizer.zero_grad()
            (policy + value_weight * value).backward()
            self.optimizer.step()
            losses.append(torch.stack([policy.detach(), value.detach()]))
        means = torch.stack(losses).mean(0).tolist()
        return {"loss/policy": means[0], "loss/value": means[1]}

    def to(self, device: torch.device) -> None:
        """Move everything to a device."""
        if next(self.network.parameters()).device == device:
            return
        self.network.to(device)
        self.replay.tensors = {name: tensor.to(device) for name, tensor in self.replay.tensors.items()}
        for state in self.optimizer.state.values():
            state |= {name: value.to(device) for name, value in state.items() if name != "step"}

    def export_state(self) -> dict[str, Tensor]:
        """Everything as flat tensors, copies."""
        state = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer/{index}/{name}": value for name, value in moments.items()}
        state |= {f"replay/{name}": value for name, value in self.replay.tensors.items()}
        state["replay/added"] = torch.tensor(self.replay.added)
        return {name: value.detach().clone() for name, value in state.items()}

    def import_state(self, state: dict[str, Tensor]) -> None:
        """Take over what `export_state` gave."""
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "optimizer": {}, "replay": {}}
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
        self.replay.added = int(parts["replay"].pop("added"))
        self.replay.tensors = parts["replay"]
