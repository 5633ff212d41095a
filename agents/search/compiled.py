"""The search with its walk compiled: one call of compiled code a simulation, and one of the problem."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from agents.search.edges import HALVING, IMPROVED, PUCT, UCT, Described, Policy, Rule
from agents.search.kernels import Array, StepFunction, run, turn
from agents.search.tree import Step, Tree

DTYPES = (torch.float32, torch.float64)
"""Of values, that are compiled for."""

PAIRS = ((UCT, UCT), (PUCT, PUCT), (HALVING, IMPROVED))
"""Kinds of rules at the roots and below that are compiled for, in the order in which `turn` takes them."""

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
"""Of the tree, in the order in which `turn` takes them."""

BY_NODE = set(TENSORS) - {"root", "used", "before", "order", "low", "high"}
"""Those that have an axis of nodes."""


def supports(tree: Tree, policy: Policy) -> bool:
    """Whether the walk can be compiled: on the CPU, for selectors that say what they do."""
    known = rules_of(policy) is not None
    return known and tree.root.device.type == "cpu" and tree.q_values.dtype in DTYPES


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
    if isinstance(tree.state, Tensor):
        tree.state = tree.state.contiguous()
        states = tree.state.view(tree.state.shape[0] * tree.capacity, -1)
    else:
        states = torch.empty(0, 0)
    values = tree.q_values.numpy().dtype
    batch, actions = tree.before.shape
    leaf, action, depth, steps, edges = np.zeros((5, batch), np.int64)
    needed = np.zeros(batch, np.bool_)
    fixed = (
        *tree_arrays(tree),
        as_bytes(states),
        *rule_arrays(policy),
        UNLIMITED if max_depth is None else max_depth,
        float(discount),
        *(leaf, action, depth, needed, steps, edges),
    )
    scratch = np.empty(actions, values)
    effort = torch.from_numpy(steps), torch.from_numpy(edges)
    # What a step is written to where it is compiled, and what there is before the first where it is not.
    room = np.zeros((batch, states.shape[1]), states.numpy().dtype)
    after = room.view(np.uint8)
    outcome: tuple[Array, ...] = (
        np.zeros(batch, values),
        np.zeros(batch, np.bool_),
        np.ones((batch, actions), np.bool_),
        np.zeros(batch, values),
        np.zeros((batch, actions), values),
    )
    if isinstance(tree.state, Tensor) and hasattr(problem, "compiled_step"):
        step_function = handle(problem.compiled_step, room.dtype, values)
        arrays = (states.numpy(), np.empty_like(room), room, leaf, action, needed, *outcome)
        rest = (*fixed, after, *outcome, scratch)
        with products().limit(limits=1):
            run(simulations, step_function, problem.parameters, *arrays, *rest)
        return effort
    nodes, chosen, stepped = torch.from_numpy(leaf), torch.from_numpy(action), torch.from_numpy(needed)
    for number in range(simulations):
        if not turn(number > 0, True, *fixed, after, *outcome, scratch):  # every root is terminal
            return effort
        step = problem.step(gather(tree, nodes), chosen.clone(), stepped.clone())
        after = scatter(tree, step.state, stepped)
        outcome = step_arrays(step, tree.q_values.dtype)
    if simulations > 0:
        turn(True, False, *fixed, after, *outcome, scratch)
    return effort


@lru_cache(maxsize=1)
def products() -> ThreadpoolController:
    """The library behind matrix products in compiled steps, to be kept from starting threads of its own.

    The products of one simulation are small, and its threads would fight for the cores with PyTorch's.
    """
    import_module("scipy.linalg.cython_blas")  # where Numba takes products from: found only if it is loaded
    return ThreadpoolController().select(internal_api="openblas")


@lru_cache(maxsize=16)
def handle(step: Any, states: np.dtype[Any], values: np.dtype[Any]) -> StepFunction:
    """The compiled step of a problem, as `run` takes it.

    Raises:
        ValueError: It was compiled for other dtypes.
    """
    function = StepFunction(step)
    if function.dtypes != (states, values):
        theirs = "{} states and {} values".format(*function.dtypes)
        raise ValueError(
            f"compiled_step: made for {theirs}, but the tree has {states} and {values}; "
            f"use @compiled_step({states}, {values})"
        )
    return function


def gather(tree: Tree, leaf: Tensor) -> Any:
    """The states of a node a row, counted through, i64 `[B]`."""
    if isinstance(tree.state, Tensor):
        return tree.state.flatten(0, 1).index_select(0, leaf)
    return tree.state[torch.arange(len(leaf)), leaf % tree.capacity]


def scatter(tree: Tree, states: Any, needed: Tensor) -> Array:
    """The states that follow as bytes, for `turn` to store; tensor classes are stored here, and give none."""
    if isinstance(tree.state, Tensor):
        return as_bytes(plain(states, tree.state.dtype))
    made = (needed & (tree.used < tree.capacity)).nonzero().squeeze(1)
    tree.state[made, tree.used[made]] = states[made]
    return np.zeros((len(needed), 0), np.uint8)


def tree_arrays(tree: Tree) -> list[Array]:
    """The tree's tensors as arrays that share their memory, with rows and nodes in one axis."""
    arrays = []
    for name in TENSORS:
        tensor = getattr(tree, name)
        if not tensor.is_contiguous():
            tensor = tensor.contiguous()
            setattr(tree, name, tensor)
        array = tensor.numpy()
        arrays.append(array.reshape(-1, *array.shape[2:]) if name in BY_NODE else array)
    return arrays


def rule_arrays(policy: Policy) -> tuple[Array | None, ...]:
    """What the walk goes by: constants `[2, 2]` of one of the `PAIRS`, Gumbel's noise and its table."""
    rules = rules_of(policy)
    if rules is None:
        raise TypeError(f"{policy}: plain functions cannot be compiled")
    root, interior = rules
    constants = np.array([[rule.first, rule.second] for rule in rules], np.float64)
    noise = torch.empty(0, 0) if root.noise is None else root.noise
    table = torch.empty(0, 0) if root.table is None else root.table
    return (
        *(constants if pair == (root.kind, interior.kind) else None for pair in PAIRS),
        plain(noise, torch.float64).numpy(),
        plain(table, torch.int64).numpy(),
    )


def step_arrays(step: Step, dtype: torch.dtype) -> tuple[Array, ...]:
    """All of a step but its states as arrays, with zeros for a missing value and `[B, 0]` for a prior."""
    reward = plain(step.reward, dtype)
    value = torch.zeros_like(reward) if step.value is None else plain(step.value, dtype)
    prior = reward.new_empty(len(reward), 0) if step.prior is None else plain(step.prior, dtype)
    terminal, mask = plain(step.terminal, torch.bool), plain(step.mask, torch.bool)
    return reward.numpy(), terminal.numpy(), mask.numpy(), value.numpy(), prior.numpy()


def plain(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor, contiguous, of that dtype and without a history."""
    if tensor.dtype is dtype and tensor.is_contiguous() and not tensor.requires_grad:
        return tensor
    return tensor.detach().to(dtype).contiguous()


def as_bytes(states: Tensor) -> Array:
    """States `[n, ...]` as bytes, uint8 `[n, bytes]`, whatever they are made of; shares their memory."""
    return states.flatten(1).view(torch.uint8).numpy() if states.dim() > 1 else as_bytes(states.unsqueeze(1))
