"""Decision process that lets somebody look on: each transition is reported, and a search can be canceled."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import torch
from torch import Tensor
from typing_extensions import override

from envs import CalibrationCore, EnvConfig, EnvState, Episode
from envs.attention.dimensions import Invalidation
from models import Calibration, HierarchicalAttentionFusion

Heard = Callable[[EnvState, int, EnvState], None]
"""Called with a state, an action, and the state that it leads to, batch ``[1]`` each."""


class CancelledError(Exception):
    """The search was broken off."""


class WatchedCore(CalibrationCore):
    """Calibration of a single query, batch ``[1]``, whose transitions are reported one by one.

    Args:
        haf: The frozen model.
        config: Settings of the process.
        heard: Called after each transition that was computed; ``stop``, which changes nothing, is none.
        cancelled: Once it is set, the next transition raises `CancelledError`.
    """

    def __init__(
        self,
        haf: HierarchicalAttentionFusion,
        config: EnvConfig,
        heard: Heard,
        cancelled: Event,
    ) -> None:
        super().__init__(haf, config)
        self._heard, self._cancelled = heard, cancelled

    @override
    def _advance(self, episode: Episode, state: EnvState, action: Tensor, active: Tensor) -> EnvState:
        if self._cancelled.is_set():
            raise CancelledError
        following = super()._advance(episode, state, action, active)
        if bool(active[0]) and int(action[0]) != self.stop:
            self._heard(state, int(action[0]), following)
        return following

    @torch.no_grad()
    def state_under(self, episode: Episode, calibration: Calibration) -> EnvState:
        """The state of an episode under any calibration, as if one step had led there.

        Args:
            episode: Batch ``[1]``.
            calibration: Batch ``[1]``.
        """
        first = self.initial(episode)
        everything = torch.full_like(first.step, int(Invalidation.ALL))
        state = first.clone()
        state.calibration = calibration
        state.evaluation = self.evaluator.update(
            episode.attention, episode.cache, first.evaluation, first.calibration, calibration, everything
        )
        state.kl = self.evaluator.divergence(episode.attention, state.evaluation, calibration)
        state.step = first.step + 1
        state.potentials = self._potentials(episode, state)
        return state
