"""A family of actions in one file: all levels sharper or softer at once."""

from __future__ import annotations

from torch import Tensor

from envs import AttentionDims, Episode, Family, Invalidation
from envs.actions.families import register
from models import Calibration


@register
class ContrastFamily(Family):
    """One entry, ``E = 1``: the sharpness of the attention at every level."""

    name = "contrast"
    reach = Invalidation.ALL
    step = 0.25

    def names(self, dims: AttentionDims) -> list[tuple[str, str]]:
        """The step up and the step down in words."""
        return [("sharpen every level", "soften every level")]

    def value(self, calibration: Calibration, episode: Episode) -> Tensor:
        """How far it has been changed, ``[B, 1]``."""
        return calibration.temperature.mean(-1, keepdim=True)

    def add(self, calibration: Calibration, episode: Episode, change: Tensor) -> None:
        """Changes the calibration in place by ``[B, 1]``."""
        calibration.temperature += change

    def useful(self, episode: Episode, dims: AttentionDims) -> Tensor:
        """Where it could make a difference, bool ``[B, 1]``."""
        return episode.group_mask.any(-1, keepdim=True)
