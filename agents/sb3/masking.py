"""Action masks within observations, for algorithms of Stable-Baselines3 that do not support masks.

The environment appends the mask to the observation, and the network's first layer takes it off again. So
everything that is computed from an observation can be masked: the policy when it acts and when it learns, and
the values of the next state. An illegal action is never taken.
"""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch import Tensor

from envs.adapters.sb3 import CalibrationVecEnv
from envs.observation import BOUND

ILLEGAL = -1e8
"""Value or logit of an illegal action, as in sb3-contrib; finite, so that zero times it is zero."""


def masked_space(observation_size: int, actions: int) -> Box:
    """Space of observations with masks appended, ``[O + A]``."""
    return Box(-BOUND, BOUND, (observation_size + actions,), np.float32)


class MaskInObservation(VecEnvWrapper):
    """Environment whose observations have the mask, 0 or 1, appended, ``[B, O + A]``.

    Args:
        venv: The environment that is wrapped.
    """

    venv: CalibrationVecEnv

    def __init__(self, venv: CalibrationVecEnv) -> None:
        core = venv.core
        super().__init__(venv, observation_space=masked_space(core.observation_size, core.actions))

    def reset(self) -> NDArray[np.float32]:
        """Observations of new episodes."""
        return self._with_masks(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        """Step the environment. In a terminal observation no action is legal."""
        observation, reward, done, infos = self.venv.step_wait()
        for row in np.flatnonzero(done):
            last = infos[row]["terminal_observation"]
            nothing = np.zeros(self.venv.core.actions, np.float32)
            infos[row]["terminal_observation"] = np.concatenate([last, nothing])
        assert isinstance(observation, np.ndarray)
        return self._with_masks(observation), reward, done, infos

    def _with_masks(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate([observation, self.venv.action_masks().astype(np.float32)], axis=1)


class WithoutMask(BaseFeaturesExtractor):
    """Features extractor that drops the mask from an observation.

    Args:
        observation_space: Space of observations with masks.
        actions: Number of actions, ``A``.
    """

    def __init__(self, observation_space: Box, actions: int) -> None:
        super().__init__(observation_space, observation_space.shape[0] - actions)
        self.actions = actions

    def forward(self, observation: Tensor) -> Tensor:
        """Observations ``[B, O]`` of observations with masks ``[B, O + A]``."""
        return observation[:, : -self.actions]


def mask_of(observation: Tensor, actions: int) -> Tensor:
    """Legal actions, bool ``[B, A]``, of observations with masks ``[B, O + A]``."""
    return observation[:, -actions:] > 0.5


def legal(values: Tensor, observation: Tensor) -> Tensor:
    """Values ``[B, A]`` of actions, those of illegal ones replaced by ``ILLEGAL``."""
    return values.masked_fill(~mask_of(observation, values.shape[1]), ILLEGAL)


def draw_legal(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Draw a legal action per row, i64 ``[B]``, from NumPy's global generator, as the library does."""
    keys = np.random.random(masks.shape)  # noqa: NPY002
    return np.where(masks, keys, -1.0).argmax(1)


def to_input(observation: Tensor, mask: Tensor) -> NDArray[np.float32]:
    """Append masks ``[B, A]`` to observations ``[B, O]``: the input ``[B, O + A]`` of these networks."""
    return torch.cat([observation, mask.to(observation.dtype)], dim=1).numpy(force=True)
