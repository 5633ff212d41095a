"""Pure functions that score the edges of a node: what makes one tree search differ from another.

Every function works on one node a row. A new policy is one more function with the signature of `Score`.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Score(Protocol):
    """Scores the visited edges of one node a row; higher is tried first."""

    def __call__(self, values: Tensor, visits: Tensor, prior: Tensor) -> Tensor:
        """Score the edges.

        Args:
            values: Edge values scaled to [0, 1] over the row's tree, `[B, A]`.
            visits: Edge visits, i64 `[B, A]`.
            prior: Preference among the actions, `-inf` where illegal, `[B, A]`.
        """
        ...


def min_max(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Scale values `[B, A]` to [0, 1] by the extremes `[B]` that the row's tree has seen (MuZero, app. B).

    Rewards here have no unit that fits an exploration constant, so the constant is meant for [0, 1]. A row
    that has seen one value only, or none, gets zeros: nothing is known to be better yet.
    """
    spread = (high - low).unsqueeze(-1)  # [B, 1]
    scaled = (values - low.unsqueeze(-1)) / spread
    return torch.where(spread > 0, scaled, torch.zeros_like(values))


def uct(exploration: float) -> Score:
    """UCB1 applied to trees (Kocsis and Szepesvári, 2006): `Q + c · sqrt(ln N / n)`.

    `N` counts the visits of the node: one when it was made, and one for each that went on to a child.
    """

    def score(values: Tensor, visits: Tensor, prior: Tensor) -> Tensor:
        total = 1 + visits.sum(-1, keepdim=True)  # [B, 1]
        return values + exploration * torch.sqrt(torch.log(total.to(values.dtype)) / visits)

    return score


def choose(scores: Tensor, visits: Tensor, prior: Tensor) -> Tensor:
    """The action to walk along, i64 `[B]`: unvisited ones first by prior, then the best score.

    Of equals the lowest index wins. Illegal actions (prior `-inf`) are never unvisited candidates, and never
    visited, so they cannot be chosen in a node that has a legal action.
    """
    untried, first = torch.where(visits == 0, prior, -torch.inf).max(-1)
    best = torch.where(visits == 0, -torch.inf, scores).argmax(-1)
    return torch.where(untried > -torch.inf, first, best)


def most_visited(visits: Tensor, values: Tensor) -> Tensor:
    """The action to make after a search, i64 `[B]`: most visits, of equals the highest value, both `[B, A]`.

    Of equals in both the lowest index wins. Without a single visit the answer is 0.
    """
    most = visits == visits.max(-1, keepdim=True).values
    return torch.where(most & (visits > 0), values, -torch.inf).argmax(-1)
