"""What compiled code is given: arrays that share the memory of a tree's tensors, a policy's and a step's."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.search.edges import Rule
from agents.search.jit import Array
from agents.search.tree import BY_NODE, PLAIN, Step, Tree

NO_TABLE = np.empty((0, 0), np.int64)


def tree_array(tree: Tree, name: str) -> Array:
    """One of the tree's tensors, with rows and nodes in one axis; made contiguous first if it is not."""
    tensor = getattr(tree, name)
    known = tree.arrays.get(name)
    if known is None or known[0] is not tensor:
        if not tensor.is_contiguous():
            tensor = tensor.contiguous()
            setattr(tree, name, tensor)
        array = tensor.numpy()
        known = tree.arrays[name] = tensor, array.reshape(-1, *array.shape[2:]) if name in BY_NODE else array
    return known[1]


def states_array(tree: Tree) -> Array:
    """The tree's states `[B * N, D]`, as bytes where NumPy lacks their dtype; `[0, 0]` in tensor classes."""
    state = tree.state
    if not isinstance(state, Tensor):
        return np.empty((0, 0), np.uint8)
    known = tree.arrays.get("state")
    if known is None or known[0] is not state:
        state = tree.state = state.contiguous()
        lines = state.numpy() if state.dtype in PLAIN else as_bytes(state.flatten(0, 1))
        known = tree.arrays["state"] = state, lines.reshape(state.shape[0] * state.shape[1], -1)
    return known[1]


def rule_arrays(root: Rule, interior: Rule, dtype: torch.dtype) -> tuple[Array, Array, Array]:
    """What a walk goes by: constants f64 `[2, 2]`, Gumbel's noise `[B, A]` and its table i64."""
    constants = constants_of(root.first, root.second, interior.first, interior.second)
    noise = np.empty((0, 0), PLAIN[dtype]) if root.noise is None else plain(root.noise, dtype).numpy()
    return constants, noise, NO_TABLE if root.table is None else plain(root.table, torch.int64).numpy()


@lru_cache(maxsize=16)
def constants_of(*numbers: float) -> Array:
    """The constants of two rules, f64 `[2, 2]`; nobody writes to them."""
    return np.array(numbers, np.float64).reshape(2, 2)


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
