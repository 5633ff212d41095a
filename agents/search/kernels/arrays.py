"""Arrays that the search's kernels are given, by name: views of the tensors of a tree, a policy and a step.

Dtypes, shapes and layouts are made right, or refused, here.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.search.policies.base import KernelSpec
from agents.search.tree import PLAIN, Step, Tree

Array = NDArray[Any]


class TreeArrays(NamedTuple):
    """The tensors of a ``Tree``, as it describes them; ``state`` as bytes, u8 `[B, N, bytes]`."""

    root: Array
    used: Array
    parent: Array
    parent_action: Array
    level: Array
    terminal: Array
    raw_value: Array
    children: Array
    visits: Array
    q_values: Array
    best: Array
    rewards: Array
    before: Array
    prior: Array
    low: Array
    high: Array
    state: Array


class WalkArrays(NamedTuple):
    """Ends of the walks from the roots, and their cost in steps and edges.

    Attributes:
        node: Last node that was passed, i64 `[B]`.
        action: Action chosen there, i64 `[B]`.
        length: Edges of the walk, 0 in rows with a terminal root, i64 `[B]`.
        needed: Rows that take a step of the problem, bool `[B]`.
        state: States of the last nodes as bytes, u8 `[B, bytes]`.
        steps: Steps of the problem in all simulations together, i64 `[B]`.
        edges: Edges walked in all simulations together, i64 `[B]`.
        scratch: Room for the numbers of one node's edges, `[A]`.
    """

    node: Array
    action: Array
    length: Array
    needed: Array
    state: Array
    steps: Array
    edges: Array
    scratch: Array


class StepArrays(NamedTuple):
    """Results of the steps, as ``Step`` describes them; ``state`` as bytes, u8 `[B, bytes]`."""

    state: Array
    reward: Array
    terminal: Array
    mask: Array
    value: Array
    prior: Array


class PolicyArrays(NamedTuple):
    """A ``KernelSpec``, as it describes itself; ``noise`` and ``visits_table`` are empty without Gumbel."""

    kind: int
    exploration: float
    pb_c_init: float
    pb_c_base: float
    value_scale: float
    maxvisit_init: float
    noise: Array
    visits_table: Array


KINDS = {
    **dict.fromkeys(("root", "used"), torch.int64),
    **dict.fromkeys(("parent", "parent_action", "level", "children", "visits", "before"), torch.int32),
    "terminal": torch.bool,
}
"""Dtypes of a tree's tensors, those of values aside."""


def tree_arrays(tree: Tree) -> TreeArrays:
    """View the tree's tensors, which are first made contiguous and of the dtypes that ``Tree`` names."""
    for name in TreeArrays._fields[:-1]:
        tensor = getattr(tree, name)
        setattr(tree, name, tensor.detach().to(KINDS.get(name, tree.q_values.dtype)).contiguous())
    if isinstance(tree.state, Tensor):
        tree.state = tree.state.contiguous()
    views = {name: getattr(tree, name).numpy() for name in TreeArrays._fields[:-1]}
    return TreeArrays(**views, state=as_bytes(tree.state, 2))


def as_bytes(state: Any, dims: int) -> Array:
    """View states as bytes, u8 `[..., bytes]` behind ``dims`` axes; none of a tensor class."""
    if not isinstance(state, Tensor):
        return np.empty((*state.batch_size, 0), np.uint8)
    leading, rest = state.shape[:dims], state.shape[dims:]
    return state.detach().view(*leading, math.prod(rest)).view(torch.uint8).numpy()


def policy_arrays(spec: KernelSpec, tree: Tree) -> PolicyArrays:
    """Give the parameters of a policy, its noise in the dtype of the tree's values.

    Raises:
        ValueError: The noise is not `[B, A]`.
    """
    shape = (len(tree.root), tree.actions)
    if spec.noise is not None and spec.noise.shape != shape:
        raise ValueError(f"noise must be {list(shape)}, not {list(spec.noise.shape)}: one number per action")
    noise = torch.empty(0, 0) if spec.noise is None else spec.noise
    table = torch.empty(0, 0) if spec.visits_table is None else spec.visits_table
    return PolicyArrays(
        kind=spec.kind,
        exploration=float(spec.exploration),
        pb_c_init=float(spec.pb_c_init),
        pb_c_base=float(spec.pb_c_base),
        value_scale=float(spec.value_scale),
        maxvisit_init=float(spec.maxvisit_init),
        noise=noise.detach().to(tree.q_values.dtype).contiguous().numpy(),
        visits_table=table.to(torch.int64).contiguous().numpy(),
    )


def empty_state(tree: Tree) -> Any:
    """Make room for a state per row; a tensor class stays out of the kernels, and is given as it is."""
    first = tree.state[:, 0]
    return (
        torch.empty_like(first, memory_format=torch.contiguous_format) if isinstance(first, Tensor) else first
    )


def empty_walk(tree: Tree, state: Any) -> WalkArrays:
    """Make room for the walks in a tree; the states of the last nodes are written to ``state`` `[B, ...]`."""
    batch = len(tree.root)
    return WalkArrays(
        node=np.zeros(batch, np.int64),
        action=np.zeros(batch, np.int64),
        length=np.zeros(batch, np.int64),
        needed=np.zeros(batch, np.bool_),
        state=as_bytes(state, 1),
        steps=np.zeros(batch, np.int64),
        edges=np.zeros(batch, np.int64),
        scratch=np.zeros(tree.actions, PLAIN[tree.q_values.dtype]),
    )


def empty_step(tree: Tree) -> tuple[Step, StepArrays]:
    """Make room for what the steps lead to, the values zero, as tensors and as views of them."""
    batch, values, state = len(tree.root), tree.q_values, empty_state(tree)
    room = {
        "reward": values.new_zeros(batch),
        "terminal": torch.zeros(batch, dtype=torch.bool),
        "mask": torch.zeros(batch, tree.actions, dtype=torch.bool),
        "value": values.new_zeros(batch),
        "prior": values.new_zeros(batch, tree.actions),
    }
    views = {name: tensor.numpy() for name, tensor in room.items()}
    return Step(state=state, **room), StepArrays(state=as_bytes(state, 1), **views)


def copy_step(step: Step, room: Step) -> None:
    """Copy the tensors of a step to where the kernels read them, in the dtypes of the tree.

    Raises:
        ValueError: One has another shape than ``Step`` says.
    """
    for name, target in zip(Step._fields, room, strict=True):
        given = getattr(step, name)
        if given is None or not isinstance(given, Tensor):
            continue
        if given.shape != target.shape:
            raise ValueError(
                f"a step's {name} must be {list(target.shape)}, not {list(given.shape)}; see `Step`"
            )
        target.copy_(given)
