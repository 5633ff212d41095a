"""Compiled backend of the search: between two steps of the problem, two calls of compiled code."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.search.finite import check_step
from agents.search.kernels.arrays import (
    copy_step,
    empty_state,
    empty_step,
    empty_walk,
    policy_arrays,
    tree_arrays,
)
from agents.search.kernels.simulate import expand_and_backup, select
from agents.search.policies.base import KernelSelector, KernelSpec, Policy
from agents.search.tree import Problem, Tree

DTYPES = (torch.float32, torch.float64)
"""Dtypes of values that the kernels take."""

UNLIMITED = 2**31 - 1


def unsupported(tree: Tree, policy: Policy) -> str | None:
    """Say why the kernels cannot search this tree by this policy; None if they can."""
    if spec_of(policy) is None:
        return "the policy's selectors are plain functions"
    if tree.root.device.type != "cpu":
        return f"the tree is on {tree.root.device}"
    if tree.q_values.dtype not in DTYPES:
        return f"the tree's values are {tree.q_values.dtype}"
    return None


def spec_of(policy: Policy) -> KernelSpec | None:
    """Give what the kernels need to know of a policy, if its selectors have compiled counterparts."""
    root, interior = policy.root, policy.interior
    if not isinstance(root, KernelSelector) or not isinstance(interior, KernelSelector):
        return None
    in_place = root.only_at != "interior" and interior.only_at != "root"
    return root.spec if in_place and root.spec is interior.spec else None


@torch.no_grad()
def simulate(
    tree: Tree, problem: Problem, simulations: int, policy: Policy, discount: float, max_depth: int | None
) -> tuple[Tensor, Tensor]:
    """Run the simulations of ``search``, which checks what goes in.

    Returns:
        The steps and edges of its ``SearchCost``, i64 `[B]`.

    Raises:
        ValueError: A number of a step is NaN or infinite; see ``check_step``.
    """
    spec = spec_of(policy)
    if spec is None:
        raise TypeError(f"{policy}: plain functions cannot be compiled")
    rows = torch.arange(len(tree.root))
    tree.before = tree.visits[rows, tree.root]
    arrays, parameters = tree_arrays(tree), policy_arrays(spec, tree)
    leaf_state = empty_state(tree)
    walk, (room, found) = empty_walk(tree, leaf_state), empty_step(tree)
    depth = UNLIMITED if max_depth is None else max_depth
    is_tensor = isinstance(tree.state, Tensor)
    for _ in range(simulations):
        if not select(arrays, walk, parameters, depth):
            break  # every root is terminal
        # Copies, as a problem may keep what it is given.
        action, needed = torch.from_numpy(walk.action.copy()), torch.from_numpy(walk.needed.copy())
        state = leaf_state.clone() if is_tensor else tree.state[rows, torch.from_numpy(walk.node)]
        step = problem.step(state, action, needed)
        copy_step(step, room)
        if step.prior is None:
            found.prior[:] = tree.order[rows, tree.used % tree.order.shape[1]].numpy()
        if not is_tensor:
            made = (needed & (tree.used < tree.capacity)).nonzero().squeeze(1)
            tree.state[made, tree.used[made]] = step.state[made]
        if not expand_and_backup(arrays, walk, found, discount):
            check_step(step, action, needed, step.terminal | ~step.mask.any(-1), tree.q_values.dtype)
    return torch.from_numpy(walk.steps), torch.from_numpy(walk.edges)
