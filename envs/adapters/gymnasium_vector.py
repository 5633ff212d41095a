"""Gymnasium vector adapter: many episodes at once, evaluated together."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

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
from envs.runner import EpisodeRunner, Snapshot, Step
from envs.sources.demo import given_or_demo

Floats = NDArray[np.float32]
Results = tuple[Floats, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


class AttentionCalibrationVectorEnv(VectorEnv[Floats, NDArray[np.int64], NDArray[Any]]):
    """Many environments in one, with the numbers and the ``info`` of Gymnasium's ``SyncVectorEnv``.

    The autoreset mode, stated in ``metadata["autoreset_mode"]``, says what happens to a row that has ended:

    * ``NEXT_STEP``: the next ``step`` ignores its action, and returns the next episode's first observation
      with reward 0;
    * ``SAME_STEP``: the same ``step`` returns the next episode's first observation already; the last one is
      in ``info["final_obs"]``, and the rest of its information in ``info["final_info"]``;
    * ``DISABLED``: nothing, until ``reset(options={"reset_mask": rows})``.

    Masks are in ``info["action_mask"]`` and ``action_masks()``, and belong to the observations returned.
    One seed decides the episodes of all rows; with one row they are those of the single environment.

    Args:
        num_envs: Number of rows, ``B``.
        core: The decision process; a demonstration one if left out together with ``episodes``.
        episodes: Source of the episodes.
        config: Settings of the demonstration core.
        autoreset_mode: An ``AutoresetMode`` or its value.
        render_mode: None or ``rgb_array``.

    Raises:
        ValueError: A core without episodes or the other way round, settings for a core that has its own, a
            number of rows below 1, or an unknown mode of rendering or of autoreset.
    """

    def __init__(
        self,
        num_envs: int = 1,
        core: FunctionalEnv | None = None,
        episodes: Source | None = None,
        config: EnvConfig | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        self.core, self.episodes = given_or_demo(core, episodes, config)
        self.render_mode = check_render_mode(render_mode, self.core)
        self.num_envs = num_envs
        self._rows = EpisodeRunner(self.core, self.episodes, num_envs)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = METADATA | {"autoreset_mode": self.autoreset_mode}
        self.action_names = self.core.action_names
        self.observation_names = getattr(self.core, "observation_names", None)
        self.single_observation_space = observation_space(self.core)
        self.single_action_space = gymnasium.spaces.Discrete(self.core.actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Draw new episodes: for all rows, or for those of ``options["reset_mask"]``, bool ``[B]``.

        Raises:
            ValueError: A reset mask of another shape or type.
            gymnasium.error.ResetNeeded: A reset mask before the first full reset.
        """
        super().reset(seed=seed)
        chosen = np.ones(self.num_envs, dtype=np.bool_)
        if options is not None and "reset_mask" in options:
            chosen = np.asarray(options["reset_mask"])
            if chosen.shape != (self.num_envs,) or chosen.dtype != np.bool_:
                raise ValueError(f"reset_mask: expected bool [{self.num_envs}], got {chosen!r}")
            self._current()
        self._reset_rows(torch.from_numpy(chosen))
        return to_numpy(self._rows.observation()), _info(self._row_info(), chosen)

    def step(self, actions: ArrayLike) -> Results:
        """Take one action per row, i64 ``[B]``.

        Raises:
            gymnasium.error.ResetNeeded: Before the first ``reset``, or, with autoreset disabled, in a row
                that has ended.
            ValueError: Actions of another shape, or one that is not in the space.
        """
        rows = self._current()
        action = to_actions(actions, rows.device)
        ended = rows.now.ended
        if self.autoreset_mode is AutoresetMode.DISABLED and bool(ended.any()):
            which = ended.nonzero().squeeze(1).tolist()
            raise gymnasium.error.ResetNeeded(f"rows {which} have ended; reset them with a reset_mask")
        step = rows.step(action, ~ended)
        ends = to_numpy(step.terminated & ~ended), to_numpy(step.truncated & ~ended)
        stepped, over = to_numpy(~ended), ends[0] | ends[1]
        info: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            self._reset_rows(ended)
        elif self.autoreset_mode is AutoresetMode.SAME_STEP:
            if over.any():
                info = self._final(step, over)
                stepped &= ~over
            self._reset_rows(rows.now.ended)
        info |= _info(self._row_info(), np.ones_like(over)) | _info(_step_info(step), stepped)
        return to_numpy(rows.observation()), to_numpy(step.reward.double()), *ends, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Legal actions, bool ``[B, A]``."""
        return to_numpy(self._current().mask())

    def get_state(self) -> Snapshot:
        """Snapshot of all episodes, batch ``[B]``, to come back to with ``set_state``.

        The same actions will then give the same numbers, until new episodes are drawn: those depend on the
        random numbers of that time. Later steps leave it as it is; treat it as read-only.
        """
        return self._current().snapshot()

    def set_state(self, state: Snapshot) -> None:
        """Go back to what ``get_state`` returned, as often as wanted.

        It may come from another environment with the same core; ``reset`` need not have been called. Rows may
        be put together anew by index, such as one row as many times as there are actions to try.

        Raises:
            ValueError: A state of another number of rows.
        """
        self._rows.restore(state)

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """The attention before and after, of each row, uint8 ``[H, W, 3]``; None without a render mode.

        Raises:
            gymnasium.error.ResetNeeded: Before the first ``reset``.
        """
        return None if self.render_mode is None else tuple(pictures(self._current()))

    def _current(self) -> EpisodeRunner:
        if not self._rows.started:
            raise gymnasium.error.ResetNeeded("call reset() before anything else")
        return self._rows

    def _reset_rows(self, rows: Tensor) -> None:
        if bool(rows.any()):
            self._rows.reset_rows(rows.to(self._rows.device), draw_generator(self.np_random))

    def _final(self, step: Step, over: NDArray[np.bool_]) -> dict[str, Any]:
        """Last observations and information of rows that are over, before they are drawn anew."""
        final = np.full(self.num_envs, None, dtype=object)
        observation = to_numpy(self._rows.observation())
        for row in np.flatnonzero(over):
            final[row] = observation[row]
        final_info = _info(self._row_info() | _step_info(step), over)
        return {"final_obs": final, "_final_obs": over, "final_info": final_info, "_final_info": over.copy()}

    def _row_info(self) -> dict[str, NDArray[Any]]:
        info = {name: to_numpy(value.double()) for name, value in self._rows.state_info().items()}
        return {"action_mask": self.action_masks(), **info}


def _step_info(step: Step) -> dict[str, NDArray[Any]]:
    parts = {name: to_numpy(part.double()) for name, part in step.parts.items()}
    return parts | {"legal": to_numpy(step.legal)}


def _info(values: dict[str, NDArray[Any]], rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Values in Gymnasium's layout: zeros where a row has none, and under ``_name`` the rows that have it."""
    info: dict[str, Any] = {}
    if rows.any():
        for name, value in values.items():
            info[name] = np.where(rows.reshape(-1, *[1] * (value.ndim - 1)), value, np.zeros_like(value))
            info[f"_{name}"] = rows.copy()
    return info
