"""Statistics of attention maps, which a calibration policy observes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.haf import AttentionOutput, AttentionState

STATISTICS = ("entropy", "peak", "top4_mass", "spread", "agreement")
"""Names of the last axis of `attention_statistics`."""

TOP = 4
"""Number of the largest entries of a map that `top4_mass` adds up."""


def attention_statistics(
    state: AttentionState, output: AttentionOutput, level_sizes: tuple[int, ...], leading: int = 4
) -> Tensor:
    """Statistics of each level's and head's maps, over the tokens and the candidates that score best.

    For one map (a token's attention over a level's nodes): its entropy relative to the uniform map's; its
    largest entry; the mass of its four largest; the root mean squared distance of its mass from its center,
    in units of the unit sphere; and the overlap (one minus total variation, over regions) with the next
    coarser level's map, zero for levels without regions. Maps are averaged with the tokens' weights.

    Args:
        state: Batch ``[B]``.
        output: What HAF made of it.
        level_sizes: Nodes at each level.
        leading: How many candidates, best score first, are averaged.

    Returns:
        ``[B, L, H, len(STATISTICS)]`` float32, each within ``[0, 1]`` but spread, which may reach 2.
    """
    best = output.score.topk(min(leading, output.score.shape[1]), dim=1).indices  # [B, K]
    rows = torch.arange(len(best), device=best.device).unsqueeze(1)
    maps = output.attention[rows, best].split(level_sizes, dim=-1)  # each [B, K, H, T, N_l]
    places = state.centers[rows, best].split(level_sizes, dim=2)
    regions = state.region[rows, best].split(level_sizes, dim=2)
    per_level = []
    for level, (attention, place) in enumerate(zip(maps, places, strict=True)):
        agreement = attention.new_zeros(attention.shape[:-1])
        if has_agreement(level, level_sizes):
            agreement = region_overlap(
                attention, maps[level + 1], regions[level], regions[level + 1], level_sizes[1]
            )
        per_level.append(torch.cat([map_statistics(attention, place), agreement.unsqueeze(-1)], dim=-1))
    stacked = torch.stack(per_level, dim=1)  # [B, L, K, H, T, F]
    weights = output.token_weights[:, None, None, None, :, None]
    return (stacked * weights).sum(4).mean(2)


def map_statistics(maps: Tensor, places: Tensor) -> Tensor:
    """Entropy, peak, mass of the four largest, and spread: all of `STATISTICS` but the agreement.

    Args:
        maps: ``[B, K, H, T, N_l]`` that sum to one.
        places: ``[B, K, N_l, 3]`` where the nodes are.

    Returns:
        ``[B, K, H, T, 4]``.
    """
    nodes = maps.shape[-1]
    entropy = torch.special.entr(maps).sum(-1) / math.log(max(nodes, 2))
    top = largest(maps)
    return torch.stack([entropy, top.amax(-1), top.sum(-1), spread(maps, places)], dim=-1)


def largest(maps: Tensor) -> Tensor:
    """The largest entries of maps ``[..., N_l]``, in no order: ``[..., TOP]``, all where there are fewer."""
    return maps.topk(TOP, dim=-1, sorted=False).values if maps.shape[-1] > TOP else maps


def spread(maps: Tensor, places: Tensor) -> Tensor:
    """Root mean square distance of maps' mass from its center, ``[B, K, H, T]``; see `map_statistics`."""
    columns = torch.cat([places, places.square().sum(-1, keepdim=True)], dim=-1)  # [B, K, N_l, 4]
    x, y, z, square = (maps @ columns.unsqueeze(2)).unbind(-1)
    return (square - x * x - y * y - z * z).clamp_min(0).sqrt()


def has_agreement(level: int, level_sizes: tuple[int, ...]) -> bool:
    """Whether a level and the next coarser one both have a node for each region."""
    regions = level_sizes[1]
    return level + 1 < len(level_sizes) and min(level_sizes[level], level_sizes[level + 1]) >= regions


def region_overlap(
    fine: Tensor, coarse: Tensor, fine_region: Tensor, coarse_region: Tensor, regions: int
) -> Tensor:
    """One minus the total variation of two levels' maps over regions, ``[B, K, H, T]``.

    Args:
        fine: ``[B, K, H, T, N_l]``.
        coarse: ``[B, K, H, T, N_l+1]``.
        fine_region: ``[B, K, N_l]`` int64, ``regions`` for a node without one.
        coarse_region: ``[B, K, N_l+1]`` int64.
        regions: ``R``.
    """
    masses = []
    for maps, region in ((fine, fine_region), (coarse, coarse_region)):
        member = (region.unsqueeze(-1) == torch.arange(regions, device=region.device)).to(maps)
        masses.append(maps @ member.unsqueeze(2))  # [B, K, H, T, R]
    return 1 - 0.5 * (masses[0] - masses[1]).abs().sum(-1)
