"""PPO from TorchRL's parts, on the device where the model is: its collector, its advantages, its loss.

The same algorithm and settings as `ppo`, so that the two can be compared; nothing leaves the device.
"""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import (
    InteractionType,
    ProbabilisticTensorDictModule,
    ProbabilisticTensorDictSequential,
    TensorDictModule,
)
from torch import Tensor, nn
from torchrl.collectors import Collector
from torchrl.modules import MLP, MaskedCategorical, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE
from typing_extensions import override

from agents.base import Agent, DecisionProcess, PlanResult, check_sizes, roll
from agents.chance import fenced, seeded
from agents.played import PlayedRows, play
from agents.registry import register
from agents.settings import at_least, positive, shares, widths
from agents.tensors import by_part, flat, optimizer_tensors, restore_optimizer
from envs.torchrl import CalibrationTorchRLEnv

LEARNT_FROM = ("observation", "action_mask", "action", "action_log_prob", "advantage", "value_target")
LOSSES = {"loss_objective": "policy", "loss_critic": "value", "loss_entropy": "entropy"}
ADAM_EPSILON = 1e-5


@register("ppo_torchrl")
class TorchRLPpoAgent(Agent):
    """Proximal policy optimisation with masks, on the device (Schulman et al., 2017).

    Without labels it takes the most likely action. A catalogue without `stop` leaves it no choice but to act
    up to the horizon.

    Args:
        budget: Evaluations an episode may cost, over all the times that it is played.
        learning_rate: Of Adam.
        batch_size: Transitions in a gradient step.
        n_epochs: Passes over what was played.
        gamma: Discount.
        gae_lambda: Of the generalised advantage estimate.
        clip_range: How far the ratio of new to old probability may go from 1.
        normalize_advantage: Within each gradient step.
        ent_coef: Weight of the entropy bonus.
        vf_coef: Weight of the value's loss.
        max_grad_norm: Largest norm of a gradient.
        norm_reward: Divide rewards by the running standard deviation of returns.
        net_arch: Widths of the hidden layers, of policy and value apart; None is two of 64.
        seed: Of the initial weights.
    """

    acts_without_labels = True

    def __init__(
        self,
        budget: int = 32,
        *,
        learning_rate: float = 3e-4,
        batch_size: int = 128,
        n_epochs: int = 4,
        gamma: float = 1.0,
        gae_lambda: float = 0.95,
        clip_range: float = 0.2,
        normalize_advantage: bool = True,
        ent_coef: float = 0.01,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        norm_reward: bool = True,
        net_arch: list[int] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(budget)
        at_least(1, batch_size=batch_size, n_epochs=n_epochs)
        at_least(0, ent_coef=ent_coef, vf_coef=vf_coef)
        positive(learning_rate=learning_rate, clip_range=clip_range, max_grad_norm=max_grad_norm)
        shares(gamma=gamma, gae_lambda=gae_lambda)
        self.learning_rate, self.batch_size, self.n_epochs = learning_rate, batch_size, n_epochs
        self.gamma, self.gae_lambda, self.max_grad_norm = gamma, gae_lambda, max_grad_norm
        self.loss_settings = {
            "clip_epsilon": clip_range,
            "entropy_bonus": ent_coef > 0,
            "entropy_coeff": ent_coef,
            "critic_coeff": vf_coef,
            "normalize_advantage": normalize_advantage,
        }
        self.norm_reward, self.seed = norm_reward, seed
        self.net_arch = widths(net_arch)
        self._learner: _Learner | None = None

    @override
    def plan(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        learner = self._bind(core, core.done(core.initial(episode)).device)
        with fenced(generator):
            return play(core, episode, learner.draw, self.budget)

    @override
    def calibrate(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        def act(observation: Tensor, mask: Tensor) -> Tensor:
            return self._bind(core, observation.device).most_likely(observation, mask)

        return roll(core, episode, act, self.budget)

    @override
    def learn(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        if self.budget == 0:
            return self.plan(core, episode, generator)
        rows = PlayedRows(core, episode)
        learner = self._bind(core, rows.device)
        with fenced(generator):
            played = _collect(learner.actor, rows, self.budget)
            statistics = self._update(learner, played)
        return rows.result(statistics)

    def _update(self, learner: _Learner, played: TensorDictBase) -> dict[str, float]:
        """Learn from what was played, `[B, steps]`; mean losses by name."""
        if self.norm_reward:
            ended = played["next", "done"].squeeze(-1)
            learner.returns.update(played["next", "reward"].squeeze(-1), ended, self.gamma)
            played["next", "reward"] = played["next", "reward"] / learner.returns.deviation()
        with torch.no_grad():
            learner.advantages(played)
        played = played.select(*LEARNT_FROM).reshape(-1)
        totals: dict[str, Tensor] = {}
        steps = 0
        for _ in range(self.n_epochs):
            for chosen in torch.randperm(len(played)).to(played.device).split(self.batch_size):
                losses = dict(learner.loss(played[chosen]).items())
                told = {f"loss/{ours}": losses[name] for name, ours in LOSSES.items() if name in losses}
                learner.optimizer.zero_grad()
                torch.stack(list(told.values())).sum().backward()
                nn.utils.clip_grad_norm_(learner.parameters, self.max_grad_norm)
                learner.optimizer.step()
                steps += 1
                told |= {"policy/kl": losses["kl_approx"], "policy/clip_fraction": losses["clip_fraction"]}
                totals = {name: totals.get(name, 0) + value.detach() for name, value in told.items()}
        return {name: float(total) / steps for name, total in totals.items()}

    def _bind(self, core: DecisionProcess, device: torch.device) -> _Learner:
        if self._learner is None:
            self._learner = self._new(core.observation_size, core.actions)
        check_sizes(self.name, self._learner.sizes, core)
        self._learner.to(device)
        return self._learner

    def _new(self, observation_size: int, actions: int) -> _Learner:
        with seeded(self.seed):
            return _Learner(
                (observation_size, actions),
                self.net_arch,
                self.learning_rate,
                {"gamma": self.gamma, "lmbda": self.gae_lambda},
                self.loss_settings,
            )

    @override
    def export_state(self) -> dict[str, Tensor]:
        return {} if self._learner is None else flat(**self._learner.tensors())

    @override
    def import_state(self, state: dict[str, Tensor]) -> None:
        self._learner = None
        if not state:
            return
        parts = by_part(state, self.name, "size", "actor", "critic", "optimizer", "returns")
        try:
            learner = self._new(int(parts["size"]["observation"]), int(parts["size"]["actions"]))
            learner.restore(parts)
        except (KeyError, RuntimeError) as error:
            raise ValueError(
                f"{self.name}: the state does not fit ({str(error).splitlines()[0]}); was it saved with "
                f"another agent.net_arch than {self.net_arch}? Use equal settings"
            ) from error
        self._learner = learner


class _PolicyNetwork(nn.Module):
    """Logits `[B, A]` and the mask that goes with them: all is legal where nothing is, as in what is over."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, observation: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(observation), mask | ~mask.any(-1, keepdim=True)


class _Learner:
    """Networks, what they are trained by and how: what is saved and resumed together."""

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
        self.returns = _ReturnScale()

    @torch.no_grad()
    def draw(self, observation: Tensor, mask: Tensor) -> Tensor:
        """Actions `[B]` drawn from the policy, from the global generator."""
        rows = TensorDict({"observation": observation, "action_mask": mask}, batch_size=[len(mask)])
        return self.actor(rows)["action"]

    @torch.no_grad()
    def most_likely(self, observation: Tensor, mask: Tensor) -> Tensor:
        """The legal actions `[B]` of the highest probability."""
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
        """Everything that has been learnt, by part and name."""
        return {
            "size": dict(zip(("observation", "actions"), map(torch.tensor, self.sizes), strict=True)),
            "actor": dict(self.actor.state_dict()),
            "critic": dict(self.critic.state_dict()),
            "optimizer": optimizer_tensors(self.optimizer),
            "returns": self.returns.tensors(),
        }

    def restore(self, parts: dict[str, dict[str, Tensor]]) -> None:
        """Take over what `tensors` gave."""
        self.actor.load_state_dict(parts["actor"])
        self.critic.load_state_dict(parts["critic"])
        restore_optimizer(self.optimizer, parts["optimizer"])
        self.returns.restore(parts["returns"])


class _ReturnScale:
    """Running deviation of returns so far, which rewards are divided by, as `VecNormalize` does for `ppo`."""

    def __init__(self) -> None:
        self.count = torch.tensor(0.0, dtype=torch.float64)
        self.mean, self.squares = self.count.clone(), self.count.clone()

    def update(self, reward: Tensor, ended: Tensor, gamma: float) -> None:
        """Take in rewards `[B, steps]` and where episodes ended after them, bool `[B, steps]`."""
        going = torch.zeros_like(reward[:, 0])
        seen = []
        for now, over in zip(reward.unbind(1), ended.unbind(1), strict=True):
            going = gamma * going + now
            seen.append(going)
            going = going.masked_fill(over, 0.0)
        returns = torch.stack(seen).double()
        count, mean = returns.numel(), returns.mean()
        whole, apart = self.count + count, mean - self.mean
        self.squares = (
            self.squares + (returns - mean).square().sum() + apart.square() * self.count * count / whole
        )
        self.mean, self.count = self.mean + apart * count / whole, whole

    def deviation(self) -> Tensor:
        """Standard deviation, float32, a scalar."""
        return (self.squares / self.count.clamp_min(1) + 1e-8).sqrt().float()

    def to(self, device: torch.device) -> None:
        """Move everything to a device."""
        self.restore(self.tensors(), device)

    def tensors(self) -> dict[str, Tensor]:
        """All of it."""
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def restore(self, tensors: dict[str, Tensor], device: torch.device | None = None) -> None:
        """Take over what `tensors` gave."""
        self.count, self.mean, self.squares = (
            tensors[name].to(device or "cpu") for name in ("count", "mean", "squares")
        )


def _collect(actor: ProbabilisticTensorDictSequential, rows: PlayedRows, steps: int) -> TensorDictBase:
    """Play rows for some steps each, one episode after the other; all that was seen, `[B, steps]`."""
    env = CalibrationTorchRLEnv(rows.count, rows=rows)
    frames = steps * rows.count
    collector = Collector(
        env,
        actor,
        frames_per_batch=frames,
        total_frames=frames,
        device=rows.device,
        track_traj_ids=False,
        auto_register_policy_transforms=False,
    )
    with torch.no_grad():
        played = next(iter(collector))
    collector.shutdown()
    return played
