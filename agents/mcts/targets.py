"""Training targets from searches with labels, which fill the replay buffer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.search import Summary, Tree

TEMPERATURE = 0.1
"""Share of the spread of a tree's returns by which an action must fall behind to count e times less."""


class SearchTarget(NamedTuple):
    """Targets from one move of a search.

    Attributes:
        learned: Rows that there is something to learn from, bool ``[B]``.
        rows: Tensors for the replay buffer by name, ``[B, ...]`` each.
    """

    learned: Tensor
    rows: dict[str, Tensor]


def visits_by_return(summary: Summary, tree: Tree) -> Tensor:
    """Visits of the actions at the roots, weighted by the best return of each, ``[B, A]``.

    At a budget of a few visits per action, most of what a search has found out is in the returns.
    """
    behind = summary.best - summary.best.amax(-1, keepdim=True)
    spread = (tree.high - tree.low).clamp_min(1e-9).unsqueeze(-1)
    return torch.where(summary.visits > 0, summary.visits * (behind / (TEMPERATURE * spread)).exp(), 0.0)
