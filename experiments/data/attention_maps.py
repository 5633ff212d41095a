"""Attention maps on points, lifted from attention on nodes, for pictures and measurements."""

from __future__ import annotations

import torch
from torch import Tensor

from models import AttentionOutput, Calibration, HierarchicalAttentionFusion

LIGHTS = ("fused", "patches", "regions")
"""What attention is lifted from: all levels, or one of those that lie on the surface."""
_LEAST = 1e-30


def token_maps(
    haf: HierarchicalAttentionFusion, output: AttentionOutput, calibration: Calibration | None = None
) -> Tensor:
    """Each token's attention to the nodes of the first candidate, weighed as HAF weighs what it gathers.

    Levels count by the token's gates, heads by their weights.

    Args:
        haf: What made the output.
        output: Of ``B`` texts.
        calibration: The one that the output was made under, batch ``[B]``.

    Returns:
        ``[B, T, N]``, sums to one over all levels.
    """
    heads = haf.head.unsqueeze(0) if calibration is None else haf.head + calibration.head
    weight = torch.einsum("btl,blh->bhtl", output.gates, heads.softmax(-1).expand(len(output.gates), -1, -1))
    maps = output.attention[:, 0].split(haf.level_sizes, dim=-1)  # each [B, H, T, N_l]
    levels = [(m * w.unsqueeze(-1)).sum(1) for m, w in zip(maps, weight.unbind(-1), strict=True)]
    return torch.cat(levels, dim=-1)


def points_of_patches(patch_of_point: Tensor, patches: int, chosen: Tensor | None = None) -> Tensor:
    """Number of points in each patch.

    Args:
        patch_of_point: ``[..., P]`` int64, the patch of each point.
        patches: ``N_0``.
        chosen: ``[..., P]`` bool, the points to count; None counts all.

    Returns:
        ``[..., N_0]`` float.
    """
    counted = torch.ones_like(patch_of_point, dtype=torch.float) if chosen is None else chosen.float()
    empty = counted.new_zeros(*patch_of_point.shape[:-1], patches)
    return empty.scatter_add_(-1, patch_of_point, counted)


def lift(maps: Tensor, region: Tensor, points: Tensor, level_sizes: tuple[int, ...]) -> Tensor:
    """Spreads attention on nodes over the points of the shape.

    A point is as bright as its patch and the patch's region are; at each level the brightness is then scaled
    such that the points together have what the level's nodes had. So attention that is even over the nodes is
    even over the points, although patches and regions differ in how much surface they have. The object's
    nodes are no places on the surface: their attention is left out.

    Args:
        maps: ``[B, T, N]`` attention to nodes, level after level.
        region: ``[B, N_0]`` int64, the region of each patch.
        points: ``[B, N_0]`` how many points each patch has.
        level_sizes: Nodes at each level.

    Returns:
        ``[B, T, N_0]`` the attention of one point of each patch; times ``points`` it sums to the share of the
        attention that is on patches and regions.
    """
    fine, coarse = maps.split(level_sizes, dim=-1)[:2]  # [B, T, N_0], [B, T, N_1]
    inherited = coarse.gather(2, region.unsqueeze(1).expand(-1, coarse.shape[1], -1))
    return _scaled(fine, points, fine.sum(-1)) + _scaled(inherited, points, coarse.sum(-1))


def word_lights(
    haf: HierarchicalAttentionFusion,
    output: AttentionOutput,
    region: Tensor,
    points: Tensor,
    calibration: Calibration | None = None,
) -> dict[str, Tensor]:
    """Where each word of a text looks on the first candidate, as all levels say together and each for itself.

    Args:
        haf: What made the output.
        output: Of ``B`` texts.
        region: ``[B, N_0]`` int64, the region of each patch.
        points: ``[B, N_0]`` how many points each patch has.
        calibration: The one that the output was made under, batch ``[B]``.

    Returns:
        By `LIGHTS`, ``[B, T, N_0]`` the attention of one point of each patch, see `lift`.
    """
    maps = token_maps(haf, output, calibration)
    own = torch.zeros_like(maps).split(haf.level_sizes, dim=-1)
    levels = maps.split(haf.level_sizes, dim=-1)
    found = {LIGHTS[0]: lift(maps, region, points, haf.level_sizes)}
    for number, name in enumerate(LIGHTS[1:]):
        alone = [level if place == number else own[place] for place, level in enumerate(levels)]
        found[name] = lift(torch.cat(alone, dim=-1), region, points, haf.level_sizes)
    return found


def mean_of(lifted: Tensor, tokens: Tensor) -> Tensor:
    """Mean attention ``[B, N_0]`` of the chosen tokens ``[B, T]``; NaN where none is chosen."""
    return torch.einsum("bt,btn->bn", tokens.to(lifted), lifted) / tokens.sum(-1, keepdim=True)


def mass_on_part(attention: Tensor, points: Tensor, on_part: Tensor) -> Tensor:
    """Share ``[B]`` of the attention on points that is on a part.

    Args:
        attention: ``[B, N_0]`` of one point of each patch, see `lift`.
        points: ``[B, N_0]`` points of each patch.
        on_part: ``[B, N_0]`` those that are on the part.
    """
    return (attention * on_part).sum(-1) / (attention * points).sum(-1)


def _scaled(bright: Tensor, points: Tensor, total: Tensor) -> Tensor:
    """Brightness ``[B, T, N_0]`` such that all points together have ``total`` ``[B, T]``."""
    now = torch.einsum("btn,bn->bt", bright, points).clamp_min(_LEAST)
    return bright * (total / now).unsqueeze(-1)
