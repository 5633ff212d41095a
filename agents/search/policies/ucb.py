"""Upper-confidence policies, which weigh what an edge has earned against how seldom it was tried.

A new policy is one more function like these: it returns a ``Policy`` of pure functions on ``Edges``. These
two have compiled counterparts as well; a search by a policy without them runs in tensor operations.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.search.policies.base import PUCT, UCT, Edges, KernelSelector, KernelSpec, Policy, finite
from agents.search.policies.qtransforms import by_parent_and_siblings, min_max


def uct(exploration: float) -> Policy:
    """Make UCB1 applied to trees (Kocsis and Szepesvári, 2006).

    An edge scores ``Q + c · sqrt(ln N / n)``, with Q scaled to [0, 1].

    ``N`` counts the visits of the node: one when it was made, and one for each that went on to a child.

    Raises:
        ValueError: The constant is NaN or infinite.
    """
    finite(exploration=exploration)

    def select(edges: Edges) -> Tensor:
        total = 1 + edges.visits.sum(-1, keepdim=True)  # [B, 1]
        values = min_max(edges)
        scores = values + exploration * torch.sqrt(torch.log(total.to(values.dtype)) / edges.visits)
        return choose(scores, edges.visits, edges.prior)

    selector = KernelSelector(select, KernelSpec(UCT, exploration=exploration))
    return Policy(selector, selector)


def puct(pb_c_init: float = 1.25, pb_c_base: float = 19652.0) -> Policy:
    """Make PUCT as in MuZero (Schrittwieser et al., 2020, app. B), equal to ``mctx.muzero_policy``.

    An edge scores ``Q + p · sqrt(N) / (1 + n) · (pb_c_init + ln((N + pb_c_base + 1) / pb_c_base))``, where
    ``p`` is the softmax of the prior over the legal actions and Q is scaled by the node's own extremes. Ties
    are broken by the lowest index.

    Raises:
        ValueError: A parameter is NaN or infinite.
    """
    finite(pb_c_init=pb_c_init, pb_c_base=pb_c_base)

    def select(edges: Edges) -> Tensor:
        total = (1 + edges.visits.sum(-1, keepdim=True)).to(edges.values.dtype)  # [B, 1]
        weight = pb_c_init + torch.log((total + pb_c_base + 1) / pb_c_base)
        bonus = total.sqrt() * weight * edges.prior.softmax(-1) / (edges.visits + 1)
        scores = by_parent_and_siblings(edges) + bonus
        return scores.masked_fill(edges.prior == -torch.inf, -torch.inf).argmax(-1)

    selector = KernelSelector(select, KernelSpec(PUCT, pb_c_init=pb_c_init, pb_c_base=pb_c_base))
    return Policy(selector, selector)


def choose(scores: Tensor, visits: Tensor, prior: Tensor) -> Tensor:
    """Choose the action to walk along, i64 `[B]`: unvisited ones first by prior, then the best score.

    Ties are broken by the lowest index. Illegal actions (prior ``-inf``) are never unvisited candidates, and
    never visited, so they cannot be chosen in a node that has a legal action.
    """
    untried, first = torch.where(visits == 0, prior, -torch.inf).max(-1)
    best = torch.where(visits == 0, -torch.inf, scores).argmax(-1)
    return torch.where(untried > -torch.inf, first, best)
