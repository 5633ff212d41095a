"""Summary of a search: what it says about its roots."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from agents.search.policies.base import Policy, most_visited
from agents.search.simulate import root_edges
from agents.search.tree import Tree


@dataclass(frozen=True)
class Summary:
    """Statistics of a search at its roots.

    Attributes:
        action: Action to make, i64 `[B]`; 0 in rows with a terminal root.
        visits: Edge visits at the root, i32 `[B, A]`.
        values: Edge values at the root, 0 where unvisited, `[B, A]`.
        best: Largest return found through an edge of the root, ``-inf`` where unvisited, `[B, A]`.
    """

    action: Tensor
    visits: Tensor
    values: Tensor
    best: Tensor

    @property
    def share(self) -> Tensor:
        """Each action's share of the visits, `[B, A]`; zeros without a single visit."""
        return self.visits.to(self.values.dtype) / self.visits.sum(-1, keepdim=True).clamp(min=1)

    @property
    def value(self) -> Tensor:
        """Mean return from the root, `[B]`."""
        return (self.values * self.share).sum(-1)

    @property
    def entropy(self) -> Tensor:
        """Entropy of the visits, in nats, `[B]`."""
        share = self.share
        return -(share * share.clamp(min=torch.finfo(share.dtype).tiny).log()).sum(-1)


def summarize(tree: Tree, policy: Policy | None = None) -> Summary:
    """Read the roots of a tree: the action to make and the search's statistics.

    Args:
        tree: Tree after a search.
        policy: Policy it was searched with, which decides; without it the most visits do.
    """
    edges = root_edges(tree)
    rows = torch.arange(tree.root.shape[0], device=tree.root.device)
    action = most_visited(edges) if policy is None else policy.decide(edges)
    return Summary(
        action=action.masked_fill(tree.terminal[rows, tree.root], 0),
        visits=edges.visits,
        values=edges.values,
        best=tree.best[rows, tree.root],
    )
