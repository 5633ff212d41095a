"""Dimensions of what there is to act on, how far an action reaches, and what works it out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, get_args

import torch
from torch import Tensor

Backend = Literal["auto", "torch", "numba"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)


class Invalidation(IntEnum):
    """Scope of the attention that an action touches, and so of what has to be evaluated again."""

    POOLING = 0  # the weights of the tokens at most: no map changes
    PAIRED = 1  # the maps of the paired candidate
    ALL = 2  # the maps of every candidate, or how they are mixed


@dataclass(frozen=True)
class AttentionDims:
    """Dimensions of the attention to act on.

    Attributes:
        level_sizes: Nodes at each level, fine to coarse, `N_l`.
        heads: Attention heads, `H`.
        regions: Regions of a shape, `R`.
        token_groups: Groups that a query's tokens are split into, `K`.
    """

    level_sizes: tuple[int, ...]
    heads: int
    regions: int
    token_groups: int

    @property
    def levels(self) -> int:
        """Levels of the hierarchy, `L`."""
        return len(self.level_sizes)

    @property
    def slices(self) -> list[slice]:
        """Slice of each level's nodes among all `N`."""
        ends = [sum(self.level_sizes[: level + 1]) for level in range(self.levels)]
        return [slice(end - size, end) for end, size in zip(ends, self.level_sizes, strict=True)]

    def level_of(self, like: Tensor) -> Tensor:
        """Which level each node is of, `[N, L]` of 0 and 1, on another tensor's device and in its type."""
        sizes = torch.tensor(self.level_sizes, device=like.device)
        return torch.eye(self.levels, device=like.device, dtype=like.dtype).repeat_interleave(
            sizes, dim=0, output_size=sum(self.level_sizes)
        )
