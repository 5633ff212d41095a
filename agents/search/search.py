"""Tree search over a whole batch: walk down, take one step of the problem, back the return up, again.

All rows make each simulation together, as tensors; the problem is asked once a simulation, for all rows. What
a row ends with depends on that row alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.search.selection import Score, choose, min_max, most_visited
from agents.search.tree import UNVISITED, Problem, Step, Tree


class Walk(NamedTuple):
    """Where the walks from the roots ended: an edge a row, `[B]` each.

    Attributes:
        node: Last node that was passed.
        action: Action chosen there.
        child: Node it leads to; `UNVISITED` where it is still to be made, else a terminal node.
        idle: The root itself is terminal: this row has nothing to do.
        length: Edges of the longest walk, on the host.
    """

    node: Tensor
    action: Tensor
    child: Tensor
    idle: Tensor
    length: int


class Effort(NamedTuple):
    """What a search took, per row.

    Attributes:
        steps: Steps of the problem, i64 `[B]`: simulations that ended at a terminal node take none.
        edges: Edges walked in all simulations together, i64 `[B]`; over the simulations it is the mean depth.
    """

    steps: Tensor
    edges: Tensor


def search(tree: Tree, problem: Problem, simulations: int, score: Score, discount: float = 1.0) -> Effort:
    """Grow `tree` in place by so many simulations from its roots.

    A walk ends at an edge without a node, which then costs one step of the problem, or at a terminal node,
    whose value is known and costs nothing. Rows with a terminal root do nothing.

    Args:
        tree: From `plant`, or moved on by `advance`; what it knows is kept.
        problem: The model that is stepped, once a simulation.
        simulations: How many.
        score: Scores the visited edges of a node, such as `uct(1.0)`.
        discount: Weight of what follows a transition, in [0, 1].

    Raises:
        ValueError: A negative count, a discount outside [0, 1], or a tree without room.
    """
    if simulations < 0:
        raise ValueError(f"simulations={simulations}: must be 0 or more")
    if not 0.0 <= discount <= 1.0:
        raise ValueError(f"discount={discount}: must lie in [0, 1]")
    needed = int(tree.used.max()) + simulations
    if needed > tree.capacity:
        raise ValueError(f"room for {tree.capacity} nodes, but {needed} may be needed; plant a larger tree")
    before = tree.used
    edges = torch.zeros_like(before)
    rows = torch.arange(edges.shape[0], device=edges.device)
    top = tree.level[rows, tree.root]
    for _ in range(simulations):
        walk = select(tree, score)
        if walk.length == 0:  # every root is terminal
            break
        leaf_value = expand(tree, walk, problem)
        backup(tree, walk, leaf_value, discount)
        edges += (tree.level[rows, walk.node] - top + 1) * ~walk.idle
    return Effort(tree.used - before, edges)


def select(tree: Tree, score: Score) -> Walk:
    """Walk down from every root at once.

    A row whose walk has ended stands still and chooses the same edge again, so no row needs to be told apart;
    the loop runs as often as the longest walk has edges.
    """
    batch, capacity, actions = tree.children.shape
    children, visits, values = (
        tree.children.view(-1),
        tree.visits.view(-1, actions),
        tree.q_values.view(-1, actions),
    )
    prior, terminal = tree.prior.view(-1, actions), tree.terminal.view(-1)
    low, high = tree.low, tree.high
    offset = torch.arange(0, batch * capacity, capacity, device=children.device)  # first node of each row

    node = tree.root
    idle = terminal[offset + node]
    length = 0
    while True:
        here = offset + node
        edge_visits = visits.index_select(0, here)  # [B, A]
        edge_prior = prior.index_select(0, here)
        scores = score(min_max(values.index_select(0, here), low, high), edge_visits, edge_prior)
        action = choose(scores, edge_visits, edge_prior)
        child = children.index_select(0, here * actions + action)
        onwards = (child != UNVISITED) & ~idle
        onwards &= ~terminal.index_select(0, offset + child.clamp(min=0))
        # One look at the host an edge: cheaper than to walk on for nothing, on any device.
        going = bool(onwards.any())
        length += 1
        if not going:
            return Walk(node, action, child, idle, 0 if length == 1 and bool(idle.all()) else length)
        node = torch.where(onwards, child, node)


def expand(tree: Tree, walk: Walk, problem: Problem) -> Tensor:
    """Make the node that each walk arrived at; return the leaf's value `[B]`.

    Rows that need no node write to their next free position as well, where the next real node overwrites it:
    no row has to be picked out, and positions beyond `used` mean nothing. Only the edge that leads there is
    kept from them, and the order of untried actions, which is drawn once.
    """
    rows = torch.arange(walk.node.shape[0], device=walk.node.device)
    dtype = tree.q_values.dtype
    new = (walk.child == UNVISITED) & ~walk.idle
    slot = tree.used  # free in every row: `search` has checked the room

    step: Step = problem.step(tree.state[rows, walk.node], walk.action, new)
    terminal = step.terminal | ~step.mask.any(-1)
    value = torch.zeros_like(tree.low) if step.value is None else step.value.to(dtype)
    value = value.masked_fill(terminal, 0.0)
    order = tree.prior[rows, slot]
    prior = (order if step.prior is None else step.prior.to(dtype)).masked_fill(~step.mask, -torch.inf)

    tree.state[rows, slot] = step.state
    tree.parent[rows, slot] = walk.node
    tree.parent_action[rows, slot] = walk.action
    tree.level[rows, slot] = tree.level[rows, walk.node] + 1
    tree.terminal[rows, slot] = terminal
    tree.raw_value[rows, slot] = value
    tree.prior[rows, slot] = torch.where(new.unsqueeze(-1), prior, order)
    edge = (rows, walk.node, walk.action)
    tree.children[edge] = torch.where(new, slot, walk.child)
    tree.rewards[edge] = torch.where(new, step.reward.to(dtype), tree.rewards[edge])
    tree.used = tree.used + new
    return value.masked_fill(~new, 0.0)  # beyond a terminal node there is nothing


def backup(tree: Tree, walk: Walk, leaf_value: Tensor, discount: float) -> None:
    """Add the return of each walk to the edges it took, from its end up to the root."""
    batch, capacity, actions = tree.children.shape
    visits, values, rewards = tree.visits.view(-1), tree.q_values.view(-1), tree.rewards.view(-1)
    best = tree.best.view(-1)
    parent, parent_action = tree.parent.view(-1), tree.parent_action.view(-1)
    offset = torch.arange(0, batch * capacity, capacity, device=visits.device)

    node, action, gain = walk.node, walk.action, leaf_value
    active = ~walk.idle
    low, high = tree.low, tree.high
    for _ in range(walk.length):
        here = offset + node
        edge = here * actions + action
        gain = rewards[edge] + discount * gain
        count = visits[edge] + active
        value = values[edge]
        # Rows that are through change nothing: their count is at least 1 only where they have been.
        value = torch.where(active, value + (gain - value) / count, value)
        visits[edge] = count
        values[edge] = value
        best[edge] = torch.where(active, torch.maximum(best[edge], gain), best[edge])
        low = torch.where(active, torch.minimum(low, value), low)
        high = torch.where(active, torch.maximum(high, value), high)
        active = active & (node != tree.root)
        action = torch.where(active, parent_action[here], action)
        node = torch.where(active, parent[here], node)
    tree.low, tree.high = low, high


class Summary(NamedTuple):
    """What a search says about its roots.

    Attributes:
        action: Action to make, i64 `[B]`; 0 in rows with a terminal root.
        visits: Edge visits at the root, i64 `[B, A]`.
        values: Edge values at the root, 0 where unvisited, `[B, A]`.
        best: Largest return found through an edge of the root, `-inf` where unvisited, `[B, A]`.
        value: Mean return from the root, `[B]`.
        entropy: Of the visits, in nats, `[B]`.
    """

    action: Tensor
    visits: Tensor
    values: Tensor
    best: Tensor
    value: Tensor
    entropy: Tensor


def summarize(tree: Tree) -> Summary:
    """Read the roots of a tree: the action to make and the search's statistics."""
    rows = torch.arange(tree.root.shape[0], device=tree.root.device)
    visits, values = tree.visits[rows, tree.root], tree.q_values[rows, tree.root]
    total = visits.sum(-1)
    share = visits / total.clamp(min=1).unsqueeze(-1)
    entropy = -(share * share.clamp(min=torch.finfo(share.dtype).tiny).log()).sum(-1)
    return Summary(
        action=most_visited(visits, values),
        visits=visits,
        values=values,
        best=tree.best[rows, tree.root],
        value=(values * share).sum(-1),
        entropy=entropy,
    )
