"""Parts that the adapters share: the observation space, render modes, and conversions to and from arrays."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from envs.functional import CalibrationCore
from envs.observation import BOUND
from envs.protocol import FunctionalEnv
from envs.runner import EpisodeRunner

SEED_BOUND = 2**31 - 1
RENDER_MODES = ["rgb_array"]
METADATA: dict[str, Any] = {"render_modes": RENDER_MODES, "render_fps": 2}


def observation_space(core: FunctionalEnv) -> gymnasium.spaces.Box[np.float32]:
    """The space of one row's observations."""
    return gymnasium.spaces.Box(-BOUND, BOUND, (core.observation_size,), np.float32)


def check_render_mode(render_mode: str | None, core: FunctionalEnv) -> str | None:
    """The render mode that was asked for.

    Raises:
        ValueError: There is no such mode, or the process is another one than the calibration of attention.
    """
    if render_mode not in (None, *RENDER_MODES):
        raise ValueError(f"render_mode={render_mode!r}: must be None or 'rgb_array'")
    if render_mode is not None and not isinstance(core, CalibrationCore):
        raise ValueError(f"render_mode={render_mode!r}: only attention is drawn; leave it out")
    return render_mode


def pictures(rows: EpisodeRunner) -> list[NDArray[np.uint8]]:
    """The attention before and after, of every row, uint8 ``[H, W, 3]`` each."""
    from envs.adapters.render import draw

    assert isinstance(rows.core, CalibrationCore)  # see check_render_mode
    return [draw(rows.core, rows.now[row : row + 1]) for row in range(rows.count)]


def draw_generator(random: np.random.Generator) -> torch.Generator:
    """A generator for one draw of episodes, from Gymnasium's own random numbers."""
    return torch.Generator().manual_seed(int(random.integers(SEED_BOUND)))


def to_actions(actions: ArrayLike, device: torch.device) -> Tensor:
    """Actions as a step takes them, i64; a fraction is refused rather than rounded.

    Raises:
        ValueError: Something else than whole numbers.
    """
    given = np.asarray(actions)
    if given.dtype.kind not in "iu":
        raise ValueError(f"actions: expected whole numbers, got {actions!r}")
    return torch.as_tensor(given.astype(np.int64), device=device)


def to_numpy(tensor: Tensor) -> NDArray[Any]:
    """A copy that shares no memory with the state."""
    return tensor.numpy(force=True).copy()
