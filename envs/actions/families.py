"""Families of actions: what of an attention can be changed, one class per family.

A family has entries (a level, a token group, ...), each of which can be stepped up or down. To add a family,
subclass ``Family`` in a file of your own, decorate it with ``register``, and name it in
``EnvConfig.families``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from envs.attention.dimensions import AttentionDims, Invalidation

if TYPE_CHECKING:
    from envs.episode import Episode
    from models import Calibration

STOP = "stop"
"""The action that ends an episode, listed beside the families, and of none."""


class Family(ABC):
    """One kind of change to a calibration: ``E`` entries, each of which goes up or down by a step."""

    name: ClassVar[str]
    reach: ClassVar[Invalidation]
    step: ClassVar[float]
    """Default size of a step: of a strength, or of a logarithm (0.5 is a factor of 1.65)."""

    @abstractmethod
    def names(self, dims: AttentionDims) -> list[tuple[str, str]]:
        """The ``E`` entries in words: (the step up, the step down)."""

    @abstractmethod
    def value(self, calibration: Calibration, episode: Episode) -> Tensor:
        """Change of each entry, ``[B, E]``."""

    @abstractmethod
    def add(self, calibration: Calibration, episode: Episode, change: Tensor) -> None:
        """Change the calibration in place by ``[B, E]``."""

    @abstractmethod
    def useful(self, episode: Episode, dims: AttentionDims) -> Tensor:
        """Entries whose change could make a difference in this episode, bool ``[B, E]``."""


FAMILIES: dict[str, Family] = {}
"""All families by name, in the order in which their actions are listed."""


def register(family: type[Family]) -> type[Family]:
    """Class decorator that makes a family known by its name.

    Raises:
        ValueError: It is called ``stop``, like the action that is of no family.
    """
    if family.name == STOP:
        raise ValueError(f"{family.__name__}: the name {STOP!r} is taken by the action; choose another one")
    FAMILIES[family.name] = family()
    return family


def _everywhere(flags: list[bool], like: Tensor) -> Tensor:
    """The same flags ``[E]`` for every row of ``like``, ``[B, E]``."""
    return torch.tensor(flags, device=like.device).expand(like.shape[0], -1)


class LibraryFamily(Family):
    """Strength of one kind of evidence of the library, see `models.library`: a single entry.

    Attributes:
        evidence: Field of ``AttentionState`` that the strength weighs.
        words: The step up and the step down.
    """

    reach = Invalidation.POOLING
    step = 0.5
    evidence: ClassVar[str]
    words: ClassVar[tuple[str, str]]

    @override
    def names(self, dims: AttentionDims) -> list[tuple[str, str]]:
        return [self.words]

    @override
    def value(self, calibration: Calibration, episode: Episode) -> Tensor:
        strength: Tensor = calibration.get(self.name)
        return strength.unsqueeze(1)

    @override
    def add(self, calibration: Calibration, episode: Episode, change: Tensor) -> None:
        calibration.get(self.name).add_(change.squeeze(1))

    @override
    def useful(self, episode: Episode, dims: AttentionDims) -> Tensor:
        evidence: Tensor = episode.attention.get(self.evidence)
        return evidence.amax(1, keepdim=True) > evidence.amin(1, keepdim=True)


@register
class MemoryFamily(LibraryFamily):
    """Weight of what a memory of known pairs recalls."""

    name = "memory"
    evidence = "recall"
    words = ("recall more", "recall less")


@register
class HubnessFamily(LibraryFamily):
    """Weight of the correction for a candidate's hubness."""

    name = "hubness"
    evidence = "hubness"
    words = ("subtract more hubness", "subtract less hubness")


@register
class LevelFamily(Family):
    """Gates over the levels of the hierarchy."""

    name = "level"
    reach = Invalidation.ALL
    step = 0.7

    @override
    def names(self, dims: AttentionDims) -> list[tuple[str, str]]:
        return [(f"raise level {i + 1}", f"lower level {i + 1}") for i in range(dims.levels)]

    @override
    def value(self, calibration: Calibration, episode: Episode) -> Tensor:
        return calibration.level

    @override
    def add(self, calibration: Calibration, episode: Episode, change: Tensor) -> None:
        calibration.level += change

    @override
    def useful(self, episode: Episode, dims: AttentionDims) -> Tensor:
        return _everywhere([dims.levels > 1] * dims.levels, episode.positives)


@register
class TemperatureFamily(Family):
    """Sharpness of a level's attention."""

    name = "temperature"
    reach = Invalidation.ALL
    step = 0.35

    @override
    def names(self, dims: AttentionDims) -> list[tuple[str, str]]:
        return [(f"sharpen level {i + 1}", f"soften level {i + 1}") for i in range(dims.levels)]

    @override
    def value(self, calibration: Calibration, episode: Episode) -> Tensor:
        return calibration.temperature

    @override
    def add(self, calibration: Calibration, episode: Episode, change: Tensor) -> None:
        calibration.temperature += change

    @override
    def useful(self, episode: Episode, dims: AttentionDims) -> Tensor:
        return _everywhere([size > 1 for size in dims.level_sizes], episode.positives)


@register
class HeadFamily(Family):
    """Weights of a level's heads; entries level by level."""

    name = "head"
    reach = Invalidation.ALL
    step = 0.7

    @override
    def names(self, dims: AttentionDims) -> list[tuple[str, str]]:
        places = [f"head {h + 1} of level {i + 1}" for i in range(dims.levels) for h in range(dims.heads)]
        return [(f"raise {place}", f"lower {place}") for place in places]

    @override
    def value(self, calibration: Calibration, episode: Episode) -> Tensor:
        return calibration.head.flatten(1)

    @override
    def add(self, calibration: Calibration, episode: Episode, change: Tensor) -> None:
        calibration.head += change.view_as(calibration.head)

    @override
    def useful(self, episode: Episode, dims: AttentionDims) -> Tensor:
        return _everywhere([dims.heads > 1] * (dims.levels * dims.heads), episode.positives)


@register
class TokenFamily(Family):
    """Weights by which the groups of tokens count."""

    name = "token"
    reach = Invalidation.POOLING
    step = 0.7

    @override
    def names(self, dims: AttentionDims) -> list[tuple[str, str]]:
        groups = range(1, dims.token_groups + 1)
        return [(f"boost token group {k}", f"suppress token group {k}") for k in groups]

    @override
    def value(self, calibration: Calibration, episode: Episode) -> Tensor:
        return (episode.group_share @ calibration.token.unsqueeze(-1)).squeeze(-1)  # [B, K]

    @override
    def add(self, calibration: Calibration, episode: Episode, change: Tensor) -> None:
        calibration.token += (change.unsqueeze(1) @ episode.group).squeeze(1)  # [B, T]

    @override
    def useful(self, episode: Episode, dims: AttentionDims) -> Tensor:
        real = episode.group_mask  # [B, K]
        return real & (real.sum(-1, keepdim=True) > 1)  # a softmax over one group stays what it is


@register
class AssociationFamily(Family):
    """Token group and region of the paired shape: the paper's own action. Entries group by group."""

    name = "association"
    reach = Invalidation.PAIRED
    step = 1.0

    @override
    def names(self, dims: AttentionDims) -> list[tuple[str, str]]:
        pairs = [(k + 1, r + 1) for k in range(dims.token_groups) for r in range(dims.regions)]
        return [
            (f"enhance token group {k} on region {r}", f"suppress token group {k} on region {r}")
            for k, r in pairs
        ]

    @override
    def value(self, calibration: Calibration, episode: Episode) -> Tensor:
        return (episode.group_share @ calibration.association).flatten(1)  # [B, K * R]

    @override
    def add(self, calibration: Calibration, episode: Episode, change: Tensor) -> None:
        batch, groups, _ = episode.group.shape
        calibration.association += episode.group.transpose(1, 2) @ change.view(batch, groups, -1)

    @override
    def useful(self, episode: Episode, dims: AttentionDims) -> Tensor:
        regions = episode.region_mask  # [B, R]
        regions = regions & (regions.sum(-1, keepdim=True) > 1)
        return (episode.group_mask.unsqueeze(-1) & regions.unsqueeze(1)).flatten(1)
