"""The search with its walk compiled: one call of compiled code a simulation, and one of the problem.

Where the problem's step is compiled as well, a search is a single call, and its rows are searched in blocks
whose trees are small enough to stay in a core's own cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.search.kernels.jit import Array, CompiledStep
from agents.search.kernels.memory import (
    FLAGS,
    INTS,
    LONGS,
    NUMBERS,
    ORDER,
    constants_of,
    gather,
    of_tree,
    rule_tensors,
    scatter,
    states_of,
    step_tensors,
    where,
)
from agents.search.kernels.simulate_kernel import run_simulations
from agents.search.policies.base import (
    HALVING,
    IMPROVED,
    PUCT,
    UCT,
    KernelSelector,
    KernelSpec,
    Policy,
    most_visited,
)
from agents.search.tree import PLAIN, Tree
from compiling import single_threaded_products

DTYPES = (torch.float32, torch.float64)
"""Of values, that are compiled for."""

PAIRS = ((UCT, UCT), (PUCT, PUCT), (HALVING, IMPROVED))
"""Kinds of rules at the roots and below that are compiled for, in the order in which `grow` takes them."""

UNLIMITED = 2**31 - 1

CACHE = 3 * 2**18
"""Bytes of trees that are searched together: they fit a core's own cache."""

FEWEST = 16
"""Rows that are stepped together at least: products of fewer cost more a row."""

NUMBER, BLOCK, PRIORS = 0, 2, 8
"""Positions among the sizes that `grow` is given."""

HERE = ORDER.index("here")
FOUND = tuple(ORDER.index(name) for name in ("after", "reward", "ended", "mask", "value", "logits"))
"""Positions among the places: of the states to step from, and of what a step led to."""

Outcome = tuple[Tensor, Tensor, Tensor, Tensor]


def supports(tree: Tree, policy: Policy) -> bool:
    """Whether the walk can be compiled: on the CPU, for selectors that say what they do."""
    return rules_of(policy) is not None and is_plain(tree)


def is_plain(tree: Tree) -> bool:
    """Whether the tree is on the CPU, with values that are compiled for."""
    return tree.q_values.dtype in DTYPES and tree.root.device.type == "cpu"


def rules_of(policy: Policy) -> tuple[KernelSpec, KernelSpec] | None:
    """The rules of the roots and of the other nodes, if they are of a pair that is compiled."""
    if not isinstance(policy.root, KernelSelector) or not isinstance(policy.interior, KernelSelector):
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
    """As `search`, which checks what goes in; the steps and edges of its `SearchCost`, i64 `[B]`."""
    rules = rules_of(policy)
    if rules is None:
        raise TypeError(f"{policy}: plain functions cannot be compiled")
    batch, capacity, actions = tree.children.shape
    dtype = tree.q_values.dtype
    values = np.dtype(PLAIN[dtype])
    step, kind = compiled_step_of(problem, tree, values), kind_of(tree)
    states, width = states_of(tree)
    parameters = np.empty(0, values) if step is None else parameters_of(problem, values)
    noise, table = rule_tensors(rules[0], dtype)
    walks, needed = torch.zeros(5, batch, dtype=torch.int64), torch.zeros(batch, dtype=torch.bool)
    # Where a compiled step writes; of one that is not, these stand for what there is before the first.
    here, after = torch.empty(2, batch if step else 0, width, dtype=torch.uint8)
    numbers = torch.empty(batch * (2 + actions) + actions, dtype=dtype)
    flags = torch.empty(batch * (1 + actions), dtype=torch.bool)
    depth = UNLIMITED if max_depth is None else max_depth
    sizes = np.array(
        [
            *(0, simulations, batch, batch, capacity, actions, width // kind.itemsize, tree.order.shape[1]),
            *(1, depth, len(table) - 1, table.shape[1], len(parameters), step.address if step else 0),
        ],
        np.int64,
    )
    line, first, ended = batch * values.itemsize, numbers.data_ptr(), flags.data_ptr()
    places = np.array(
        [
            *of_tree(tree, LONGS),
            *(walks.data_ptr() + 8 * batch * i for i in range(5)),
            *(table.data_ptr(), sizes.ctypes.data),
            *(*of_tree(tree, INTS), 0, *of_tree(tree, FLAGS), needed.data_ptr(), ended, ended + batch),
            *(*of_tree(tree, NUMBERS), noise.data_ptr(), 0, 0),
            *(first, first + line, first + 2 * line, first + (2 + actions) * line),
            *(parameters.ctypes.data, states, after.data_ptr(), here.data_ptr()),
        ],
        np.int64,
    )
    fixed = (places, *chosen(rules, discount), np.empty(0, values), np.empty(0, kind))
    if step is not None:
        sizes[BLOCK] = rows_together(tree, batch)
        with single_threaded_products():
            run_simulations(*fixed)
        return walks[3], walks[4]
    leaf, action = walks[0], walks[1]
    with torch.no_grad():
        for number in range(simulations + 1):
            sizes[NUMBER] = number
            if width > 0:  # a problem may keep what it is given
                here = torch.empty(batch, *tree.state.shape[2:], dtype=tree.state.dtype)
                places[HERE] = here.data_ptr()
            if not run_simulations(*fixed):
                break  # every root is terminal, or this was the last turn
            given = here if width > 0 else gather(tree, leaf)
            taken = problem.step(given, action.clone(), needed.clone())
            after = scatter(tree, taken.state, needed)
            found = step_tensors(taken, dtype, batch, actions)
            for at, place in zip(FOUND, where(after, *found), strict=True):
                places[at] = place
            sizes[PRIORS] = len(found[-1])
    return walks[3], walks[4]


def rows_together(tree: Tree, batch: int) -> int:
    """Rows of a block."""
    if batch <= FEWEST:
        return FEWEST
    tensors = [value for value in vars(tree).values() if isinstance(value, Tensor)]
    rows = CACHE * batch // sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return max(FEWEST, 1 << max(rows.bit_length() - 1, 0))


def compiled_step_of(problem: Any, tree: Tree, values: np.dtype[Any]) -> CompiledStep | None:
    """The compiled step of a problem, if it has one that can be used here.

    Raises:
        ValueError: It is not one, or was made for other dtypes.
    """
    step = getattr(problem, "compiled_step", None)
    if step is None or not isinstance(tree.state, Tensor) or tree.state.dtype not in PLAIN:
        return None
    if not isinstance(step, CompiledStep):
        raise ValueError(f"compiled_step: {step!r} is a plain function; put @compiled_step() above it")
    states = np.dtype(PLAIN[tree.state.dtype])
    if step.dtypes != (states, values):
        theirs = "{} states and {} values".format(*step.dtypes)
        raise ValueError(
            f"compiled_step: made for {theirs}, but the tree has {states} and {values}; "
            f"use @compiled_step({states}, {values})"
        )
    return step


def parameters_of(problem: Any, values: np.dtype[Any]) -> Array:
    """What a compiled step needs to know.

    Raises:
        ValueError: It is not one line of numbers of the values' dtype.
    """
    parameters: Array = np.ascontiguousarray(problem.parameters)
    if parameters.dtype != values or parameters.ndim != 1:
        found = f"{parameters.dtype} {list(parameters.shape)}"
        raise ValueError(f"parameters: {found}; a compiled step takes one array [n] of {values}")
    return parameters


def outcome(tree: Tree, policy: Policy | None) -> Outcome | None:
    """The action, visits, values and best of a `Summary`, where that is compiled for such a policy."""
    rules = None if policy is None or not is_plain(tree) else rules_of(policy)
    if policy is None or rules is None:
        return None
    if rules[0].kind != HALVING:
        if policy.decide is not most_visited:
            return None
    elif not isinstance(policy.decide, KernelSelector) or policy.decide.rule is not rules[0]:
        return None
    batch, capacity, actions = tree.children.shape
    dtype = tree.q_values.dtype
    noise, _ = rule_tensors(rules[0], dtype)
    action = torch.empty(batch, dtype=torch.int64)
    visits = torch.empty(batch, actions, dtype=torch.int32)
    means, best = torch.empty(2, batch, actions, dtype=dtype)
    out = torch.empty(actions, dtype=dtype)
    sizes = np.array([1, 0, 0, batch, capacity, actions, *[0] * 8], np.int64)
    *ints, before = of_tree(tree, INTS)
    none = torch.zeros_like(tree.before) if policy.simulations == 0 else None
    if none is not None:  # what an earlier search found out counts
        before = none.data_ptr()
    places = np.array(
        [
            *(*of_tree(tree, LONGS), 0, *where(action), 0, 0, 0, 0, sizes.ctypes.data),
            *(*ints, before, *where(visits), *of_tree(tree, FLAGS), 0, 0, 0),
            *(*of_tree(tree, NUMBERS), *where(noise, means, best), 0, 0, 0, *where(out), 0, 0, 0, 0),
        ],
        np.int64,
    )
    run_simulations(places, *chosen(rules, 1.0), np.empty(0, PLAIN[dtype]), np.empty(0, kind_of(tree)))
    return action, visits, means, best


def chosen(rules: tuple[KernelSpec, KernelSpec], discount: float) -> tuple[Array, *tuple[bool | None, ...]]:
    """The constants that `grow` is given, and which policy it is."""
    root, interior = rules
    constants = constants_of(root.first, root.second, interior.first, interior.second, discount)
    return constants, *(True if (root.kind, interior.kind) == pair else None for pair in PAIRS)


def kind_of(tree: Tree) -> np.dtype[Any]:
    """In which states are copied: as the numbers that they are, or their bytes."""
    state = tree.state
    return np.dtype(PLAIN.get(state.dtype, np.uint8) if isinstance(state, Tensor) else np.uint8)
