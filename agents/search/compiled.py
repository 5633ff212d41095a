"""The search with its walk compiled: two calls of compiled code a simulation, and the problem between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.search.edges import Described, Policy, Rule
from agents.search.kernels import Array, Ends, Nodes, Outcome, Rules, descend, grow
from agents.search.tree import Problem, Step, Tree

DTYPES = (torch.float32, torch.float64)
"""Of values, that are compiled for."""

UNLIMITED = 2**31 - 1


def supports(tree: Tree, policy: Policy) -> bool:
    """Whether the walk can be compiled: on the CPU, for selectors that say what they do."""
    described = isinstance(policy.root, Described) and isinstance(policy.interior, Described)
    return described and tree.root.device.type == "cpu" and tree.q_values.dtype in DTYPES


def simulate(
    tree: Tree,
    problem: Problem,
    simulations: int,
    policy: Policy,
    discount: float,
    max_depth: int | None,
    steps: Tensor,
    edges: Tensor,
) -> None:
    """As `search`, which checks what goes in; adds what the rows cost to `steps` and `edges`, i64 `[B]`."""
    nodes = arrays_of(tree)
    batch, _, actions = nodes.children.shape
    dtype = tree.q_values.dtype
    rules = rules_of(policy, tree, discount, max_depth)
    node, action = torch.zeros_like(steps), torch.zeros_like(steps)
    needed = torch.zeros_like(steps, dtype=torch.bool)
    ends = Ends(node.numpy(), action.numpy(), needed.numpy(), steps.numpy(), edges.numpy())
    scratch = np.empty(actions, nodes.values.dtype)
    rows = torch.arange(batch)
    zeros, none = np.zeros(batch, nodes.values.dtype), np.zeros((batch, 0), nodes.values.dtype)

    flat = isinstance(tree.state, Tensor)
    states = tree.state.view(-1, *tree.state.shape[2:]) if flat else tree.state
    store = as_bytes(tree.state, batch, tree.capacity) if flat else np.zeros((batch, 1, 0), np.uint8)
    offset = rows * tree.capacity
    for _ in range(simulations):
        if not descend(nodes, rules, ends, scratch):  # every root is terminal
            return
        state = states.index_select(0, offset + node) if flat else tree.state[rows, node]
        step = problem.step(state, action.clamp(min=0), needed.clone())
        outcome = outcome_of(step, dtype, zeros, none)
        if flat:
            following = as_bytes(step.state.to(tree.state.dtype), batch, 1)[:, 0]
        else:
            following = store[:, 0]
            made = needed & (tree.used < tree.capacity)
            tree.state[rows[made], tree.used[made]] = step.state[made]
        grow(nodes, rules, ends, outcome, following, store)


def arrays_of(tree: Tree) -> Nodes:
    """The tree's tensors as arrays, which share their memory; those that cannot are replaced."""
    arrays = []
    for name in Nodes._fields:
        name = "q_values" if name == "values" else name
        tensor = getattr(tree, name)
        if not tensor.is_contiguous():
            tensor = tensor.contiguous()
            setattr(tree, name, tensor)
        arrays.append(tensor.numpy())
    if isinstance(tree.state, Tensor) and not tree.state.is_contiguous():
        tree.state = tree.state.contiguous()
    return Nodes(*arrays)


def rules_of(policy: Policy, tree: Tree, discount: float, max_depth: int | None) -> Rules:
    """What the compiled walk goes by."""
    root, interior = described(policy.root), described(policy.interior)
    empty = np.zeros((0, 0))
    noise = empty if root.noise is None else root.noise.to(torch.float64).contiguous().numpy()
    table = empty.astype(np.int64) if root.table is None else root.table.contiguous().numpy()
    return Rules(
        root=(root.kind, root.first, root.second),
        interior=(interior.kind, interior.first, interior.second),
        noise=noise,
        table=table,
        max_depth=UNLIMITED if max_depth is None else max_depth,
        discount=float(discount),
    )


def described(selector: Any) -> Rule:
    """The rule of a selector that has one."""
    if not isinstance(selector, Described):
        raise TypeError(f"{selector}: does not say what it does")
    return selector.rule


def outcome_of(step: Step, dtype: torch.dtype, zeros: Array, none: Array) -> Outcome:
    """The step's tensors as arrays of the tree's dtype."""

    def array(tensor: Tensor, kind: torch.dtype) -> Array:
        return tensor.detach().to(kind).contiguous().numpy()

    return Outcome(
        reward=array(step.reward, dtype),
        terminal=array(step.terminal, torch.bool),
        mask=array(step.mask, torch.bool),
        value=zeros if step.value is None else array(step.value, dtype),
        prior=none if step.prior is None else array(step.prior, dtype),
    )


def as_bytes(states: Tensor, batch: int, nodes: int) -> Array:
    """States as bytes, uint8 `[B, nodes, bytes]`, whatever they are made of; shares their memory."""
    states = states.detach().contiguous().view(batch, nodes, -1)
    return states.view(torch.uint8).numpy()
