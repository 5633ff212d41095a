"""Simulation in tensors: down from all roots together, one step of the problem, the returns back up.

It is the reference for ``kernels/``, and what runs on a GPU, for a policy of your own and in unusual dtypes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.search.finite import check_step
from agents.search.policies.base import Edges, Policy
from agents.search.tree import UNVISITED, Problem, Step, Tree


class Walk(NamedTuple):
    """Ends of the walks from the roots: an edge per row, `[B]` each.

    Attributes:
        node: Last node that was passed.
        action: Action chosen there.
        child: Node it leads to: ``UNVISITED`` where it is still to be made or there was no room for it, else
            a terminal node or one at the greatest depth.
        idle: Whether the root itself is terminal, so that this row has nothing to do.
        length: Number of edges of the longest walk, on the host.
    """

    node: Tensor
    action: Tensor
    child: Tensor
    idle: Tensor
    length: int


def select(tree: Tree, policy: Policy, max_depth: int | None = None) -> Walk:
    """Walk down from every root at once, at most ``max_depth`` edges.

    A row whose walk has ended stands still and keeps its edge; the loop runs as often as the longest walk has
    edges.
    """
    batch, capacity, actions = tree.children.shape
    children, visits, values = (
        tree.children.view(-1),
        tree.visits.view(-1, actions),
        tree.q_values.view(-1, actions),
    )
    prior, raw_value, terminal = tree.prior.view(-1, actions), tree.raw_value.view(-1), tree.terminal.view(-1)
    low, high = tree.low, tree.high
    offset = torch.arange(0, batch * capacity, capacity, device=children.device)  # first node of each row

    node = tree.root
    here = offset + node
    idle = terminal.index_select(0, here)
    action = policy.root(root_edges(tree))
    child = children.index_select(0, here * actions + action)
    length = 1
    while True:
        onwards = (child != UNVISITED) & ~idle
        onwards &= ~terminal.index_select(0, offset + child.clamp(min=0))
        # One look at the host an edge: cheaper than to walk on for nothing, on any device.
        if length == max_depth or not bool(onwards.any()):
            return Walk(node, action, child, idle, 0 if length == 1 and bool(idle.all()) else length)
        length += 1
        node = torch.where(onwards, child, node)
        here = offset + node
        counts = visits.index_select(0, here)  # [B, A]
        edges = Edges(
            values=values.index_select(0, here),
            visits=counts,
            search_visits=counts,
            prior=prior.index_select(0, here),
            raw_value=raw_value.index_select(0, here),
            low=low,
            high=high,
        )
        action = torch.where(onwards, policy.interior(edges), action)
        child = children.index_select(0, here * actions + action)


def expand(
    tree: Tree, walk: Walk, problem: Problem, discount: float, tight: bool = False
) -> tuple[Tensor, Tensor]:
    """Make the node that each walk arrived at.

    Rows that need no node write to their next free position as well, where the next real node overwrites it:
    no row has to be picked out, and positions beyond ``used`` mean nothing. Where room may run out
    (``tight``), the rows that make a node are picked out.

    Returns:
        The return of the walk's last edge, `[B]`, and the rows that took a step of the problem, bool `[B]`.

    Raises:
        ValueError: A number of the step is NaN or infinite; see ``check_step``.
    """
    rows = torch.arange(walk.node.shape[0], device=walk.node.device)
    dtype = tree.q_values.dtype
    edge = (rows, walk.node, walk.action)
    open_ = (walk.child == UNVISITED) & ~walk.idle
    new = open_ & (tree.used < tree.capacity)
    stepped = new | (open_ & (tree.visits[edge] == 0))

    step: Step = problem.step(tree.state[rows, walk.node], walk.action, stepped)
    terminal = step.terminal | ~step.mask.any(-1)
    check_step(step, walk.action, stepped, terminal, dtype)
    value = torch.zeros_like(tree.low) if step.value is None else step.value.to(dtype)
    value = value.masked_fill(terminal, 0.0)
    reward = torch.where(stepped, step.reward.to(dtype), tree.rewards[edge])
    # Beyond a terminal node there is nothing; at the greatest depth, what was expected of the node counts
    # once more; an edge that got no node gives what it gave before.
    ahead = tree.raw_value[rows, walk.child.clamp(min=0)]
    known = torch.where(walk.child == UNVISITED, tree.q_values[edge], reward + discount * ahead)
    gain = torch.where(stepped, reward + discount * value, known)
    tree.rewards[edge] = reward
    tree.children[edge] = torch.where(new, tree.used, walk.child).to(tree.children.dtype)

    picked = new if tight else slice(None)
    at, used = rows[picked], tree.used[picked]
    node = (at, used)
    prior = tree.order[at, used % tree.order.shape[1]] if step.prior is None else step.prior[picked].to(dtype)
    tree.state[node] = step.state[picked]
    tree.parent[node] = walk.node[picked].to(tree.parent.dtype)
    tree.parent_action[node] = walk.action[picked].to(tree.parent_action.dtype)
    tree.level[node] = tree.level[at, walk.node[picked]] + 1
    tree.terminal[node] = terminal[picked]
    tree.raw_value[node] = value[picked]
    tree.prior[node] = prior.masked_fill(~step.mask[picked], -torch.inf)
    tree.used = tree.used + new
    return gain, stepped


def backup(tree: Tree, walk: Walk, gain: Tensor, discount: float) -> None:
    """Add the return of each walk to the edges it took, from the last, which gave ``gain`` `[B]`, upwards."""
    batch, capacity, actions = tree.children.shape
    visits, values, rewards = tree.visits.view(-1), tree.q_values.view(-1), tree.rewards.view(-1)
    best = tree.best.view(-1)
    parent, parent_action = tree.parent.view(-1), tree.parent_action.view(-1)
    offset = torch.arange(0, batch * capacity, capacity, device=visits.device)

    node, action = walk.node, walk.action  # i64 [B]
    active = ~walk.idle
    low, high = tree.low, tree.high
    for remaining in reversed(range(walk.length)):
        here = offset + node
        edge = here * actions + action
        count = visits[edge] + active
        value = values[edge]
        # Rows that are through change nothing: their count is at least 1 only where they have been.
        value = torch.where(active, value + (gain - value) / count, value)
        visits[edge] = count
        values[edge] = value
        best[edge] = torch.where(active, torch.maximum(best[edge], gain), best[edge])
        low = torch.where(active, torch.minimum(low, value), low)
        high = torch.where(active, torch.maximum(high, value), high)
        if remaining == 0:
            break
        active = active & (node != tree.root)
        action = torch.where(active, parent_action[here].long(), action)
        node = torch.where(active, parent[here].long(), node)
        gain = rewards[(offset + node) * actions + action] + discount * gain
    tree.low, tree.high = low, high


def root_edges(tree: Tree) -> Edges:
    """Give what is known of the roots, and the last search's share in it."""
    rows = torch.arange(tree.root.shape[0], device=tree.root.device)
    at = (rows, tree.root)
    visits = tree.visits[at]
    return Edges(
        values=tree.q_values[at],
        visits=visits,
        search_visits=visits - tree.before,
        prior=tree.prior[at],
        raw_value=tree.raw_value[at],
        low=tree.low,
        high=tree.high,
    )
