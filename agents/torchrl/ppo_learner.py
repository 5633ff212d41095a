"""Networks of ``ppo_torchrl`` with their loss and optimizer, from TorchRL's parts."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict
from tensordict.nn import (
    InteractionType,
    ProbabilisticTensorDictModule,
    ProbabilisticTensorDictSequential,
    TensorDictModule,
)
from torch import Tensor, nn
from torchrl.modules import MLP, MaskedCategorical, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from agents.state_tensors import optimizer_tensors, restore_optimizer

ADAM_EPSILON = 1e-5


class _PolicyNetwork(nn.Module):
    """Logits ``[B, A]`` and their mask, which allows everything where nothing is legal, as after an end."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, observation: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(observation), mask | ~mask.any(-1, keepdim=True)


class PpoLearner:
    """Networks with their loss, their optimizer and the scale of returns, which are resumed together.

    Args:
        sizes: Length of an observation, ``O``, and number of actions, ``A``.
        net_arch: Widths of the hidden layers of policy and value, which share none.
        learning_rate: Learning rate of the Adam optimizer.
        gae: Settings of the generalized advantage estimate.
        loss: Settings of the clipped loss.
    """

    def __init__(
        self,
        sizes: tuple[int, int],
        net_arch: list[int],
        learning_rate: float,
        gae: dict[str, float],
        loss: dict[str, Any],
    ) -> None:
        self.sizes = sizes
        observation_size, actions = sizes

        def network(outputs: int, last: float) -> MLP:
            made = MLP(observation_size, outputs, num_cells=net_arch, activation_class=nn.Tanh)
            layers = [layer for layer in made if isinstance(layer, nn.Linear)]
            for layer in layers:
                nn.init.orthogonal_(layer.weight, last if layer is layers[-1] else 2**0.5)
                nn.init.zeros_(layer.bias)
            return made

        self.actor = ProbabilisticTensorDictSequential(
            TensorDictModule(
                _PolicyNetwork(network(actions, 0.01)),
                in_keys=["observation", "action_mask"],
                out_keys=["logits", "legal"],
            ),
            ProbabilisticTensorDictModule(
                in_keys={"logits": "logits", "mask": "legal"},
                out_keys=["action"],
                distribution_class=MaskedCategorical,
                return_log_prob=True,
                default_interaction_type=InteractionType.RANDOM,
            ),
        )
        # Values begin at 0: returns are small numbers beside a random network's.
        self.critic = ValueOperator(network(1, 0.0), in_keys=["observation"])
        self.advantages = GAE(**gae, value_network=self.critic)  # Schulman et al., 2016
        self.loss = ClipPPOLoss(self.actor, self.critic, loss_critic_type="l2", functional=False, **loss)
        self.parameters = [*self.actor.parameters(), *self.critic.parameters()]
        self.optimizer = torch.optim.Adam(self.parameters, lr=learning_rate, eps=ADAM_EPSILON)
        self.returns = ReturnScale()

    @torch.no_grad()
    def draw(self, observation: Tensor, mask: Tensor) -> Tensor:
        """Draw actions ``[B]`` from the policy, by the global generator."""
        rows = TensorDict({"observation": observation, "action_mask": mask}, batch_size=[len(mask)])
        return self.actor(rows)["action"]

    @torch.no_grad()
    def most_likely(self, observation: Tensor, mask: Tensor) -> Tensor:
        """Legal actions ``[B]`` of the highest probability."""
        logits, legal = self.actor[0].module(observation, mask)
        return logits.masked_fill(~legal, -torch.inf).argmax(-1)

    def to(self, device: torch.device) -> None:
        """Move everything to a device."""
        if self.parameters[0].device == device:
            return
        self.loss.to(device)
        self.advantages.to(device)
        self.returns.to(device)
        for state in self.optimizer.state.values():
            state |= {name: value.to(device) for name, value in state.items() if name != "step"}

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Everything that was learned, by part and name."""
        return {
            "size": dict(zip(("observation", "actions"), map(torch.tensor, self.sizes), strict=True)),
            "actor": dict(self.actor.state_dict()),
            "critic": dict(self.critic.state_dict()),
            "optimizer": optimizer_tensors(self.optimizer),
            "returns": self.returns.tensors(),
        }

    def restore(self, parts: dict[str, dict[str, Tensor]]) -> None:
        """Restore what ``tensors`` returned."""
        self.actor.load_state_dict(parts["actor"])
        self.critic.load_state_dict(parts["critic"])
        restore_optimizer(self.optimizer, parts["optimizer"])
        self.returns.restore(parts["returns"])


LARGEST_REWARD = 10.0
"""Standard deviations at which scaled rewards are clipped, as by ``VecNormalize``."""


class ReturnScale:
    """Running standard deviation of returns that rewards are divided by, as by ``VecNormalize``."""

    def __init__(self) -> None:
        self.count = torch.tensor(0.0, dtype=torch.float64)
        self.mean, self.squares = self.count.clone(), self.count.clone()

    def update(self, reward: Tensor, ended: Tensor, gamma: float) -> None:
        """Update by rewards ``[B, steps]`` and whether episodes ended after them, bool ``[B, steps]``."""
        running = torch.zeros_like(reward[:, 0])
        steps = []
        for earned, over in zip(reward.unbind(1), ended.unbind(1), strict=True):
            running = gamma * running + earned
            steps.append(running)
            running = running.masked_fill(over, 0.0)
        returns = torch.stack(steps).double()
        count, mean = returns.numel(), returns.mean()
        total, delta = self.count + count, mean - self.mean  # Chan et al., 1979
        within = (returns - mean).square().sum()
        self.squares = self.squares + within + delta.square() * self.count * count / total
        self.mean, self.count = self.mean + delta * count / total, total

    def scaled(self, reward: Tensor) -> Tensor:
        """Rewards divided by the standard deviation, and clipped."""
        deviation = (self.squares / self.count.clamp_min(1) + 1e-8).sqrt().float()
        return (reward / deviation).clamp(-LARGEST_REWARD, LARGEST_REWARD)

    def to(self, device: torch.device) -> None:
        """Move everything to a device."""
        self.restore(self.tensors(), device)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is saved, by name."""
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def restore(self, tensors: dict[str, Tensor], device: torch.device | None = None) -> None:
        """Restore what ``tensors`` returned."""
        self.count, self.mean, self.squares = (
            tensors[name].to(device or "cpu") for name in ("count", "mean", "squares")
        )
