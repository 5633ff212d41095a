"""PPO and A2C agents with masks: sb3-contrib's MaskablePPO, and Stable-Baselines3's A2C with its policy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3 import A2C
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn
from typing_extensions import override

from agents.registry import register
from agents.sb3.base import Sb3Agent, set_up
from agents.sb3.masking import MaskInObservation, WithoutMask, mask_of, masked_space, to_input
from agents.settings import at_least, positive, shares
from envs.adapters.sb3 import CalibrationVecEnv
from envs.observation import BOUND


class OnPolicyAgent(Sb3Agent):
    """Base class of PPO and A2C: rollouts of ``n_steps`` steps per row, as many as the budget covers."""

    n_steps: int | None

    def rollout_steps(self) -> int:
        """Number of steps per row in one rollout; the whole budget if ``n_steps`` is None."""
        return min(self.n_steps or self.budget, self.budget)

    @override
    def prepare(self, algorithm: BaseAlgorithm, rows: int) -> int:
        assert isinstance(algorithm, OnPolicyAlgorithm)
        # The advantage of a single transition cannot be normalized.
        algorithm.n_steps = max(self.rollout_steps(), 2 if rows == 1 else 1)
        kind = algorithm.rollout_buffer_class
        assert kind is not None
        algorithm.rollout_buffer = kind(
            algorithm.n_steps,
            algorithm.observation_space,
            algorithm.action_space,
            algorithm.device,
            gamma=algorithm.gamma,
            gae_lambda=algorithm.gae_lambda,
            n_envs=rows,
        )
        return self.budget // algorithm.n_steps * algorithm.n_steps


@register("ppo")
class PpoAgent(OnPolicyAgent):
    """Proximal policy optimization with masks (sb3-contrib's MaskablePPO; Schulman et al., 2017).

    Without labels it takes the most likely action. If the catalogue has no ``stop``, it has to act up to the
    horizon.

    Args:
        budget: Largest number of evaluations per episode, over all the times that it is played.
        learning_rate: Learning rate of the Adam optimizer.
        n_steps: Number of steps per row between updates; None is the budget.
        batch_size: Number of transitions per gradient step.
        n_epochs: Number of passes over a rollout.
        gamma: Discount factor.
        gae_lambda: Lambda of the generalized advantage estimate.
        clip_range: Distance from 1 at which the ratio of new to old probability is clipped.
        normalize_advantage: Whether advantages are normalized within each gradient step.
        ent_coef: Coefficient of the entropy bonus.
        vf_coef: Coefficient of the value loss.
        max_grad_norm: Norm to which gradients are clipped.
        target_kl: Divergence from the old policy at which an update ends early; None never ends it.
        norm_reward: Whether rewards are divided by the running standard deviation of returns.
        net_arch: Widths of the hidden layers of policy and value, which share none; None is two of 64.
        seed: Seed of the initial weights.
    """

    def __init__(
        self,
        budget: int = 32,
        *,
        learning_rate: float = 3e-4,
        n_steps: int | None = None,
        batch_size: int = 128,
        n_epochs: int = 4,
        gamma: float = 1.0,
        gae_lambda: float = 0.95,
        clip_range: float = 0.2,
        normalize_advantage: bool = True,
        ent_coef: float = 0.01,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        target_kl: float | None = None,
        norm_reward: bool = True,
        net_arch: list[int] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(budget, gamma=gamma, norm_reward=norm_reward, net_arch=net_arch, seed=seed)
        at_least(1, n_steps=n_steps, batch_size=batch_size, n_epochs=n_epochs)
        at_least(0, ent_coef=ent_coef, vf_coef=vf_coef)
        positive(learning_rate=learning_rate, clip_range=clip_range, max_grad_norm=max_grad_norm)
        positive(target_kl=target_kl)
        shares(gae_lambda=gae_lambda)
        self.n_steps, self.batch_size = n_steps, batch_size
        self.settings = {
            "learning_rate": learning_rate,
            "n_epochs": n_epochs,
            "gamma": gamma,
            "gae_lambda": gae_lambda,
            "clip_range": clip_range,
            "normalize_advantage": normalize_advantage,
            "ent_coef": ent_coef,
            "vf_coef": vf_coef,
            "max_grad_norm": max_grad_norm,
            "target_kl": target_kl,
        }

    @override
    def make(self, observation_size: int, actions: int) -> BaseAlgorithm:
        algorithm = MaskablePPO(
            "MlpPolicy",
            None,  # type: ignore[arg-type]  # environments come with the episodes
            n_steps=self.rollout_steps() or 1,
            batch_size=self.batch_size,
            policy_kwargs={"net_arch": self.net_arch},
            device="cpu",
            _init_setup_model=False,
            **self.settings,  # type: ignore[arg-type]
        )
        set_up(algorithm, Box(-BOUND, BOUND, (observation_size,), np.float32), Discrete(actions))
        zero_init(algorithm.policy.value_net)
        return algorithm

    @override
    def wrap(self, env: CalibrationVecEnv) -> VecEnv:
        return env

    @override
    def prepare(self, algorithm: BaseAlgorithm, rows: int) -> int:
        assert isinstance(algorithm, MaskablePPO)
        steps = super().prepare(algorithm, rows)
        # No gradient step may be left with a single transition, as above.
        count = algorithm.n_steps * rows
        algorithm.batch_size = next(
            size for size in range(max(2, min(self.batch_size, count)), count + 2) if count % size != 1
        )
        return steps

    @override
    def predict(
        self, algorithm: BaseAlgorithm, observation: Tensor, mask: Tensor, deterministic: bool
    ) -> NDArray[np.int64]:
        assert isinstance(algorithm, MaskablePPO)
        masks = mask.numpy(force=True)
        return algorithm.predict(
            observation.numpy(force=True), deterministic=deterministic, action_masks=masks
        )[0]


@register("a2c")
class A2cAgent(OnPolicyAgent):
    """Advantage actor-critic from Stable-Baselines3 (Mnih et al., 2016), with masks.

    Without labels it takes the most likely action. If the catalogue has no ``stop``, it has to act up to the
    horizon.

    Args:
        budget: Largest number of evaluations per episode, over all the times that it is played.
        learning_rate: Learning rate of the RMSprop or Adam optimizer.
        n_steps: Number of steps per row between updates of one gradient step each; None is the budget. The
            rest of the budget after the last whole rollout is not spent.
        gamma: Discount factor.
        gae_lambda: Lambda of the generalized advantage estimate; 1 is the plain advantage.
        normalize_advantage: Whether advantages are normalized within each gradient step.
        ent_coef: Coefficient of the entropy bonus.
        vf_coef: Coefficient of the value loss.
        max_grad_norm: Norm to which gradients are clipped.
        use_rms_prop: Whether the optimizer is RMSprop, as in the paper, instead of Adam.
        rms_prop_eps: Number added to RMSprop's denominator.
        norm_reward: Whether rewards are divided by the running standard deviation of returns.
        net_arch: Widths of the hidden layers of policy and value, which share none; None is two of 64.
        seed: Seed of the initial weights.
    """

    def __init__(
        self,
        budget: int = 32,
        *,
        learning_rate: float = 7e-4,
        n_steps: int | None = 8,
        gamma: float = 1.0,
        gae_lambda: float = 0.95,
        normalize_advantage: bool = True,
        ent_coef: float = 0.01,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        use_rms_prop: bool = True,
        rms_prop_eps: float = 1e-5,
        norm_reward: bool = True,
        net_arch: list[int] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(budget, gamma=gamma, norm_reward=norm_reward, net_arch=net_arch, seed=seed)
        at_least(1, n_steps=n_steps)
        at_least(0, ent_coef=ent_coef, vf_coef=vf_coef)
        positive(learning_rate=learning_rate, max_grad_norm=max_grad_norm, rms_prop_eps=rms_prop_eps)
        shares(gae_lambda=gae_lambda)
        self.n_steps = n_steps
        self.settings = {
            "learning_rate": learning_rate,
            "gamma": gamma,
            "gae_lambda": gae_lambda,
            "normalize_advantage": normalize_advantage,
            "ent_coef": ent_coef,
            "vf_coef": vf_coef,
            "max_grad_norm": max_grad_norm,
            "use_rms_prop": use_rms_prop,
            "rms_prop_eps": rms_prop_eps,
        }

    @override
    def make(self, observation_size: int, actions: int) -> BaseAlgorithm:
        algorithm = A2C(
            MaskedActorCriticPolicy,  # type: ignore[arg-type]  # has the same methods, and masks
            None,  # type: ignore[arg-type]  # environments come with the episodes
            n_steps=self.rollout_steps() or 1,
            policy_kwargs={"net_arch": self.net_arch},
            device="cpu",
            _init_setup_model=False,
            **self.settings,  # type: ignore[arg-type]
        )
        set_up(algorithm, masked_space(observation_size, actions), Discrete(actions))
        zero_init(algorithm.policy.value_net)
        return algorithm

    @override
    def wrap(self, env: CalibrationVecEnv) -> VecEnv:
        return MaskInObservation(env)

    @override
    def predict(
        self, algorithm: BaseAlgorithm, observation: Tensor, mask: Tensor, deterministic: bool
    ) -> NDArray[np.int64]:
        return algorithm.predict(to_input(observation, mask), deterministic=deterministic)[0]


class MaskedActorCriticPolicy(MaskableActorCriticPolicy):
    """Masked policy of sb3-contrib for algorithms that pass no masks: it finds them in the observation.

    Args:
        observation_space: Space of observations with masks, ``[O + A]``.
        action_space: Space of ``A`` actions.
        lr_schedule: Schedule of the optimizer's learning rate.
        use_sde: Ignored, as it is not for discrete actions; A2C passes it to every policy.
        settings: Further settings of sb3-contrib's policy.
    """

    def __init__(
        self, observation_space: Box, action_space: Discrete, lr_schedule: Any, use_sde: bool, **settings: Any
    ) -> None:
        self._count = int(action_space.n)
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            features_extractor_class=WithoutMask,
            features_extractor_kwargs={"actions": self._count},
            **settings,
        )

    @override
    def forward(
        self, obs: Tensor, deterministic: bool = False, action_masks: Any = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        return super().forward(obs, deterministic, mask_of(obs, self._count))  # type: ignore[arg-type]

    @override
    def evaluate_actions(
        self, obs: Tensor, actions: Tensor, action_masks: Any = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        return super().evaluate_actions(obs, actions, mask_of(obs, self._count))

    @override
    def get_distribution(self, obs: Any, action_masks: Any = None) -> Any:
        return super().get_distribution(obs, mask_of(obs, self._count))  # type: ignore[arg-type]


def zero_init(layer: nn.Linear) -> None:
    """Set a layer of values to zero: returns are small numbers beside the outputs of a random network."""
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
