"""What compiled code is given: where the tensors of a tree, a policy and a step are in memory.

Compiled code trusts what it is given: dtypes, shapes and layouts are made right, or refused, here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.search.kernels.jit import Array
from agents.search.policies.base import KernelSpec
from agents.search.tree import Step, Tree

LONGS = ("root", "used")
INTS = ("parent", "parent_action", "level", "children", "visits", "before")
FLAGS = ("terminal",)
NUMBERS = ("raw_value", "q_values", "best", "rewards", "prior", "order", "low", "high")
"""The tree's tensors by what they are made of, in the order in which `grow` takes them."""

ORDER = (
    *(*LONGS, "leaf", "action", "depth", "steps", "edges", "table", "sizes"),
    *(*INTS, "root_visits", *FLAGS, "needed", "ended", "mask"),
    *(*NUMBERS, "noise", "root_values", "root_best", "reward", "value", "logits", "out", "parameters"),
    *("states", "after", "here"),
)
"""All that `grow` takes, in its order."""

KINDS: dict[str, torch.dtype | None] = {
    **dict.fromkeys(LONGS, torch.int64),
    **dict.fromkeys(INTS, torch.int32),
    **dict.fromkeys(FLAGS, torch.bool),
    **dict.fromkeys(NUMBERS, None),  # the dtype of the tree's values
}


def where(*tensors: Tensor) -> list[int]:
    """Where tensors are, which someone must hold for as long as that counts."""
    return [tensor.data_ptr() for tensor in tensors]


def of_tree(tree: Tree, names: Sequence[str]) -> list[int]:
    """Where tensors of the tree are; made what compiled code takes them for first, if they are not."""
    places = []
    for name in names:
        tensor, kind = getattr(tree, name), KINDS[name] or tree.q_values.dtype
        if tensor.dtype is not kind or not tensor.is_contiguous():
            tensor = tensor.to(kind).contiguous()
            setattr(tree, name, tensor)
        places.append(tensor.data_ptr())
    return places


def states_of(tree: Tree) -> tuple[int, int]:
    """Where the tree's states are, and the bytes of one; none in tensor classes, which are apart."""
    state = tree.state
    if not isinstance(state, Tensor):
        return 0, 0
    if not state.is_contiguous():
        state = tree.state = state.contiguous()
    return state.data_ptr(), state[0, 0].numel() * state.element_size()


def rule_tensors(root: KernelSpec, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Gumbel's noise `[B, A]` and table i64; without any for the other rules."""
    noise = torch.empty(0, dtype=dtype) if root.noise is None else plain(root.noise, dtype)
    return noise, torch.empty(0, 0, dtype=torch.int64) if root.table is None else plain(
        root.table, torch.int64
    )


@lru_cache(maxsize=16)
def constants_of(*numbers: float) -> Array:
    """The constants of rules and the discount, f64; nobody writes to them."""
    return np.array(numbers, np.float64)


def gather(tree: Tree, leaf: Tensor) -> Any:
    """The states of a node a row, counted through, i64 `[B]`, out of a tensor class."""
    return tree.state[torch.arange(len(leaf)), leaf % tree.capacity]


def scatter(tree: Tree, states: Any, needed: Tensor) -> Tensor:
    """The states that follow, for `grow` to store; tensor classes are stored here, and give none.

    Raises:
        ValueError: They have another shape than the states before.
    """
    if isinstance(tree.state, Tensor):
        return fitting("state", states, tree.state.dtype, (len(needed), *tree.state.shape[2:]))
    made = (needed & (tree.used < tree.capacity)).nonzero().squeeze(1)
    tree.state[made, tree.used[made]] = states[made]
    return torch.empty(0)


def step_tensors(step: Step, dtype: torch.dtype, batch: int, actions: int) -> tuple[Tensor, ...]:
    """All of a step but its states, with zeros for a missing value and nothing for a missing prior.

    Raises:
        ValueError: One has another shape than `Step` says.
    """
    row, edges = (batch,), (batch, actions)
    reward = fitting("reward", step.reward, dtype, row)
    return (
        reward,
        fitting("terminal", step.terminal, torch.bool, row),
        fitting("mask", step.mask, torch.bool, edges),
        torch.zeros_like(reward) if step.value is None else fitting("value", step.value, dtype, row),
        reward.new_empty(0) if step.prior is None else fitting("prior", step.prior, dtype, edges),
    )


def fitting(name: str, tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """A part of a step, `plain`.

    Raises:
        ValueError: It has another shape.
    """
    if tensor.shape != shape:
        raise ValueError(f"a step's {name} must be {list(shape)}, not {list(tensor.shape)}; see `Step`")
    return plain(tensor, dtype)


def plain(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor, contiguous and of that dtype."""
    if tensor.dtype is dtype and tensor.is_contiguous():
        return tensor
    return tensor.detach().to(dtype).contiguous()
