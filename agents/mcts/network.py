"""Policy network that guides searches with labels, and its trainer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agents.seeding import global_seed
from agents.state_tensors import by_part, flat, optimizer_tensors, restore_optimizer

FAR = 5.0
"""Standard deviations from the mean at which observations are clipped."""

CLIP = 1.0
"""Largest norm of a gradient, as single rewards can be large."""


class PolicyNetwork(nn.Module):
    """Two hidden layers, whose policy is uniform at first.

    Args:
        observation_size: Length of an observation, ``O``.
        actions: Number of actions, ``A``.
        hidden: Width of both hidden layers.
        seed: Seed of the initial weights; the global random state is left alone.

    Attributes:
        mean: Mean of the observations in the replay buffer, ``[O]``.
        spread: Standard deviation of the observations in the replay buffer, ``[O]``.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, observation_size: int, actions: int, hidden: int, seed: int) -> None:
        super().__init__()
        self.observation_size, self.actions = observation_size, actions
        with global_seed(seed):
            self.body = nn.Sequential(
                nn.Linear(observation_size, hidden),
                nn.LayerNorm(hidden),
                nn.GELU(),
                nn.Linear(hidden, hidden),
                nn.GELU(),
            )
            self.policy = nn.Linear(hidden, actions)
        nn.init.zeros_(self.policy.weight)
        nn.init.zeros_(self.policy.bias)
        self.register_buffer("mean", torch.zeros(observation_size))
        self.register_buffer("spread", torch.ones(observation_size))

    def forward(self, observation: Tensor) -> Tensor:
        """Logits of the policy of a search that sees rewards, ``[B, A]``, for observations ``[B, O]``."""
        logits: Tensor = self.policy(self.body(self.standardize(observation)))
        return logits

    def standardize(self, observation: Tensor) -> Tensor:
        """Observations in standard deviations from the mean of those remembered, clipped at ``FAR``."""
        return ((observation - self.mean) / self.spread).clamp(-FAR, FAR)

    def loss(self, rows: dict[str, Tensor]) -> Tensor:
        """Mean cross-entropy to the policy of the search over legal actions, for rows ``[n]`` of a replay."""
        log_policy = self(rows["observation"]).masked_fill(~rows["mask"], -torch.inf).log_softmax(-1)
        return -torch.where(rows["mask"], rows["policy"] * log_policy, 0.0).sum(-1).mean()


class Trainer:
    """Network with its optimizer and its replay buffer, which are saved and resumed together.

    Args:
        network: Network that is trained in place.
        learning_rate: Learning rate of the Adam optimizer.
        replay: Capacity of the replay buffer, in decisions.
    """

    def __init__(self, network: PolicyNetwork, learning_rate: float, replay: int) -> None:
        self.network = network
        self.optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
        from agents.mcts.replay import Replay

        self.replay = Replay(replay, network.observation_size, network.actions)

    def remember(self, which: Tensor, **rows: Tensor) -> None:
        """Add to the replay buffer those of the rows ``[B, ...]`` that ``which``, bool ``[B]``, picks."""
        self.replay.add(which, **rows)

    def update(self, steps: int, batch_size: int, generator: torch.Generator) -> dict[str, float]:
        """Take gradient steps on the replay buffer; the mean loss by name, none if it is empty."""
        if len(self.replay) == 0 or steps == 0:
            return {}
        mean, spread = self.replay.moments()
        self.network.mean.copy_(mean)
        self.network.spread.copy_(spread)
        total = 0.0
        for _ in range(steps):
            loss = self.network.loss(self.replay.sample(batch_size, generator))
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
            self.optimizer.step()
            total += float(loss.detach())
        return {"loss/policy": total / steps}

    def to(self, device: torch.device) -> None:
        """Move everything to a device."""
        if next(self.network.parameters()).device == device:
            return
        self.network.to(device)
        self.replay = self.replay.to(device)
        for state in self.optimizer.state.values():
            state |= {name: value.to(device) for name, value in state.items() if name != "step"}

    def export_state(self) -> dict[str, Tensor]:
        """Copies of everything that resumption needs, as flat tensors by name."""
        return flat(
            network=self.network.state_dict(),
            optimizer=optimizer_tensors(self.optimizer),
            replay=self.replay.tensors(),
            learner={"replay": torch.tensor(self.replay.capacity)},
        )

    def import_state(self, state: dict[str, Tensor]) -> None:
        """Restore what ``export_state`` returned; the replay buffer must be empty."""
        parts = by_part(state, "mcts", "network", "optimizer", "replay", "learner")
        self.network.load_state_dict(parts["network"])
        restore_optimizer(self.optimizer, parts["optimizer"])
        self.replay.restore(parts["replay"])
