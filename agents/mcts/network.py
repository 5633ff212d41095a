"""Policy and value network, which acts where there are no labels, and its trainer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from agents.mcts.ensemble import Ensemble
from agents.seeding import global_seed
from agents.state_tensors import by_part, flat, optimizer_tensors, restore_optimizer

FAR = 5.0
"""Standard deviations from the mean at which observations are clipped."""

CLIP = 1.0
"""Largest norm of a gradient, as single rewards can be large."""


class Prediction(NamedTuple):
    """Predictions of the network for ``B`` observations.

    Attributes:
        logits: Logits of the policy of a search that sees rewards, ``[B, A]``.
        gains: Expected return of each action without labels, ``[B, A]``: the mean of the ensemble.
        std: Standard deviation of the gains over the members of the ensemble, ``[B, A]``.
        value: Expected return of going on without labels, ``[B]``: the mean of the ensemble.
        value_std: Standard deviation of the value over the members of the ensemble, ``[B]``.
    """

    logits: Tensor
    gains: Tensor
    std: Tensor
    value: Tensor
    value_std: Tensor


class PolicyValueNetwork(nn.Module):
    """Two hidden layers for the policy, and an ensemble for gains and value; all of them start at zero.

    Args:
        observation_size: Length of an observation, ``O``.
        actions: Number of actions, ``A``.
        hidden: Width of both hidden layers.
        ensemble_size: Number of networks in the ensemble, ``M``.
        seed: Seed of the initial weights; the global random state is left alone.

    Attributes:
        scale: Unit of gains and value within the network, a scalar: rewards are small numbers, and heads that
            had to find them in their own unit would mostly add noise.
        mean: Mean of the observations in the replay buffer, ``[O]``.
        spread: Standard deviation of the observations in the replay buffer, ``[O]``.
    """

    scale: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(
        self, observation_size: int, actions: int, hidden: int, ensemble_size: int, seed: int
    ) -> None:
        super().__init__()
        self.observation_size, self.actions, self.ensemble_size = observation_size, actions, ensemble_size
        with global_seed(seed):
            self.body = nn.Sequential(
                nn.Linear(observation_size, hidden),
                nn.LayerNorm(hidden),
                nn.GELU(),
                nn.Linear(hidden, hidden),
                nn.GELU(),
            )
            self.policy = nn.Linear(hidden, actions)
            outputs = actions + 1  # gains, and the value
            self.returns = Ensemble(ensemble_size, observation_size, outputs, hidden)
        nn.init.zeros_(self.policy.weight)
        nn.init.zeros_(self.policy.bias)
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("mean", torch.zeros(observation_size))
        self.register_buffer("spread", torch.ones(observation_size))

    def forward(self, observation: Tensor) -> Prediction:
        """Predictions for observations ``[B, O]``."""
        inputs = self.standardize(observation)
        returns = self.scale * self.returns(inputs)
        mean, std = returns.mean(0), returns.std(0, correction=0)
        return Prediction(self.policy(self.body(inputs)), mean[:, :-1], std[:, :-1], mean[:, -1], std[:, -1])

    def leads(self, observation: Tensor, default: Tensor) -> tuple[Tensor, Tensor]:
        """How much more each action gains than another one, mean and standard deviation of the ensemble.

        Members that expect much of one action mostly expect much of the other as well, so that the deviation
        of the difference is smaller than that of the gains.

        Args:
            observation: Observations ``[B, O]``.
            default: Action to compare with, i64 ``[B]``; -1 to end the episode, which gains nothing.

        Returns:
            Both ``[B, A + 1]``, of which the last column is for ending the episode.
        """
        gains = self.scale * self.returns(self.standardize(observation))[..., :-1]  # [M, B, A]
        gains = torch.cat([gains, torch.zeros_like(gains[..., :1])], dim=-1)
        place = torch.where(default < 0, gains.shape[-1] - 1, default)
        leads = gains - gains.gather(2, place.view(1, -1, 1).expand(len(gains), -1, 1))
        return leads.mean(0), leads.std(0, correction=0)

    def standardize(self, observation: Tensor) -> Tensor:
        """Observations in standard deviations from the mean of those remembered, clipped at ``FAR``."""
        return ((observation - self.mean) / self.spread).clamp(-FAR, FAR)

    def loss(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean losses by name, over those rows ``[n]`` of a ``Replay`` that have the target in question.

        ``policy`` is the cross-entropy to the policy of the search over legal actions. ``gains``, over the
        actions that were tried, and ``value`` are squared errors, for each member as often as its bootstrap
        sample has the row, relative to the square of ``scale``: 1 is as good as to expect nothing.
        """
        inputs = self.standardize(rows["observation"])
        log_policy = self.policy(self.body(inputs)).masked_fill(~rows["mask"], -torch.inf).log_softmax(-1)
        has_policy = rows["policy"].sum(-1)  # 1, or 0 in rows without a policy
        cross_entropy = -torch.where(rows["mask"], rows["policy"] * log_policy, 0.0).sum()
        returns = self.returns(inputs)  # [M, n, A + 1]
        weights = rows["bootstrap_weights"].T.unsqueeze(-1)  # [M, n, 1]

        def error(predicted: Tensor, target: Tensor, known: Tensor) -> Tensor:
            counted = weights * known
            return ((predicted - target / self.scale).square() * counted).sum() / counted.sum().clamp_min(1)

        return {
            "policy": cross_entropy / has_policy.sum().clamp_min(1),
            "gains": error(returns[..., :-1], rows["gains"], rows["tried"]),
            "value": error(returns[..., -1:], rows["value"].unsqueeze(-1), rows["known"].unsqueeze(-1)),
        }


class Trainer:
    """Network with its optimizer and its replay buffer, which are saved and resumed together.

    Args:
        network: Network that is trained in place.
        learning_rate: Learning rate of the Adam optimizer.
        replay: Capacity of the replay buffer, in decisions.
    """

    def __init__(self, network: PolicyValueNetwork, learning_rate: float, replay: int) -> None:
        self.network = network
        self.optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
        from agents.mcts.replay import Replay

        self.replay = Replay(replay, network.observation_size, network.actions, network.ensemble_size)

    def bootstrap_weights(self, episodes: int, generator: torch.Generator) -> Tensor:
        """How often the bootstrap sample of each member of the ensemble has each episode, ``[B, M]``.

        As often as a Poisson number of mean 1 says: what a bootstrap sample of a stream amounts to (Oza &
        Russell, 2001). Decisions of one episode share its luck, so a sample has all of them or none:
        members that saw some of them each would agree on what was luck.
        """
        ones = torch.ones(episodes, self.network.ensemble_size, device=generator.device)
        return torch.poisson(ones, generator=generator).to(self.replay.device)

    def remember(self, which: Tensor, **rows: Tensor) -> None:
        """Add to the replay buffer those of the rows ``[B, ...]`` that ``which``, bool ``[B]``, picks."""
        self.replay.add(which, **rows)

    def update(self, steps: int, batch_size: int, generator: torch.Generator) -> dict[str, float]:
        """Take gradient steps on the replay buffer; mean losses by name, none if it is empty."""
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
