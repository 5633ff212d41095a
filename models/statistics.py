"""What can be said of attention maps in a few numbers: what a calibration policy observes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.haf import AttentionOutput, AttentionState

STATISTICS = ("entropy", "peak", "top4_mass", "spread", "agreement")
"""Names of the last axis of `attention_statistics`."""


def attention_statistics(
    state: AttentionState, output: AttentionOutput, level_sizes: tuple[int, ...], leading: int = 4
) -> Tensor:
    """Statistics of each level's and head's maps, over the tokens and the candidates that score best.

    For one map (a token's attention over a level's nodes): its entropy relative to the uniform map's; its
    largest entry; the mass of its four largest; the root mean squared distance of its mass from its centre,
    in units of the unit sphere; and the overlap (one minus total variation, over regions) with the next
    coarser level's map, zero for levels without regions. Maps are averaged with the tokens' weights.

    Args:
        state: batch ``[B]``.
        output: what HAF made of it.
        level_sizes: nodes at each level.
        leading: how many candidates, best score first, are averaged.

    Returns:
        ``[B, L, H, len(STATISTICS)]`` float32, each within ``[0, 1]`` but spread, which may reach 2.
    """
    best = output.score.topk(min(leading, output.score.shape[1]), dim=1).indices  # [B, K]
    rows = torch.arange(len(best), device=best.device).unsqueeze(1)
    attention = output.attention[rows, best]  # [B, K, H, T, N]
    centers = state.centers[rows, best]  # [B, K, N, 3]
    region = state.region[rows, best]  # [B, K, N]
    regions = int(level_sizes[1])
    maps = attention.split(level_sizes, dim=-1)
    places = centers.split(level_sizes, dim=2)
    membership = torch.nn.functional.one_hot(region, regions + 1)[..., :regions].to(attention)
    by_region = [a @ m.unsqueeze(2) for a, m in zip(maps, membership.split(level_sizes, dim=2), strict=True)]

    per_level = []
    for level, (a, place) in enumerate(zip(maps, places, strict=True)):
        nodes = a.shape[-1]
        entropy = -(a * a.clamp_min(1e-12).log()).sum(-1) / math.log(max(nodes, 2))
        top = a.topk(min(4, nodes), dim=-1).values
        mean = a @ place.unsqueeze(2)  # [B, K, H, T, 3]
        square = a @ place.square().sum(-1)[:, :, None, :, None]  # [B, K, H, T, 1]
        spread = (square.squeeze(-1) - mean.square().sum(-1)).clamp_min(0).sqrt()
        agreement = torch.zeros_like(entropy)
        if level + 1 < len(maps) and nodes >= regions and level_sizes[level + 1] >= regions:
            agreement = 1 - 0.5 * (by_region[level] - by_region[level + 1]).abs().sum(-1)
        per_level.append(torch.stack([entropy, top[..., 0], top.sum(-1), spread, agreement], dim=-1))
    stacked = torch.stack(per_level, dim=1)  # [B, L, K, H, T, F]
    weights = output.token_weights[:, None, None, None, :, None]
    return (stacked * weights).sum(4).mean(2)
