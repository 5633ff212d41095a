"""Interface of policies: what a search knows of one node per row, and what a policy makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor


class Edges(NamedTuple):
    """The edges of one node per row.

    Attributes:
        values: Mean discounted return through an edge, reward included, 0 where unvisited, `[B, A]`.
        visits: Simulations that went through an edge, i64 `[B, A]`.
        search_visits: Visits of the present search alone, fewer at a root that was moved to, i64 `[B, A]`.
        prior: Preference among the actions, ``-inf`` where illegal, `[B, A]`; for ``puct`` and ``gumbel``
            the logits of a policy.
        raw_value: The problem's own estimate at the node, `[B]`.
        low: Smallest edge value of the row's tree, ``+inf`` before the first, `[B]`.
        high: Largest edge value of the row's tree, ``-inf`` before the first, `[B]`.
    """

    values: Tensor
    visits: Tensor
    search_visits: Tensor
    prior: Tensor
    raw_value: Tensor
    low: Tensor
    high: Tensor


Selector = Callable[[Edges], Tensor]
"""Picks an action per row, i64 `[B]`: a legal one wherever there is one."""


def most_visited(edges: Edges) -> Tensor:
    """Pick the action with the most visits, i64 `[B]`.

    Ties are broken by the highest value, and then by the lowest index. Without any visit it is 0.
    """
    most = edges.visits == edges.visits.max(-1, keepdim=True).values
    return torch.where(most & (edges.visits > 0), edges.values, -torch.inf).argmax(-1)


def visit_share(edges: Edges) -> Tensor:
    """Give each action's share of the visits, `[B, A]`; zeros without a single visit."""
    return edges.visits.to(edges.values.dtype) / edges.visits.sum(-1, keepdim=True).clamp(min=1)


def finite(**numbers: float | Tensor) -> None:
    """Refuse parameters of a policy that would make all its scores NaN.

    Raises:
        ValueError: One is NaN or infinite; of noise `[B, A]`, naming row and action.
    """
    for name, number in numbers.items():
        if isinstance(number, Tensor):
            if not bool(number.isfinite().all()):
                row, action = (~number.isfinite()).nonzero()[0].tolist()
                raise ValueError(
                    f"row {row}: the {name} of action {action} is {number[row, action].item()}, "
                    "expected a finite number"
                )
        elif not math.isfinite(number):
            raise ValueError(f"{name}={number}: expected a finite number")


UCT, PUCT, GUMBEL = range(3)
"""The kinds of a ``KernelSpec``."""


@dataclass(frozen=True, eq=False)
class KernelSpec:
    """The parameters of a policy that has compiled selectors (``kernels/policies.py``).

    Attributes:
        kind: ``UCT``, ``PUCT`` or ``GUMBEL``, which have the parameters that follow.
        exploration: The constant of ``uct``.
        pb_c_init: Parameter of ``puct`` by this name.
        pb_c_base: Parameter of ``puct`` by this name.
        value_scale: Parameter of ``gumbel`` by this name.
        maxvisit_init: Parameter of ``gumbel`` by this name.
        noise: Gumbel noise, `[B, A]`.
        visits_table: Visits wanted by legal actions and simulation, i64 `[considered + 1, simulations]`.
    """

    kind: int
    exploration: float = math.nan
    pb_c_init: float = math.nan
    pb_c_base: float = math.nan
    value_scale: float = math.nan
    maxvisit_init: float = math.nan
    noise: Tensor | None = None
    visits_table: Tensor | None = None


@dataclass(frozen=True)
class KernelSelector:
    """A selector with a compiled counterpart, which a search on the CPU uses; both choose the same actions.

    A plain function does for a policy of your own.

    Attributes:
        select: The selector in tensors.
        spec: The policy that it belongs to.
        only_at: Where it may stand: ``"root"`` or ``"interior"``; None for both.
    """

    select: Selector
    spec: KernelSpec
    only_at: Literal["root", "interior"] | None = None

    def __call__(self, edges: Edges) -> Tensor:
        """Pick an action per row, as ``select`` does."""
        return self.select(edges)


class Policy(NamedTuple):
    """Rules by which a search walks, decides and teaches: what makes one tree search differ from another.

    Attributes:
        root: Selector of the action to walk along at the roots.
        interior: Selector of the action to walk along at all other nodes.
        decide: Selector of the action to make after the search, from the roots' edges.
        target: Weights of the roots' actions that a network should imitate, `[B, A]`.
        simulations: Number of simulations a search must have, where the policy plans ahead; None for any.
    """

    root: Selector
    interior: Selector
    decide: Selector = most_visited
    target: Callable[[Edges], Tensor] = visit_share
    simulations: int | None = None
