"""Base class of the agents whose algorithms are those of Stable-Baselines3.

An algorithm plays a vector environment made of the given episodes, over and over, until the budget is spent,
and learns as it does anywhere else. It draws from global generators, which are seeded for that time and
restored afterwards (``agents.seeding``). It computes on the CPU, as the library advises for small networks.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import Tensor
from typing_extensions import override

from agents.base import Agent, DecisionProcess, PlanResult, check_sizes
from agents.rollout import Rollout, roll, roll_repeatedly
from agents.seeding import global_seed, seed_from_generator
from agents.settings import shares, widths
from agents.state_tensors import by_part, flat, optimizer_tensors, restore_optimizer
from envs.adapters.sb3 import CalibrationVecEnv

STATISTICS = {
    "train/loss": "loss/total",
    "train/value_loss": "loss/value",
    "train/policy_loss": "loss/policy",
    "train/policy_gradient_loss": "loss/policy",
    "train/entropy_loss": "loss/entropy",
    "train/approx_kl": "policy/kl",
    "train/clip_fraction": "policy/clip_fraction",
    "train/explained_variance": "policy/explained_variance",
    "rollout/exploration_rate": "policy/exploration_rate",
}
"""Statistics that are reported, by their name in the library's log and here."""


class Sb3Agent(Agent):
    """Agent around an algorithm of Stable-Baselines3.

    With ``norm_reward``, rewards are divided by the running standard deviation of returns
    (``VecNormalize``): they are small numbers, and a network that had to find them in their own unit would
    mostly add noise.
    """

    acts_without_labels = True
    parts: ClassVar[tuple[str, ...]] = ("size", "policy", "optimizer", "returns", "counter")
    counters: ClassVar[tuple[str, ...]] = ("num_timesteps", "_n_updates")
    """Counters of the algorithm that go on after a resume."""

    def __init__(
        self,
        budget: int,
        *,
        gamma: float,
        norm_reward: bool,
        net_arch: list[int] | None,
        seed: int,
    ) -> None:
        super().__init__(budget)
        shares(gamma=gamma)
        self.gamma, self.norm_reward, self.seed = gamma, norm_reward, seed
        self.net_arch = widths(net_arch)
        self._algorithm: BaseAlgorithm | None = None
        self._sizes = (0, 0)
        self._returns = RunningMeanStd(shape=())

    @abstractmethod
    def make(self, observation_size: int, actions: int) -> BaseAlgorithm:
        """Make an algorithm, its model set up, for observations of size ``O`` and ``A`` actions."""

    @abstractmethod
    def wrap(self, env: CalibrationVecEnv) -> VecEnv:
        """Wrap the environment as the algorithm needs it."""

    @abstractmethod
    def prepare(self, algorithm: BaseAlgorithm, rows: int) -> int:
        """Adapt the algorithm to a number of rows; the steps per row to play, at most the budget."""

    @abstractmethod
    def predict(
        self, algorithm: BaseAlgorithm, observation: Tensor, mask: Tensor, deterministic: bool
    ) -> NDArray[np.int64]:
        """Choose legal actions ``[B]`` for observations ``[B, O]`` and masks ``[B, A]``."""

    @override
    def plan(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        algorithm = self._bind(core)
        with seed_from_generator(generator):
            choose = self._chooser(algorithm, deterministic=False)
            return roll_repeatedly(core, episode, choose, self.budget)

    @override
    def calibrate(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        return roll(core, episode, self._chooser(self._bind(core), deterministic=True), self.budget)

    @override
    def learn(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        algorithm = self._bind(core)
        rollout = Rollout(core, episode, keep_best=True)
        if rollout.count * self.budget < 2:  # advantages of a single transition have no spread
            return self.plan(core, episode, generator)
        with seed_from_generator(generator):
            steps = self.prepare(algorithm, rollout.count)
            env = self.wrap(CalibrationVecEnv(rollout.count, rows=rollout))
            if self.norm_reward:
                env = VecNormalize(env, norm_obs=False, gamma=self.gamma)
                env.ret_rms = self._returns
            algorithm.n_envs = rollout.count
            algorithm.set_env(env)
            algorithm.set_logger(Logger(None, []))
            algorithm.learn(steps * rollout.count, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]
        algorithm.env = None
        algorithm._vec_normalize_env = None
        logged: dict[str, Any] = algorithm.logger.name_to_value
        statistics = {ours: float(logged[theirs]) for theirs, ours in STATISTICS.items() if theirs in logged}
        return rollout.result({name: value for name, value in statistics.items() if np.isfinite(value)})

    @override
    def export_state(self) -> dict[str, Tensor]:
        if self._algorithm is None:
            return {}
        return flat(**self.tensors(self._algorithm))

    @override
    def import_state(self, state: dict[str, Tensor]) -> None:
        self._algorithm, self._returns = None, RunningMeanStd(shape=())
        if not state:
            return
        parts = by_part(state, self.name, *self.parts)
        try:
            size = parts["size"]
            algorithm = self._new(int(size["observation"]), int(size["actions"]))
            self.restore(algorithm, parts)
        except (KeyError, RuntimeError) as error:
            raise ValueError(
                f"{self.name}: the state does not fit ({str(error).splitlines()[0]}); was it saved with "
                f"another agent.net_arch than {self.net_arch}? Use equal settings"
            ) from error
        self._algorithm = algorithm

    def tensors(self, algorithm: BaseAlgorithm) -> dict[str, dict[str, Tensor]]:
        """Everything that was learned, by part and name."""
        returns = self._returns
        numbers: dict[str, Any] = {"mean": returns.mean, "var": returns.var, "count": returns.count}
        return {
            "size": dict(zip(("observation", "actions"), map(torch.tensor, self._sizes), strict=True)),
            "policy": dict(algorithm.policy.state_dict()),
            "optimizer": optimizer_tensors(algorithm.policy.optimizer),
            "returns": {
                name: torch.tensor(float(number), dtype=torch.float64) for name, number in numbers.items()
            },
            "counter": {name: torch.tensor(int(getattr(algorithm, name))) for name in self.counters},
        }

    def restore(self, algorithm: BaseAlgorithm, parts: dict[str, dict[str, Tensor]]) -> None:
        """Restore what ``tensors`` returned."""
        algorithm.policy.load_state_dict(parts["policy"])
        restore_optimizer(algorithm.policy.optimizer, parts["optimizer"])
        returns = parts["returns"]
        self._returns.mean, self._returns.var = returns["mean"].numpy(), returns["var"].numpy()
        self._returns.count = float(returns["count"])
        for name in self.counters:
            setattr(algorithm, name, int(parts["counter"][name]))

    def _chooser(self, algorithm: BaseAlgorithm, deterministic: bool) -> Any:
        def choose(observation: Tensor, mask: Tensor) -> Tensor:
            action = self.predict(algorithm, observation, mask, deterministic)
            return torch.from_numpy(action).to(mask.device)

        return choose

    def _bind(self, core: DecisionProcess) -> BaseAlgorithm:
        if self._algorithm is None:
            self._algorithm = self._new(core.observation_size, core.actions)
        check_sizes(self.name, self._sizes, core)
        return self._algorithm

    def _new(self, observation_size: int, actions: int) -> BaseAlgorithm:
        self._sizes = (observation_size, actions)
        with global_seed(self.seed):
            return self.make(observation_size, actions)


def set_up(algorithm: BaseAlgorithm, observation_space: Any, action_space: Any) -> None:
    """Set up the model of an algorithm that was made without an environment."""
    algorithm.observation_space, algorithm.action_space = observation_space, action_space
    algorithm.n_envs = 1
    algorithm._setup_model()
