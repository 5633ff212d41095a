"""Protocols of what adapters play: a decision process like the calibration core, and its source of episodes.

A process may know more than an adapter needs. The functions here ask for that, with what holds without it.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class FunctionalEnv(Protocol):
    """A pure, batched decision process, such as ``CalibrationCore``.

    Episodes have a length and can be indexed by rows. States are tensorclasses of batch size ``[B]`` with an
    entry ``step``, i64 ``[B]``: the steps that were taken.

    It may also have ``terminal(state)`` and ``truncated(state)``, bool ``[B]`` (without them every end is a
    terminal one), ``potential(state)``, ``[B]``, ``reward_names``, the parts of the reward,
    ``observation_names``, ``device``, and ``transition_unchecked``, which is ``transition`` without a check
    that actions are legal.
    """

    @property
    def actions(self) -> int:
        """Number of actions, ``A``."""
        ...

    @property
    def action_names(self) -> list[str]:
        """The actions in words."""
        ...

    @property
    def observation_size(self) -> int:
        """Length of an observation, ``O``."""
        ...

    def initial(self, episode: Any) -> Any:
        """The first state, batch size ``[B]``."""
        ...

    def transition(self, episode: Any, state: Any, action: Tensor, active: Tensor | None = None) -> Any:
        """The next state; rows that are done, or not active, stay as they are."""
        ...

    def reward(
        self, episode: Any, state: Any, action: Tensor, next_state: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The reward of a transition, ``[B]``, and its parts by name."""
        ...

    def observation(self, episode: Any, state: Any) -> Tensor:
        """Observation of an agent, ``[B, O]``."""
        ...

    def mask(self, episode: Any, state: Any) -> Tensor:
        """Legal actions, bool ``[B, A]``."""
        ...

    def done(self, state: Any) -> Tensor:
        """Rows that are over, by either cause, bool ``[B]``."""
        ...


class Source(Protocol):
    """Source of episodes for a process, such as ``HardNegativeEpisodes`` for ``CalibrationCore``."""

    def sample(self, count: int, generator: torch.Generator) -> Any:
        """Draw ``count`` episodes."""
        ...


def transition_legal(core: FunctionalEnv, episode: Any, state: Any, action: Tensor, active: Tensor) -> Any:
    """The next state after actions that are known to be legal in all active rows, so that none is checked."""
    transition = getattr(core, "transition_unchecked", core.transition)
    return transition(episode, state, action, active)


def ends(core: FunctionalEnv, state: Any) -> tuple[Tensor, Tensor]:
    """Rows that ended by themselves, and rows that were cut off at the horizon, bool ``[B]`` each."""
    if hasattr(core, "terminal") and hasattr(core, "truncated"):
        return core.terminal(state), core.truncated(state)
    done = core.done(state)
    return done, torch.zeros_like(done)


def state_info(core: FunctionalEnv, state: Any) -> dict[str, Tensor]:
    """Further information about states, ``[B]`` each: the ``potential``, if the core has one."""
    return {"potential": core.potential(state)} if hasattr(core, "potential") else {}


def reward_names(core: FunctionalEnv) -> tuple[str, ...]:
    """Parts of the reward that are known by name beforehand."""
    return tuple(getattr(core, "reward_names", ()))


def device_of(core: FunctionalEnv) -> torch.device:
    """The device of a process's tensors, the CPU if it does not say."""
    return getattr(core, "device", torch.device("cpu"))
