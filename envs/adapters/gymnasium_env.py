"""Gymnasium adapter: one episode at a time over the functional core."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.adapters.base import (
    METADATA,
    check_render_mode,
    draw_generator,
    observation_space,
    pictures,
    to_actions,
    to_numpy,
)
from envs.functional import EnvConfig
from envs.protocol import FunctionalEnv, Source
from envs.runner import EpisodeRunner, Snapshot
from envs.sources.demo import given_or_demo

ENV_ID = "AttentionCalibration-v0"


class AttentionCalibrationEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """Calibrate the attention of one query, action by action.

    The observation is a float32 vector (``observation_names`` says what is where), the action a number of the
    catalogue (``action_names``). An illegal action is a no-op that costs a step, as Gymnasium's agents may
    take any action of the space; agents that know masks find them in ``info["action_mask"]`` and
    ``action_masks()``. ``info`` has the parts of the reward, see ``CalibrationCore.reward``. With
    ``render_mode="rgb_array"``, ``render`` draws the attention before and after, see
    ``envs.adapters.render.draw``.

    Args:
        core: The decision process; a demonstration one if left out together with ``episodes``.
        episodes: Source of the episodes.
        config: Settings of the demonstration core.
        render_mode: None or ``rgb_array``.

    Raises:
        ValueError: A core without episodes or the other way round, settings for a core that has its own, or
            an unknown render mode.
    """

    metadata = METADATA

    def __init__(
        self,
        core: FunctionalEnv | None = None,
        episodes: Source | None = None,
        config: EnvConfig | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.core, self.episodes = given_or_demo(core, episodes, config)
        self.render_mode = check_render_mode(render_mode, self.core)
        self.action_names = self.core.action_names
        self.observation_names = getattr(self.core, "observation_names", None)
        self.observation_space = observation_space(self.core)
        self.action_space = gymnasium.spaces.Discrete(self.core.actions)
        self._rows = EpisodeRunner(self.core, self.episodes, 1)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Draw the next episode. ``options`` are not used."""
        super().reset(seed=seed)
        self._rows.reset(draw_generator(self.np_random))
        return self._observe(), self._info()

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Take one action.

        Raises:
            gymnasium.error.ResetNeeded: Before the first ``reset``.
            ValueError: An action that is not in the space.
        """
        rows = self._current()
        step = rows.step(to_actions([action], rows.device))
        parts = {name: float(part[0]) for name, part in step.parts.items()}
        info = self._info() | parts | {"legal": bool(step.legal[0])}
        ends = bool(step.terminated[0]), bool(step.truncated[0])
        return self._observe(), float(step.reward[0]), *ends, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Legal actions, bool ``[A]``, under the name that sb3-contrib's MaskablePPO asks for."""
        return to_numpy(self._current().mask()[0])

    def get_state(self) -> Snapshot:
        """Snapshot of the episode, batch ``[1]``, to come back to with ``set_state``.

        The same actions will then give the same numbers. It has the episode and its state, not the random
        numbers: what the next ``reset`` draws does not depend on it. Later steps leave it as it is; treat it
        as read-only.
        """
        return self._current().snapshot()

    def set_state(self, state: Snapshot) -> None:
        """Go back to what ``get_state`` returned, as often as wanted.

        It may come from another environment with the same core; ``reset`` need not have been called.

        Raises:
            ValueError: A state of more than one episode.
        """
        self._rows.restore(state)

    def render(self) -> NDArray[np.uint8] | None:
        """The attention before and after, uint8 ``[H, W, 3]``; None without a render mode.

        Raises:
            gymnasium.error.ResetNeeded: Before the first ``reset``.
        """
        return None if self.render_mode is None else pictures(self._current())[0]

    def _current(self) -> EpisodeRunner:
        if not self._rows.started:
            raise gymnasium.error.ResetNeeded("call reset() before anything else")
        return self._rows

    def _observe(self) -> NDArray[np.float32]:
        return to_numpy(self._rows.observation()[0])

    def _info(self) -> dict[str, Any]:
        info = {name: float(value[0]) for name, value in self._rows.state_info().items()}
        return {"action_mask": self.action_masks(), **info}


def register() -> None:
    """Make the environment known to Gymnasium; the core ends episodes itself, so no time limit is added."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(
            ENV_ID,
            entry_point="envs.adapters.gymnasium_env:AttentionCalibrationEnv",
            vector_entry_point="envs.adapters.gymnasium_vector:AttentionCalibrationVectorEnv",
        )
