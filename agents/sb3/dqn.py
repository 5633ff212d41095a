"""DQN agent from Stable-Baselines3, with masks when it acts, when it explores and in its targets."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import RolloutReturn, TrainFreq
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import Tensor
from typing_extensions import override

from agents.registry import register
from agents.sb3.base import Sb3Agent, set_up
from agents.sb3.masking import MaskInObservation, WithoutMask, draw_legal, legal, masked_space, to_input
from agents.sb3.on_policy import zero_init
from agents.settings import at_least, positive, shares
from envs.adapters.sb3 import CalibrationVecEnv

REPLAYED = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


@register("dqn")
class DqnAgent(Sb3Agent):
    """Deep Q-learning from Stable-Baselines3 (Mnih et al., 2015), with masks.

    Without labels it takes the legal action of the highest value. Values begin at 0, of which ``stop`` is the
    first, so it stops until it has learned better. If the catalogue has no ``stop``, it has to act up to the
    horizon.

    Args:
        budget: Largest number of evaluations per episode, over all the times that it is played.
        learning_rate: Learning rate of the Adam optimizer.
        buffer_size: Capacity of the replay buffer, in transitions.
        learning_starts: Number of transitions with random actions before it learns.
        batch_size: Number of transitions per gradient step.
        tau: Share of the network that the target network takes over in an update.
        gamma: Discount factor.
        train_freq: Number of steps per row between updates.
        gradient_steps: Number of gradient steps per update; -1 is one for each transition since the last.
        target_update_interval: Number of transitions between updates of the target network.
        exploration_initial_eps: Share of random actions at first.
        exploration_final_eps: Share of random actions in the end.
        exploration_steps: Number of transitions over which the share goes from the first to the second.
            Stable-Baselines3 has ``exploration_fraction`` of a training whose length is known beforehand,
            which it is not here.
        max_grad_norm: Norm to which gradients are clipped.
        norm_reward: Whether rewards are divided by the running standard deviation of returns.
        net_arch: Widths of the hidden layers; None is two of 64.
        seed: Seed of the initial weights.
    """

    parts: ClassVar[tuple[str, ...]] = (*Sb3Agent.parts, "replay")
    counters: ClassVar[tuple[str, ...]] = (*Sb3Agent.counters, "_n_calls", "_episode_num")

    def __init__(
        self,
        budget: int = 32,
        *,
        learning_rate: float = 5e-4,
        buffer_size: int = 20_000,
        learning_starts: int = 500,
        batch_size: int = 128,
        tau: float = 1.0,
        gamma: float = 1.0,
        train_freq: int = 4,
        gradient_steps: int = 4,
        target_update_interval: int = 500,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.05,
        exploration_steps: int = 4000,
        max_grad_norm: float = 10.0,
        norm_reward: bool = True,
        net_arch: list[int] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(budget, gamma=gamma, norm_reward=norm_reward, net_arch=net_arch, seed=seed)
        at_least(1, buffer_size=buffer_size, batch_size=batch_size, train_freq=train_freq)
        at_least(1, target_update_interval=target_update_interval, exploration_steps=exploration_steps)
        at_least(0, learning_starts=learning_starts)
        at_least(-1, gradient_steps=gradient_steps)
        positive(learning_rate=learning_rate, max_grad_norm=max_grad_norm)
        shares(tau=tau, exploration_initial_eps=exploration_initial_eps)
        shares(exploration_final_eps=exploration_final_eps)
        self.buffer_size, self.exploration_steps = buffer_size, exploration_steps
        self.settings = {
            "learning_rate": learning_rate,
            "buffer_size": buffer_size,
            "learning_starts": learning_starts,
            "batch_size": batch_size,
            "tau": tau,
            "gamma": gamma,
            "train_freq": train_freq,
            "gradient_steps": gradient_steps,
            "target_update_interval": target_update_interval,
            "exploration_initial_eps": exploration_initial_eps,
            "exploration_final_eps": exploration_final_eps,
            "max_grad_norm": max_grad_norm,
        }

    @override
    def make(self, observation_size: int, actions: int) -> BaseAlgorithm:
        algorithm = MaskedDqn(
            MaskedDqnPolicy,
            None,  # type: ignore[arg-type]  # environments come with the episodes
            replay_buffer_class=RowsReplayBuffer,
            exploration_fraction=1.0,
            policy_kwargs={"net_arch": self.net_arch},
            device="cpu",
            _init_setup_model=False,
            **self.settings,  # type: ignore[arg-type]
        )
        algorithm.exploration_steps = self.exploration_steps
        set_up(algorithm, masked_space(observation_size, actions), Discrete(actions))
        algorithm.update_exploration()
        return algorithm

    @override
    def wrap(self, env: CalibrationVecEnv) -> VecEnv:
        return MaskInObservation(env)

    @override
    def prepare(self, algorithm: BaseAlgorithm, rows: int) -> int:
        return self.budget

    @override
    def predict(
        self, algorithm: BaseAlgorithm, observation: Tensor, mask: Tensor, deterministic: bool
    ) -> NDArray[np.int64]:
        return algorithm.predict(to_input(observation, mask), deterministic=deterministic)[0]

    @override
    def tensors(self, algorithm: BaseAlgorithm) -> dict[str, dict[str, Tensor]]:
        assert isinstance(algorithm, MaskedDqn)
        replay = algorithm.replay_buffer
        assert replay is not None
        kept = {name: torch.from_numpy(getattr(replay, name)[: replay.size()]) for name in REPLAYED}
        kept |= {"next": torch.tensor(replay.pos), "capacity": torch.tensor(replay.buffer_size)}
        return super().tensors(algorithm) | {"replay": kept}

    @override
    def restore(self, algorithm: BaseAlgorithm, parts: dict[str, dict[str, Tensor]]) -> None:
        super().restore(algorithm, parts)
        assert isinstance(algorithm, MaskedDqn)
        replay, kept = algorithm.replay_buffer, parts["replay"]
        assert replay is not None
        if int(kept["capacity"]) != replay.buffer_size:
            raise ValueError(
                f"{self.name}: the state is of agent.buffer_size={int(kept['capacity'])}, but here it is "
                f"{replay.buffer_size}; use equal settings"
            )
        for name in REPLAYED:
            getattr(replay, name)[: len(kept[name])] = kept[name].numpy()
        replay.pos, replay.full = int(kept["next"]), len(kept["rewards"]) == replay.buffer_size
        algorithm.update_exploration()


class MaskedQNetwork(QNetwork):
    """Q-network whose values of illegal actions are ``ILLEGAL``, also in the next state of a target."""

    @override
    def forward(self, obs: Any) -> Tensor:
        return legal(super().forward(obs), obs)


class MaskedDqnPolicy(DQNPolicy):
    """Policy of DQN for observations with masks, ``[O + A]``; values begin at 0."""

    def __init__(self, observation_space: Any, action_space: Any, lr_schedule: Any, **settings: Any) -> None:
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            features_extractor_class=WithoutMask,
            features_extractor_kwargs={"actions": int(action_space.n)},
            **settings,
        )

    @override
    def make_q_net(self) -> QNetwork:
        network = MaskedQNetwork(**self._update_features_extractor(self.net_args, features_extractor=None))
        last = network.q_net[-1]
        assert isinstance(last, torch.nn.Linear)
        zero_init(last)
        return network.to(self.device)


class MaskedDqn(DQN):
    """DQN that explores legal actions only, row by row, for a given number of transitions.

    Attributes:
        exploration_steps: Number of transitions over which exploration falls.
    """

    exploration_steps: int

    def update_exploration(self) -> None:
        """Set the share of random actions by the number of transitions so far."""
        self._update_current_progress_remaining(self.num_timesteps, 0)
        self.exploration_rate = self.exploration_schedule(self._current_progress_remaining)

    @override
    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        self._current_progress_remaining = max(0.0, 1.0 - num_timesteps / self.exploration_steps)

    @override
    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[np.int64], Any]:
        action, state = self.policy.predict(observation, state, episode_start, deterministic=True)
        if deterministic:
            return action, state
        explores = np.random.random(len(observation)) < self.exploration_rate  # noqa: NPY002 - as the library
        return np.where(explores, self._draw(observation), action), state

    @override
    def _sample_action(
        self, learning_starts: int, action_noise: Any = None, n_envs: int = 1
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if self.num_timesteps < learning_starts:
            action = self._draw(self._last_obs)
            return action, action
        return super()._sample_action(learning_starts, action_noise, n_envs)

    @override
    def collect_rollouts(
        self, env: VecEnv, callback: Any, train_freq: TrainFreq, *args: Any, **kwargs: Any
    ) -> RolloutReturn:
        left = -(-(self._total_timesteps - self.num_timesteps) // env.num_envs)  # the budget is kept
        train_freq = TrainFreq(min(train_freq.frequency, left), train_freq.unit)
        return super().collect_rollouts(env, callback, train_freq, *args, **kwargs)

    def _draw(self, observation: Any) -> NDArray[np.int64]:
        assert isinstance(self.action_space, Discrete)
        return draw_legal(observation[:, -int(self.action_space.n) :] > 0.5)


class RowsReplayBuffer(ReplayBuffer):
    """Replay buffer that takes any number of rows at a time; the library's is made for a fixed number."""

    @override
    def add(self, obs: Any, next_obs: Any, action: Any, reward: Any, done: Any, infos: Any) -> None:
        for row, info in enumerate(infos):
            super().add(obs[row], next_obs[row], action[row], reward[row], done[row], [info])
