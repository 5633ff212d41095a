"""What a search knows of one node a row, and what a policy makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Edges(NamedTuple):
    """The edges of one node a row.

    Attributes:
        values: Mean discounted return through an edge, reward included, 0 where unvisited, `[B, A]`.
        visits: Simulations that went through an edge, i64 `[B, A]`.
        fresh: Those of the present search alone, fewer at a root that was moved to, i64 `[B, A]`.
        prior: Preference among the actions, `-inf` where illegal, `[B, A]`; logits to `puct` and `gumbel`.
        raw_value: The problem's own estimate at the node, `[B]`.
        low: Smallest edge value of the row's tree, `+inf` before the first, `[B]`.
        high: Largest edge value of the row's tree, `-inf` before the first, `[B]`.
    """

    values: Tensor
    visits: Tensor
    search_visits: Tensor
    prior: Tensor
    raw_value: Tensor
    low: Tensor
    high: Tensor


Selector = Callable[[Edges], Tensor]
"""Picks an action a row, i64 `[B]`: a legal one wherever there is one."""


def most_visited(edges: Edges) -> Tensor:
    """The action with the most visits, i64 `[B]`; of equals the highest value.

    Of equals in both the lowest index wins. Without a single visit the answer is 0.
    """
    most = edges.visits == edges.visits.max(-1, keepdim=True).values
    return torch.where(most & (edges.visits > 0), edges.values, -torch.inf).argmax(-1)


def visit_share(edges: Edges) -> Tensor:
    """Each action's share of the visits, `[B, A]`; zeros without a single visit."""
    return edges.visits.to(edges.values.dtype) / edges.visits.sum(-1, keepdim=True).clamp(min=1)


UCT, PUCT, HALVING, IMPROVED = range(4)
"""The kinds of a `KernelSpec`."""


class KernelSpec(NamedTuple):
    """What a selector does, said so that compiled code can do it (`kernels_rules.py`).

    Attributes:
        kind: `UCT`, `PUCT`, or Gumbel's `HALVING` at the root and `IMPROVED` policy below it.
        first: `UCT`: the exploration constant; `PUCT`: `pb_c_init`; Gumbel: `value_scale`.
        second: `PUCT`: `pb_c_base`; Gumbel: `maxvisit_init`.
        noise: `HALVING`: `[B, A]`.
        table: `HALVING`: visits wanted, by legal actions and simulation, i64 `[considered + 1, simulations]`.
    """

    kind: int
    first: float
    second: float = 0.0
    noise: Tensor | None = None
    table: Tensor | None = None


@dataclass(frozen=True)
class KernelSelector:
    """A selector together with its rule.

    A plain function does for a policy of your own; described ones have a compiled counterpart, which the
    search uses on a CPU. Both choose the same actions, and tests hold them to it.
    """

    select: Selector
    rule: KernelSpec

    def __call__(self, edges: Edges) -> Tensor:
        """As the function does."""
        return self.select(edges)


class Policy(NamedTuple):
    """How a search walks, decides and teaches: what makes one tree search differ from another.

    Attributes:
        root: Picks the action to walk along at the roots.
        interior: Does so at all other nodes.
        decide: Picks the action to make after the search, from the roots' edges.
        target: Weights of the roots' actions that a network should imitate, `[B, A]`.
        simulations: Simulations a search must have, where the policy plans ahead; None if any number will do.
    """

    root: Selector
    interior: Selector
    decide: Selector = most_visited
    target: Callable[[Edges], Tensor] = visit_share
    simulations: int | None = None
