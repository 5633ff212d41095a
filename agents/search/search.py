"""Tree search over a whole batch: walk down, take one step of the problem, back the return up, again.

All rows make each simulation together, as tensors; the problem is asked once a simulation, for all rows. What
a row ends with depends on that row alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.search.edges import Edges, Policy, most_visited, visit_share
from agents.search.tree import UNVISITED, Problem, Step, Tree


class Walk(NamedTuple):
    """Where the walks from the roots ended: an edge a row, `[B]` each.

    Attributes:
        node: Last node that was passed.
        action: Action chosen there.
        child: Node it leads to; `UNVISITED` where it is still to be made or there was no room for it, else a
            terminal node.
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
        steps: Steps of the problem, i64 `[B]`: simulations that end where one has ended before take none.
        edges: Edges walked in all simulations together, i64 `[B]`; over the simulations it is the mean depth.
    """

    steps: Tensor
    edges: Tensor


def search(tree: Tree, problem: Problem, simulations: int, policy: Policy, discount: float = 1.0) -> Effort:
    """Grow `tree` in place by so many simulations from its roots.

    A walk ends at an edge without a node, which then costs one step of the problem, or at a terminal node,
    whose value is known and costs nothing. Rows with a terminal root do nothing.

    A row without room for more nodes goes on: what a new edge gives is counted, at the cost of one step, but
    its node is not kept, and no walk will ever go beyond it. Walks that end there again count the same once
    more and cost nothing, as the problem is deterministic.

    Args:
        tree: From `plant`, or moved on by `advance`; what it knows is kept.
        problem: The model that is stepped, once a simulation.
        simulations: How many.
        policy: Chooses the edges to walk along, such as `uct(1.0)`.
        discount: Weight of what follows a transition, in [0, 1].

    Raises:
        ValueError: A negative count, a discount outside [0, 1], or a policy for another count.
    """
    if simulations < 0:
        raise ValueError(f"simulations={simulations}: must be 0 or more")
    if not 0.0 <= discount <= 1.0:
        raise ValueError(f"discount={discount}: must lie in [0, 1]")
    if policy.simulations not in (None, simulations):
        raise ValueError(
            f"simulations={simulations}: the policy was made for {policy.simulations}; make another"
        )
    rows = torch.arange(tree.root.shape[0], device=tree.root.device)
    tree.before = tree.visits[rows, tree.root]
    tight = int(tree.used.max()) + simulations > tree.capacity
    steps, edges = torch.zeros_like(rows), torch.zeros_like(rows)
    top = tree.level[rows, tree.root]
    for _ in range(simulations):
        walk = select(tree, policy)
        if walk.length == 0:  # every root is terminal
            break
        gain, stepped = expand(tree, walk, problem, discount, tight)
        backup(tree, walk, gain, discount)
        steps += stepped
        edges += (tree.level[rows, walk.node] - top + 1) * ~walk.idle
    return Effort(steps, edges)


def select(tree: Tree, policy: Policy) -> Walk:
    """Walk down from every root at once.

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
        if not bool(onwards.any()):
            return Walk(node, action, child, idle, 0 if length == 1 and bool(idle.all()) else length)
        length += 1
        node = torch.where(onwards, child, node)
        here = offset + node
        counts = visits.index_select(0, here)  # [B, A]
        edges = Edges(
            values=values.index_select(0, here),
            visits=counts,
            fresh=counts,
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
    no row has to be picked out, and positions beyond `used` mean nothing. Only the edge that leads there is
    kept from them, and the order of untried actions, which is drawn once. Where room may run out (`tight`),
    the rows that make a node are picked out.

    Returns:
        The return of the walk's last edge, `[B]`, and the rows that took a step of the problem, bool `[B]`.
    """
    rows = torch.arange(walk.node.shape[0], device=walk.node.device)
    dtype = tree.q_values.dtype
    edge = (rows, walk.node, walk.action)
    new = (walk.child == UNVISITED) & ~walk.idle & (tree.used < tree.capacity)
    stepped = (walk.child == UNVISITED) & ~walk.idle & (tree.visits[edge] == 0)

    step: Step = problem.step(tree.state[rows, walk.node], walk.action, stepped)
    terminal = step.terminal | ~step.mask.any(-1)
    value = torch.zeros_like(tree.low) if step.value is None else step.value.to(dtype)
    value = value.masked_fill(terminal, 0.0)
    reward = torch.where(stepped, step.reward.to(dtype), tree.rewards[edge])
    # Beyond a terminal node there is nothing; an edge that got no node gives what it gave before.
    known = torch.where(walk.child == UNVISITED, tree.q_values[edge], reward)
    gain = torch.where(stepped, reward + discount * value, known)
    tree.rewards[edge] = reward
    tree.children[edge] = torch.where(new, tree.used, walk.child)

    picked = new if tight else slice(None)
    node = (rows[picked], tree.used[picked])
    order = tree.prior[node]
    prior = order if step.prior is None else step.prior[picked].to(dtype)
    prior = prior.masked_fill(~step.mask[picked], -torch.inf)
    tree.state[node] = step.state[picked]
    tree.parent[node] = walk.node[picked]
    tree.parent_action[node] = walk.action[picked]
    tree.level[node] = tree.level[rows[picked], walk.node[picked]] + 1
    tree.terminal[node] = terminal[picked]
    tree.raw_value[node] = value[picked]
    tree.prior[node] = torch.where(new[picked].unsqueeze(-1), prior, order)
    tree.used = tree.used + new
    return gain, stepped


def backup(tree: Tree, walk: Walk, gain: Tensor, discount: float) -> None:
    """Add the return of each walk to the edges it took, from the last, which gave `gain` `[B]`, upwards."""
    batch, capacity, actions = tree.children.shape
    visits, values, rewards = tree.visits.view(-1), tree.q_values.view(-1), tree.rewards.view(-1)
    best = tree.best.view(-1)
    parent, parent_action = tree.parent.view(-1), tree.parent_action.view(-1)
    offset = torch.arange(0, batch * capacity, capacity, device=visits.device)

    node, action = walk.node, walk.action
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
        action = torch.where(active, parent_action[here], action)
        node = torch.where(active, parent[here], node)
        gain = rewards[(offset + node) * actions + action] + discount * gain
    tree.low, tree.high = low, high


def root_edges(tree: Tree) -> Edges:
    """What is known of the roots, and of the last search's share in it."""
    rows = torch.arange(tree.root.shape[0], device=tree.root.device)
    at = (rows, tree.root)
    visits = tree.visits[at]
    return Edges(
        values=tree.q_values[at],
        visits=visits,
        fresh=visits - tree.before,
        prior=tree.prior[at],
        raw_value=tree.raw_value[at],
        low=tree.low,
        high=tree.high,
    )


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


def summarize(tree: Tree, policy: Policy | None = None) -> Summary:
    """Read the roots of a tree: the action to make and the search's statistics.

    Args:
        tree: After a search.
        policy: The one it was searched with, which decides; without it the most visits do.
    """
    edges = root_edges(tree)
    rows = torch.arange(tree.root.shape[0], device=tree.root.device)
    share = visit_share(edges)
    action = most_visited(edges) if policy is None else policy.decide(edges)
    return Summary(
        action=action.masked_fill(tree.terminal[rows, tree.root], 0),
        visits=edges.visits,
        values=edges.values,
        best=tree.best[rows, tree.root],
        value=(edges.values * share).sum(-1),
        entropy=-(share * share.clamp(min=torch.finfo(share.dtype).tiny).log()).sum(-1),
    )
