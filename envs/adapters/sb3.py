"""Stable-Baselines3 adapter: many episodes at once for PPO, A2C, DQN and sb3-contrib's MaskablePPO.

Not re-exported by ``envs``, as Stable-Baselines3 takes seconds to import.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from envs.adapters.base import (
    METADATA,
    check_render_mode,
    observation_space,
    pictures,
    to_actions,
    to_numpy,
)
from envs.functional import EnvConfig
from envs.protocol import FunctionalEnv, Source
from envs.runner import EpisodeRunner, Snapshot
from envs.sources.demo import given_or_demo


class CalibrationVecEnv(VecEnv):
    """Vector of environments as Stable-Baselines3 wants it: a row that ends is drawn anew at once.

    ``infos`` of a step have the parts of the reward (see ``CalibrationCore.reward``), ``potential``,
    ``legal``, the ``action_mask`` that goes with the returned observation, ``TimeLimit.truncated``, and in a
    row that has ended ``terminal_observation``; its potential is the one at the end. Masks are also where
    MaskablePPO asks for them, ``env_method("action_masks")``. An illegal action is a no-op that costs a step.
    For returns of whole episodes wrap it in ``VecMonitor``.

    Args:
        num_envs: Number of rows, ``B``.
        core: The decision process; a demonstration one if left out together with ``episodes``.
        episodes: Source of the episodes.
        config: Settings of the demonstration core.
        rows: Runner of ``num_envs`` rows, made by the caller, instead of core, episodes and config.
        render_mode: None or ``rgb_array``.

    Raises:
        ValueError: A core without episodes or the other way round, settings for a core that has its own, or
            fewer than one row.
    """

    def __init__(
        self,
        num_envs: int,
        core: FunctionalEnv | None = None,
        episodes: Source | None = None,
        config: EnvConfig | None = None,
        rows: EpisodeRunner | None = None,
        render_mode: str | None = None,
    ) -> None:
        if rows is None:
            rows = EpisodeRunner(*given_or_demo(core, episodes, config), num_envs)
        elif (core, episodes, config) != (None, None, None) or rows.count != num_envs:
            raise ValueError(f"rows: expected {num_envs} rows, and no core, episodes or config beside them")
        self.core, self.episodes, self._rows = rows.core, rows.episodes, rows
        self._render_mode = check_render_mode(render_mode, self.core)
        self._generator = torch.Generator()
        self._generator.seed()
        self._actions: NDArray[np.int64] | None = None
        self._masks = np.ones((num_envs, self.core.actions), dtype=np.bool_)  # of the first reset, until then
        self._views = [_Row(self, row) for row in range(num_envs)]
        super().__init__(num_envs, observation_space(self.core), gymnasium.spaces.Discrete(self.core.actions))
        self.metadata = METADATA

    def reset(self) -> NDArray[np.float32]:
        """Draw episodes for all rows, ``[B, O]``; after ``seed(s)``, those that ``s`` decides, once."""
        if self._seeds[0] is not None:
            self._generator.manual_seed(self._seeds[0])
        self._reset_seeds()
        self._reset_options()
        self._rows.reset(self._generator)
        self._masks = to_numpy(self._rows.mask())
        self.reset_infos = [{"action_mask": mask} for mask in self.action_masks()]
        return to_numpy(self._rows.observation())

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Keep the actions, i64 ``[B]``, for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Take the actions that were given.

        Raises:
            RuntimeError: Before the first ``reset``, or without actions.
            ValueError: An action that is not in the space, or another number of them.
        """
        rows, actions = self._rows, self._actions
        if actions is None:
            raise RuntimeError("no actions to wait for; call step_async(actions) first, or step(actions)")
        self._actions = None
        step = rows.step(to_actions(actions, rows.device))
        done = to_numpy(step.terminated | step.truncated)
        columns = {name: to_numpy(part.double()).tolist() for name, part in step.parts.items()}
        columns |= {name: to_numpy(value.double()).tolist() for name, value in rows.state_info().items()}
        columns["legal"] = to_numpy(step.legal).tolist()
        columns["TimeLimit.truncated"] = to_numpy(step.truncated).tolist()
        infos: list[dict[str, Any]] = [
            dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
        ]
        observation = to_numpy(rows.observation())
        if done.any():
            rows.reset_rows(step.terminated | step.truncated, self._generator)
            for over in np.flatnonzero(done):
                infos[over]["terminal_observation"] = observation[over]
            observation = to_numpy(rows.observation())
        self._masks = to_numpy(rows.mask())
        for row, mask in enumerate(self.action_masks()):
            infos[row]["action_mask"] = mask
            if done[row]:
                self.reset_infos[row] = {"action_mask": mask}
        return observation, to_numpy(step.reward), done, infos

    def action_masks(self) -> NDArray[np.bool_]:
        """Legal actions, bool ``[B, A]``."""
        return self._masks.copy()

    def get_state(self) -> Snapshot:
        """Episodes and their states, batch ``[B]``, to go back to with ``set_state``; read-only."""
        return self._rows.snapshot()

    def set_state(self, state: Snapshot) -> None:
        """Go back to what ``get_state`` returned, as often as wanted.

        Raises:
            ValueError: A state of another number of rows.
        """
        self._rows.restore(state)
        self._masks = to_numpy(self._rows.mask())

    def close(self) -> None:
        """Nothing is held that needs it."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Of each row: ``action_masks``, ``render_mode``, and what else this environment has as a whole."""
        return [getattr(self._views[row], attr_name) for row in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Rows have nothing that can be set apart.

        Raises:
            AttributeError: Always.
        """
        raise AttributeError(f"{attr_name} cannot be set: rows share one core and one source of episodes")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of each row, such as ``action_masks``, bool ``[A]``."""
        methods = self.get_attr(method_name, indices)
        return [method(*method_args, **method_kwargs) for method in methods]

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None
    ) -> list[bool]:
        """No row is."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """The attention before and after, of each row; None of each without a render mode."""
        return [None] * self.num_envs if self._render_mode is None else pictures(self._rows)


class _Row:
    """One row, as Stable-Baselines3 asks for attributes and methods of single environments."""

    def __init__(self, env: CalibrationVecEnv, row: int) -> None:
        self._env = env
        self._row = row

    def __getattr__(self, name: str) -> Any:
        if name in ("core", "episodes", "observation_space", "action_space"):
            return getattr(self._env, name)
        if name == "render_mode":
            return self._env._render_mode
        if name in ("action_names", "observation_names"):
            return getattr(self._env.core, name, None)
        # Nothing of ``self`` may be asked for here: copies and pickles get here before it has anything.
        raise AttributeError(f"a row of {CalibrationVecEnv.__name__} has no attribute {name!r}")

    def action_masks(self) -> NDArray[np.bool_]:
        return self._env.action_masks()[self._row]
