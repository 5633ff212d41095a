"""The search with its walk compiled: one call of compiled code a simulation, and one of the problem.

Where the problem's step is compiled as well, a search is a single call, and its rows are searched in blocks
whose trees are small enough to stay in a core's own cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.search.arrays import (
    gather,
    rule_arrays,
    scatter,
    states_array,
    step_arrays,
    tree_array,
)
from agents.search.edges import HALVING, IMPROVED, PUCT, UCT, Described, Policy, Rule, most_visited
from agents.search.jit import Array, CompiledStep
from agents.search.kernels import decide, grow
from agents.search.tree import Tree
from compiling import single_threaded_products

DTYPES = (torch.float32, torch.float64)
"""Of values, that are compiled for."""

PAIRS = ((UCT, UCT), (PUCT, PUCT), (HALVING, IMPROVED))
"""Kinds of rules at the roots and below that are compiled for, in the order in which `grow` takes them."""

UNLIMITED = 2**31 - 1

TENSORS = (
    "root",
    "used",
    "parent",
    "parent_action",
    "level",
    "terminal",
    "raw_value",
    "children",
    "visits",
    "q_values",
    "best",
    "rewards",
    "before",
    "prior",
    "order",
    "low",
    "high",
)
"""Of the tree, in the order in which `grow` takes them."""

DECIDING = ("root", "before", "terminal", "raw_value", "visits", "q_values", "best", "prior")
"""Those that `decide` takes."""

CACHE = 3 * 2**18
"""Bytes of trees that are searched together: they fit a core's own cache."""

FEWEST = 16
"""Rows that are stepped together at least: products of fewer cost more a row."""

Outcome = tuple[Tensor, Tensor, Tensor, Tensor]


def supports(tree: Tree, policy: Policy) -> bool:
    """Whether the walk can be compiled: on the CPU, for selectors that say what they do."""
    return rules_of(policy) is not None and is_plain(tree)


def is_plain(tree: Tree) -> bool:
    """Whether the tree is on the CPU, with values that are compiled for."""
    return tree.q_values.dtype in DTYPES and tree.root.device.type == "cpu"


def rules_of(policy: Policy) -> tuple[Rule, Rule] | None:
    """The rules of the roots and of the other nodes, if they are of a pair that is compiled."""
    if not isinstance(policy.root, Described) or not isinstance(policy.interior, Described):
        return None
    root, interior = policy.root.rule, policy.interior.rule
    return (root, interior) if (root.kind, interior.kind) in PAIRS else None


def simulate(
    tree: Tree,
    problem: Any,
    simulations: int,
    policy: Policy,
    discount: float,
    max_depth: int | None,
) -> tuple[Tensor, Tensor]:
    """As `search`, which checks what goes in; the steps and edges of its `Effort`, i64 `[B]`."""
    rules = rules_of(policy)
    if rules is None:
        raise TypeError(f"{policy}: plain functions cannot be compiled")
    constants, noise, table = rule_arrays(*rules, tree.q_values.dtype)
    kind = rules[0].kind, rules[1].kind
    batch, actions = tree.before.shape
    arrays, states = [tree_array(tree, name) for name in TENSORS], states_array(tree)
    values = tree_array(tree, "q_values").dtype
    leaf, action, depth, steps, edges = np.zeros((5, batch), np.int64)
    needed = np.zeros(batch, np.bool_)
    fixed = (
        *arrays,
        states.view(np.uint8),
        *(constants if kind == pair else None for pair in PAIRS),
        noise,
        table,
        UNLIMITED if max_depth is None else max_depth,
        float(discount),
        *(leaf, action, depth, needed, steps, edges),
    )
    effort = torch.from_numpy(steps), torch.from_numpy(edges)
    # Where a compiled step writes; of one that is not, these stand for what there is before the first.
    there = np.empty((batch, states.shape[1]), states.dtype)
    after, scratch = there.view(np.uint8), np.empty(actions, values)
    outcome: tuple[Array, ...] = (
        np.empty(batch, values),
        np.empty(batch, np.bool_),
        np.empty((batch, actions), np.bool_),
        np.empty(batch, values),
        np.empty((batch, actions), values),
    )
    if isinstance(tree.state, Tensor) and hasattr(problem, "compiled_step"):
        step = checked(problem.compiled_step, states.dtype, values)
        block = rows_together([*arrays, states], batch)
        turns = (0, batch, block, 0, simulations, step, problem.parameters)
        with single_threaded_products():
            grow(*turns, states, np.empty_like(there), there, *fixed, after, *outcome, scratch)
        return effort
    nodes, chosen, stepped = torch.from_numpy(leaf), torch.from_numpy(action), torch.from_numpy(needed)
    with torch.no_grad():
        for number in range(simulations + 1):
            turn = (0, batch, batch, number, simulations, None, None, None, None, None)
            if not grow(*turn, *fixed, after, *outcome, scratch):
                break  # every root is terminal, or this was the last turn
            taken = problem.step(gather(tree, nodes), chosen.clone(), stepped.clone())
            after = scatter(tree, taken.state, stepped)
            outcome = step_arrays(taken, tree.q_values.dtype)
    return effort


def rows_together(arrays: list[Array], batch: int) -> int:
    """Rows of a block."""
    if batch <= FEWEST:
        return FEWEST
    rows = CACHE * batch // sum(array.nbytes for array in arrays)
    return max(FEWEST, 1 << max(rows.bit_length() - 1, 0))


def checked(step: Any, states: np.dtype[Any], values: np.dtype[Any]) -> CompiledStep:
    """The compiled step of a problem.

    Raises:
        ValueError: It is not one, or was made for other dtypes.
    """
    if not isinstance(step, CompiledStep):
        raise ValueError(f"compiled_step: {step!r} is a plain function; put @compiled_step() above it")
    if step.dtypes != (states, values):
        theirs = "{} states and {} values".format(*step.dtypes)
        raise ValueError(
            f"compiled_step: made for {theirs}, but the tree has {states} and {values}; "
            f"use @compiled_step({states}, {values})"
        )
    return step


def outcome(tree: Tree, policy: Policy | None) -> Outcome | None:
    """The action, visits, values and best of a `Summary`, where that is compiled for such a policy."""
    decides = most_visited if policy is None else policy.decide
    if not is_plain(tree):
        return None
    arrays = [tree_array(tree, name) for name in DECIDING]
    constants, noise = None, arrays[5]  # whatever has the right type
    if isinstance(decides, Described) and decides.rule.kind == HALVING:
        constants, noise, _ = rule_arrays(decides.rule, decides.rule, tree.q_values.dtype)
        if policy is not None and policy.simulations == 0:  # what an earlier search found out counts
            arrays[1] = np.zeros_like(arrays[1])
    elif decides is not most_visited:
        return None
    batch, actions = tree.before.shape
    values = arrays[5].dtype
    action, visits = np.empty(batch, np.int64), np.empty((batch, actions), np.int32)
    means, best = np.empty((2, batch, actions), values)
    decide(*arrays, constants, noise, action, visits, means, best, np.empty(actions, values))
    return torch.from_numpy(action), torch.from_numpy(visits), torch.from_numpy(means), torch.from_numpy(best)
