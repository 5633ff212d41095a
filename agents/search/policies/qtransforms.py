"""Transforms of edge values to a scale on which they can be added to something else.

Each works on one node per row. ``by_parent_and_siblings`` and ``completed_by_mixed_value`` equal mctx's
transforms of like names (https://github.com/google-deepmind/mctx, ``qtransforms.py``).
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.search.policies.base import Edges

EPSILON = 1e-8
"""Least spread that values are divided by."""


def min_max(edges: Edges) -> Tensor:
    """Scale values to [0, 1] by the extremes that the row's tree has seen, `[B, A]` (MuZero, app. B).

    Rewards here have no unit that fits an exploration constant, so the constant is meant for [0, 1]. A row
    that has seen one value only, or none, gets zeros: nothing is known to be better yet.
    """
    spread = (edges.high - edges.low).unsqueeze(-1)  # [B, 1]
    scaled = (edges.values - edges.low.unsqueeze(-1)) / spread
    return torch.where(spread > 0, scaled, torch.zeros_like(scaled))


def by_parent_and_siblings(edges: Edges) -> Tensor:
    """Scale values to [0, 1] by the extremes of the node's own value and its edges', `[B, A]`.

    The node's value is the mean of its own estimate and the returns of all visits. Unvisited edges get 0.
    """
    visited = edges.visits > 0
    count = edges.visits.sum(-1)
    own = (edges.raw_value + (edges.visits * edges.values).sum(-1)) / (1 + count)
    own = own.unsqueeze(-1)  # [B, 1]
    known = torch.where(visited, edges.values, own)
    low = known.amin(-1, keepdim=True).minimum(own)
    high = known.amax(-1, keepdim=True).maximum(own)
    return (torch.where(visited, edges.values, low) - low) / (high - low).clamp(min=EPSILON)


def completed_by_mixed_value(edges: Edges, value_scale: float = 0.1, maxvisit_init: float = 50.0) -> Tensor:
    """Fill in the values of unvisited edges and scale all to the unit of logits, `[B, A]`.

    An unvisited edge gets a mixture of the node's own estimate and its visited edges' values (Danihelka et
    al., 2022, app. D); all are scaled to [0, 1] and then by ``(maxvisit_init + most visits) · value_scale``
    (eq. 8). As in mctx the mixture counts for the scale even if the edges that have it are illegal ones.
    """
    visited = edges.visits > 0
    count = edges.visits.sum(-1, keepdim=True)  # [B, 1]
    tiny = torch.finfo(edges.prior.dtype).tiny
    weight = (edges.prior.softmax(-1) + tiny) * visited
    # By the prior, over visited edges; 0 where there are none.
    mean = (weight * edges.values).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True).clamp(min=tiny)
    mixed = (edges.raw_value.unsqueeze(-1) + count * mean) / (1 + count)
    completed = torch.where(visited, edges.values, mixed)
    low, high = completed.aminmax(dim=-1, keepdim=True)
    scale = (maxvisit_init + edges.visits.amax(-1, keepdim=True)) * value_scale
    return scale * (completed - low) / (high - low).clamp(min=EPSILON)
