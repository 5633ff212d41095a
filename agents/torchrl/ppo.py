"""PPO agent from TorchRL's collector, advantages and loss, on the device of the model.

The same algorithm and settings as ``ppo``, so that the two can be compared; nothing leaves the device.
"""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDictBase
from tensordict.nn import ProbabilisticTensorDictSequential
from torch import Tensor, nn
from torchrl.collectors import Collector
from typing_extensions import override

from agents.base import Agent, DecisionProcess, PlanResult, check_sizes
from agents.registry import register
from agents.rollout import Rollout, roll, roll_repeatedly
from agents.seeding import global_seed, seed_from_generator
from agents.settings import at_least, positive, shares, widths
from agents.state_tensors import by_part, flat
from agents.torchrl.ppo_learner import PpoLearner
from envs.adapters.torchrl import CalibrationTorchRLEnv

LEARNED_FROM = ("observation", "action_mask", "action", "action_log_prob", "advantage", "value_target")
LOSSES = {"loss_objective": "policy", "loss_critic": "value", "loss_entropy": "entropy"}


@register("ppo_torchrl")
class TorchRLPpoAgent(Agent):
    """Proximal policy optimization with masks, on the device (Schulman et al., 2017).

    Without labels it takes the most likely action. If the catalogue has no ``stop``, it has to act up to the
    horizon.

    Args:
        budget: Largest number of evaluations per episode, over all the times that it is played.
        learning_rate: Learning rate of the Adam optimizer.
        batch_size: Number of transitions per gradient step.
        n_epochs: Number of passes over a rollout.
        gamma: Discount factor.
        gae_lambda: Lambda of the generalized advantage estimate.
        clip_range: Distance from 1 at which the ratio of new to old probability is clipped.
        normalize_advantage: Whether advantages are normalized within each gradient step.
        ent_coef: Coefficient of the entropy bonus.
        vf_coef: Coefficient of the value loss.
        max_grad_norm: Norm to which gradients are clipped.
        norm_reward: Whether rewards are divided by the running standard deviation of returns.
        net_arch: Widths of the hidden layers of policy and value, which share none; None is two of 64.
        seed: Seed of the initial weights.
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
        self._learner: PpoLearner | None = None

    @override
    def plan(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        learner = self._bind(core, core.done(core.initial(episode)).device)
        with seed_from_generator(generator):
            return roll_repeatedly(core, episode, learner.draw, self.budget)

    @override
    def calibrate(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        def act(observation: Tensor, mask: Tensor) -> Tensor:
            return self._bind(core, observation.device).most_likely(observation, mask)

        return roll(core, episode, act, self.budget)

    @override
    def learn(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        if self.budget == 0:
            return self.plan(core, episode, generator)
        rollout = Rollout(core, episode, keep_best=True)
        learner = self._bind(core, rollout.device)
        with seed_from_generator(generator):
            played = _collect(learner.actor, rollout, self.budget)
            statistics = self._update(learner, played)
        return rollout.result(statistics)

    def _update(self, learner: PpoLearner, played: TensorDictBase) -> dict[str, float]:
        """Learn from a rollout ``[B, steps]``; mean losses by name."""
        if self.norm_reward:
            ended = played["next", "done"].squeeze(-1)
            learner.returns.update(played["next", "reward"].squeeze(-1), ended, self.gamma)
            played["next", "reward"] = learner.returns.scaled(played["next", "reward"])
        with torch.no_grad():
            learner.advantages(played)
        played = played.select(*LEARNED_FROM).reshape(-1)
        totals: dict[str, Tensor] = {}
        steps = 0
        for _ in range(self.n_epochs):
            for chosen in torch.randperm(len(played)).to(played.device).split(self.batch_size):
                losses = dict(learner.loss(played[chosen]).items())
                terms = {f"loss/{ours}": losses[name] for name, ours in LOSSES.items() if name in losses}
                learner.optimizer.zero_grad()
                torch.stack(list(terms.values())).sum().backward()
                nn.utils.clip_grad_norm_(learner.parameters, self.max_grad_norm)
                learner.optimizer.step()
                steps += 1
                terms |= {"policy/kl": losses["kl_approx"], "policy/clip_fraction": losses["clip_fraction"]}
                totals = {name: totals.get(name, 0) + value.detach() for name, value in terms.items()}
        return {name: float(total) / steps for name, total in totals.items()}

    def _bind(self, core: DecisionProcess, device: torch.device) -> PpoLearner:
        if self._learner is None:
            self._learner = self._new(core.observation_size, core.actions)
        check_sizes(self.name, self._learner.sizes, core)
        self._learner.to(device)
        return self._learner

    def _new(self, observation_size: int, actions: int) -> PpoLearner:
        with global_seed(self.seed):
            return PpoLearner(
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


def _collect(actor: ProbabilisticTensorDictSequential, rollout: Rollout, steps: int) -> TensorDictBase:
    """Play a number of steps per row, one episode after the other; the transitions ``[B, steps]``."""
    env = CalibrationTorchRLEnv(rollout.count, rows=rollout)
    frames = steps * rollout.count
    collector = Collector(
        env,
        actor,
        frames_per_batch=frames,
        total_frames=frames,
        device=rollout.device,
        track_traj_ids=False,
        auto_register_policy_transforms=False,
    )
    with torch.no_grad():
        played = next(iter(collector))
    collector.shutdown()
    return played
