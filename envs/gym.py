"""The Gymnasium face: one episode at a time over the functional core."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.demo import DemoSource, demo_core
from envs.episodes import Episode, EpisodeSource
from envs.functional import CalibrationCore, EnvConfig, EnvState
from envs.observation import BOUND

ENV_ID = "AttentionCalibration-v0"
SEED_BOUND = 2**31 - 1


class AttentionCalibrationEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """Calibrate the attention of one query, action by action.

    The observation is a float32 vector (`observation_names` says what is where), the action a number of the
    catalogue (`action_names`). An illegal action is a no-op that costs a step, as Gymnasium's agents may take
    any action of the space; agents that know masks find them in `info["action_mask"]` and `action_masks()`.
    `info` has the parts of the reward, see `CalibrationCore.reward`.

    Args:
        core: The decision process; a demonstration one if left out together with `episodes`.
        episodes: Where episodes come from.
        config: Settings of the demonstration core.

    Raises:
        ValueError: A core without episodes or the other way round, or settings for a core that has its own.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own declaration

    def __init__(
        self,
        core: CalibrationCore | None = None,
        episodes: EpisodeSource | None = None,
        config: EnvConfig | None = None,
    ) -> None:
        if (core is None) != (episodes is None):
            raise ValueError("give both core and episodes, or neither for the demonstration")
        if core is not None and config is not None:
            raise ValueError("config is for the demonstration; the given core has its own")
        self.core = core or demo_core(config)
        self.episodes = episodes or DemoSource(self.core)
        self.action_names = self.core.catalogue.names
        self.observation_names = self.core.observation_names
        self.observation_space = gymnasium.spaces.Box(
            -BOUND, BOUND, (self.core.observation_size,), np.float32
        )
        self.action_space = gymnasium.spaces.Discrete(self.core.actions)
        self._episode: Episode | None = None
        self._state: EnvState | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Draw the next episode. `options` are not used."""
        super().reset(seed=seed)
        generator = torch.Generator().manual_seed(int(self.np_random.integers(SEED_BOUND)))
        self._episode = self.episodes.sample(1, generator)
        self._state = self.core.initial(self._episode)
        return self._observe(), self._info()

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Take one action.

        Raises:
            gymnasium.error.ResetNeeded: Before the first `reset`.
        """
        episode, state = self._current()
        mask = self.core.mask(episode, state)
        chosen = torch.tensor([int(action)], device=mask.device)
        legal = bool(mask[0, int(action)])
        if legal:
            following = self.core.transition(episode, state, chosen)
        else:
            following = state.clone()
            following.step = state.step + (~self.core.done(state)).long()
        reward, parts = self.core.reward(episode, state, chosen, following)
        self._state = following
        info = self._info() | {name: float(part[0]) for name, part in parts.items()} | {"legal": legal}
        terminated, truncated = self.core.terminal(following), self.core.truncated(following)
        return self._observe(), float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    def action_masks(self) -> NDArray[np.bool_]:
        """Legal actions, bool `[A]`, under the name that sb3-contrib's MaskablePPO asks for."""
        return self._numpy(self.core.mask(*self._current()))

    def _current(self) -> tuple[Episode, EnvState]:
        if self._episode is None or self._state is None:
            raise gymnasium.error.ResetNeeded("call reset() before step() and action_masks()")
        return self._episode, self._state

    def _observe(self) -> NDArray[np.float32]:
        return self._numpy(self.core.observation(*self._current()))

    def _info(self) -> dict[str, Any]:
        state = self._current()[1]
        return {"action_mask": self.action_masks(), "potential": float(self.core.potential(state)[0])}

    @staticmethod
    def _numpy(tensor: Tensor) -> NDArray[Any]:
        return tensor[0].cpu().numpy()


def register() -> None:
    """Make the environment known to Gymnasium; the core ends episodes itself, so no time limit is added."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(ENV_ID, entry_point="envs.gym:AttentionCalibrationEnv")
