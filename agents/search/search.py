"""Tree search over a whole batch: walk down, take one step of the problem, back the return up, again.

All rows make each simulation together; the problem is asked once per simulation, for all rows. What a row
ends with depends on that row alone. The simulation is compiled where it can be (``kernels/backend.py``) and
made of tensor operations elsewhere (``simulate.py``); the answer is the same.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from agents.search.compaction import compact
from agents.search.finite import check_roots
from agents.search.kernels.backend import simulate, unsupported
from agents.search.policies.base import Policy
from agents.search.simulate import backup, expand, select
from agents.search.tree import Problem, Tree

Backend = Literal["auto", "torch", "numba"]
"""Backends of a simulation: tensor operations, compiled kernels, or the kernels wherever they can."""


class SearchCost(NamedTuple):
    """Cost of a search, per row.

    Attributes:
        steps: Steps of the problem, i64 `[B]`: simulations that end where one has ended before take none.
        edges: Edges walked in all simulations together, i64 `[B]`; over the simulations it is the mean depth.
    """

    steps: Tensor
    edges: Tensor


def search(
    tree: Tree,
    problem: Problem,
    simulations: int,
    policy: Policy,
    discount: float = 1.0,
    max_depth: int | None = None,
    backend: Backend = "auto",
) -> SearchCost:
    """Grow ``tree`` in place by a number of simulations from its roots.

    A walk ends at an edge without a node, which then costs one step of the problem, at a terminal node, or at
    the greatest depth; the last two are known, are counted once more and cost nothing. Rows with a terminal
    root do nothing.

    A row that has moved on and might run out of room is freed of what it has left behind (``compact``). A row
    without room all the same goes on: what a new edge gives is counted, at the cost of one step, but its node
    is not kept, and no walk goes beyond it. Walks that end there again count the same once more and cost
    nothing, as the problem is deterministic, until there is room: then the node is made, for another step.

    Args:
        tree: Tree from ``init_tree``, or moved on by ``reroot``; what it knows is kept.
        problem: Model that is stepped, once per simulation.
        simulations: Number of simulations.
        policy: Policy that chooses the edges to walk along, such as ``uct(1.0)``.
        discount: Weight of what follows a transition, in [0, 1].
        max_depth: Largest number of edges in a walk, counted from the present root, as in mctx; None for any.
        backend: What simulates: ``"torch"``, tensor operations; ``"numba"``, compiled code, for trees of f32
            or f64 values on the CPU and the policies of this package; or ``"auto"``, the latter where it can.

    Raises:
        ValueError: A negative number of simulations, a discount outside [0, 1], a depth below 1, a policy
            made for another number of simulations, an unknown backend, or one that cannot search this tree;
            or a reward, value or prior that is NaN or infinite, from the root or from a step that was needed,
            naming row and action.
    """
    if simulations < 0:
        raise ValueError(f"simulations={simulations}: must be 0 or more")
    if not 0.0 <= discount <= 1.0:
        raise ValueError(f"discount={discount}: must lie in [0, 1]")
    if max_depth is not None and max_depth < 1:
        raise ValueError(f"max_depth={max_depth}: must be 1 or more, or None for any depth")
    if policy.simulations not in (None, simulations):
        raise ValueError(
            f"simulations={simulations}: the policy was made for {policy.simulations}; make another"
        )
    check_roots(tree)
    if int(tree.used.max()) + simulations > tree.capacity:
        short = (tree.used + simulations > tree.capacity) & (tree.root > 0)
        compact(tree, short)
    if backend not in get_args(Backend):
        raise ValueError(f"backend={backend}: must be auto, torch or numba")
    reason = unsupported(tree, policy)
    if backend == "numba" and reason is not None:
        raise ValueError(f"backend=numba: {reason}, which the kernels cannot search; use auto or torch")
    if backend == "torch" or reason is not None:
        return _search(tree, problem, simulations, policy, discount, max_depth)
    return SearchCost(*simulate(tree, problem, simulations, policy, discount, max_depth))


@torch.no_grad()
def _search(
    tree: Tree, problem: Problem, simulations: int, policy: Policy, discount: float, max_depth: int | None
) -> SearchCost:
    """In tensors."""
    rows = torch.arange(tree.root.shape[0], device=tree.root.device)
    tree.before = tree.visits[rows, tree.root]
    steps, edges = torch.zeros_like(rows), torch.zeros_like(rows)
    tight = int(tree.used.max()) + simulations > tree.capacity
    top = tree.level[rows, tree.root]
    for _ in range(simulations):
        walk = select(tree, policy, max_depth)
        if walk.length == 0:  # every root is terminal
            break
        gain, stepped = expand(tree, walk, problem, discount, tight)
        backup(tree, walk, gain, discount)
        steps += stepped
        edges += (tree.level[rows, walk.node] - top + 1) * ~walk.idle
    return SearchCost(steps, edges)
