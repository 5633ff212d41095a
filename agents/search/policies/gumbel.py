"""Gumbel AlphaZero: sequential halving at the root, a deterministic improved policy below it.

Danihelka et al., "Policy improvement by planning with Gumbel" (ICLR 2022); equal to mctx's
``gumbel_muzero_policy``.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from agents.search.policies.base import GUMBEL, Edges, KernelSelector, KernelSpec, Policy, finite
from agents.search.policies.qtransforms import completed_by_mixed_value

LEAST_LOGIT = -1e9
"""A legal action's score does not fall below it, so that it stays apart from what is ruled out."""


def gumbel(
    noise: Tensor,
    simulations: int,
    considered: int = 16,
    value_scale: float = 0.1,
    maxvisit_init: float = 50.0,
) -> Policy:
    """Make the policy of a search with a given number of simulations.

    At the root the ``considered`` legal actions of highest ``noise + logits`` are tried equally often, then
    the better half of them by ``noise + logits + completed Q``, and so on; the action to make is the best of
    those tried most. Below, the action is taken whose share of the visits lags most behind the improved
    policy ``softmax(logits + completed Q)``, which at the root is also the target. At a root that was moved
    to, the halving counts the visits of the present search, and the values are those of all visits.

    Args:
        noise: Gumbel noise times its scale, `[B, A]`; zeros for play without chance.
        simulations: Number of simulations of the search.
        considered: Number of actions at the root to begin with; all legal ones where there are fewer.
        value_scale: Weight of completed values against the logits.
        maxvisit_init: Number of visits added to the largest count in that weight.

    Raises:
        ValueError: A negative count of simulations, no action to be considered, or a number that is NaN or
            infinite.
    """
    if simulations < 0:
        raise ValueError(f"simulations={simulations}: must be 0 or more")
    if considered < 1:
        raise ValueError(f"considered={considered}: must be 1 or more")
    finite(value_scale=value_scale, maxvisit_init=maxvisit_init, noise=noise)
    table = halving_table(considered, simulations, noise.device)

    def improved(edges: Edges) -> Tensor:
        return edges.prior + completed_by_mixed_value(edges, value_scale, maxvisit_init)

    def best(edges: Edges, visits: Tensor, wanted: Tensor) -> Tensor:
        """Pick the best of the actions that have the wanted number `[B, 1]` of these visits `[B, A]`."""
        top = edges.prior.amax(-1, keepdim=True)
        scores = (noise - top + improved(edges)).clamp(min=LEAST_LOGIT)
        ruled_out = (visits != wanted) | (edges.prior == -torch.inf)
        return scores.masked_fill(ruled_out, -torch.inf).argmax(-1)

    def root(edges: Edges) -> Tensor:
        legal = (edges.prior > -torch.inf).sum(-1).clamp(max=considered)
        return best(edges, edges.search_visits, table[legal, edges.search_visits.sum(-1)].unsqueeze(-1))

    def interior(edges: Edges) -> Tensor:
        share = edges.visits / (1 + edges.visits.sum(-1, keepdim=True))
        lag = improved(edges).softmax(-1) - share
        return lag.masked_fill(edges.prior == -torch.inf, -torch.inf).argmax(-1)

    def decide(edges: Edges) -> Tensor:
        visits = (
            edges.search_visits if simulations > 0 else edges.visits
        )  # what an earlier search found out counts
        return best(edges, visits, visits.amax(-1, keepdim=True))

    def target(edges: Edges) -> Tensor:
        legal = edges.prior > -torch.inf
        return torch.where(legal, improved(edges).softmax(-1), 0.0)

    spec = KernelSpec(
        GUMBEL, value_scale=value_scale, maxvisit_init=maxvisit_init, noise=noise, visits_table=table
    )
    return Policy(
        KernelSelector(root, spec, "root"),
        KernelSelector(interior, spec, "interior"),
        decide,
        target,
        simulations,
    )


@lru_cache(maxsize=64)
def halving_table(considered: int, simulations: int, device: torch.device) -> Tensor:
    """Tabulate ``considered_visits`` for 0 to ``considered`` actions, i64 `[considered + 1, simulations]`."""
    rows = [considered_visits(count, simulations) for count in range(considered + 1)]
    return torch.tensor(rows, device=device).view(considered + 1, simulations)


def considered_visits(considered: int, simulations: int) -> tuple[int, ...]:
    """List for each simulation how often the action that it tries was tried before: sequential halving.

    With 4 actions and 8 simulations: 0 0 0 0, then 1 1 for the better half, then 2 2.
    """
    if considered <= 1:
        return tuple(range(simulations))
    phases = math.ceil(math.log2(considered))
    sequence: list[int] = []
    visits, remaining = 0, considered
    while len(sequence) < simulations:
        rounds = max(1, simulations // (phases * remaining))
        for extra in range(rounds):
            sequence += [visits + extra] * remaining
        visits += rounds
        remaining = max(2, remaining // 2)
    return tuple(sequence[:simulations])
