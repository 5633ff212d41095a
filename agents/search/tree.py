"""Search trees of a whole batch, as a handful of preallocated tensors.

One row is one tree. Node ``n`` of row ``b`` is a position in the tensors below, never an object; the rows
share nothing. The layout follows mctx (https://github.com/google-deepmind/mctx), with one difference: the
root is a position too, so the tree moves on with the game (``reroot``) and keeps what was learned below the
move that was made. What is left behind is freed when its room is needed (``compact``), so the capacity bounds
the live tree and not the game.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

UNVISITED = -1
"""Child index of an edge whose node does not exist yet."""

NO_PARENT = -1
"""Parent of the first node."""

PLAIN: dict[torch.dtype, type[np.generic]] = {
    torch.bool: np.bool_,
    torch.int32: np.int32,
    torch.int64: np.int64,
    torch.float32: np.float32,
    torch.float64: np.float64,
}
"""NumPy's dtypes of the tensors that it can make."""


class Root(NamedTuple):
    """Start of a search.

    Attributes:
        state: State that ``Problem.step`` takes: a tensor `[B, ...]` or a tensor class of batch size `[B]`.
        mask: Legal actions, bool `[B, A]`.
        terminal: Rows whose episode is over before it began, bool `[B]`; none when left out.
        prior: Preference among the actions, float `[B, A]`: to ``uct`` an order, the higher, the earlier an
            action is tried; to ``puct`` and ``gumbel`` the logits of a policy.
        value: Estimate of what is to be gained, float `[B]`; 0 when left out.
    """

    state: Any
    mask: Tensor
    terminal: Tensor | None = None
    prior: Tensor | None = None
    value: Tensor | None = None


class Step(NamedTuple):
    """Outcome of one action per row.

    Attributes:
        state: Next state, like the one that went in.
        reward: Reward of this transition, float `[B]`.
        terminal: Whether the episode ended here, by whatever cause: nothing is gained beyond it, bool `[B]`.
        mask: Legal actions in the next state, bool `[B, A]`.
        value: Estimate of what is still to be gained from the next state, float `[B]`; 0 when left out.
        prior: Preference among the actions of the next state, as in ``Root``, float `[B, A]`.
    """

    state: Any
    reward: Tensor
    terminal: Tensor
    mask: Tensor
    value: Tensor | None = None
    prior: Tensor | None = None


class Problem(Protocol):
    """A deterministic model of the problem, for all rows at once; a row goes by its own state and action."""

    def step(self, state: Any, action: Tensor, needed: Tensor) -> Step:
        """Take ``action`` i64 `[B]` in ``state``, without changing it.

        Where ``needed`` bool `[B]` is false the answer is not used: such rows may be answered with anything
        of the right shape, and need not cost anything.
        """
        ...


@dataclass
class Tree:
    """``B`` rows, ``N`` nodes each, ``A`` actions.

    Attributes:
        root: Node the next search starts from, i64 `[B]`.
        used: Nodes in use; the next free position, i64 `[B]`.
        parent: i32 `[B, N]`, ``NO_PARENT`` for node 0; smaller than the node itself.
        parent_action: Action that led here, i32 `[B, N]`.
        level: Moves since node 0, i32 `[B, N]`.
        terminal: Nothing can be done here: ended, or no legal action, bool `[B, N]`.
        raw_value: The problem's own estimate at the node (0 without one), float `[B, N]`.
        children: Node that an edge leads to, i32 `[B, N, A]`, ``UNVISITED`` where there is none.
        visits: Simulations that went through an edge, i32 `[B, N, A]`.
        q_values: Mean discounted return of those simulations, reward of the edge included, float `[B, N, A]`.
        best: Largest of those returns, ``-inf`` before the first, float `[B, N, A]`. As the problem is
            deterministic, it belongs to a line that can be played, unless value estimates are in it.
        rewards: Reward of an edge, float `[B, N, A]`.
        before: Visits that the roots' edges had before the last search, i32 `[B, A]`.
        prior: Preference among the actions, as in ``Root``, float `[B, N, A]`; ``-inf`` where illegal.
        order: The prior of nodes that have none of their own, by position, float `[B, N, A]`, or `[B, 1, A]`
            where it is the same for all.
        low: Smallest edge value so far, float `[B]` (``+inf`` before the first).
        high: Largest edge value so far, float `[B]` (``-inf`` before the first).
        state: The problem's states, a tensor `[B, N, ...]` or a tensor class `[B, N]`.
    """

    root: Tensor
    used: Tensor
    parent: Tensor
    parent_action: Tensor
    level: Tensor
    terminal: Tensor
    raw_value: Tensor
    children: Tensor
    visits: Tensor
    q_values: Tensor
    best: Tensor
    rewards: Tensor
    before: Tensor
    prior: Tensor
    order: Tensor
    low: Tensor
    high: Tensor
    state: Any

    @property
    def capacity(self) -> int:
        """Number of nodes a row has room for, ``N``."""
        return self.children.shape[1]

    @property
    def actions(self) -> int:
        """Number of actions of the problem, ``A``."""
        return self.children.shape[2]


def init_tree(
    root: Root,
    capacity: int,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tree:
    """Make a tree that holds the root and has room for ``capacity`` nodes.

    Args:
        root: Starting point of the batch.
        capacity: Number of nodes a row can hold: one for the root, one for each simulation of a search, and
            what is to be kept of the search before. With less, a search goes on in a tree that no longer
            grows.
        generator: Source of random numbers: where given, nodes without a prior get one that is drawn from it,
            uniform in [0, 1), once and for all nodes, so that a row's order depends on its position alone and
            not on how many rows there are. Without it they have no preference, and the lowest index comes
            first.
        dtype: Dtype of all values.

    Raises:
        ValueError: The capacity leaves no room for the root, or the mask is not a bool `[B, A]`.
    """
    if capacity < 1:
        raise ValueError(f"capacity={capacity}: a tree needs room for its root; give simulations + 1")
    if root.mask.dtype != torch.bool or root.mask.dim() != 2:
        raise ValueError(f"mask must be bool [B, A], not {root.mask.dtype} {list(root.mask.shape)}")
    batch, actions = root.mask.shape
    device = root.mask.device
    if generator is not None:
        place = generator.device
        order = torch.rand((batch, capacity, actions), generator=generator, dtype=dtype, device=place)
        order = order.to(device)
    else:
        order = torch.zeros((batch, 1, actions), dtype=dtype, device=device)

    tensors: dict[str, Tensor] = {}
    nodes, edges = (batch, capacity), (batch, capacity, actions)
    on_cpu = device.type == "cpu"
    for name, fill, shape, kind in (
        ("root", 0, (batch,), torch.int64),
        ("used", 1, (batch,), torch.int64),
        ("parent", NO_PARENT, nodes, torch.int32),
        ("parent_action", 0, nodes, torch.int32),
        ("level", 0, nodes, torch.int32),
        ("terminal", False, nodes, torch.bool),
        ("raw_value", 0.0, nodes, dtype),
        ("children", UNVISITED, edges, torch.int32),
        ("visits", 0, edges, torch.int32),
        ("q_values", 0.0, edges, dtype),
        ("best", -math.inf, edges, dtype),
        ("rewards", 0.0, edges, dtype),
        ("before", 0, (batch, actions), torch.int32),
        ("prior", 0.0, edges, dtype),
        ("low", math.inf, (batch,), dtype),
        ("high", -math.inf, (batch,), dtype),
    ):
        if not on_cpu or kind not in PLAIN:
            tensors[name] = torch.full(shape, fill, dtype=kind, device=device)
            continue
        # Without PyTorch's threads, which then wait busily for more, on others' cores.
        array = np.zeros(shape, PLAIN[kind])
        if fill:
            array.fill(fill)
        tensors[name] = torch.from_numpy(array)
    first = order[:, 0] if root.prior is None else root.prior.detach().to(dtype)
    tensors["prior"].select(1, 0).copy_(first.masked_fill(root.mask.logical_not(), -math.inf))
    terminal = torch.any(root.mask, -1).logical_not_()
    if root.terminal is not None:
        terminal |= root.terminal
    tensors["terminal"].select(1, 0).copy_(terminal)
    if root.value is not None:
        value = root.value.detach().to(dtype).masked_fill(terminal, 0.0)
        tensors["raw_value"].select(1, 0).copy_(value)
    return Tree(**tensors, order=order, state=_allocate(root.state, capacity))


def reroot(tree: Tree, action: Tensor) -> Tree:
    """Move each row's root to the child that ``action`` i64 `[B]` leads to; rows with a terminal root stay.

    Raises:
        ValueError: A row has no child to move to: its action was never simulated, or there was no room.
    """
    rows = torch.arange(action.shape[0], device=action.device)
    ended = tree.terminal[rows, tree.root]
    child = tree.children[rows, tree.root, action]
    if bool(((child == UNVISITED) & ~ended).any()):
        raise ValueError(
            "reroot: an action was never simulated, or in a full tree; move along actions that were visited "
            "while there was room"
        )
    tree.root = torch.where(ended, tree.root, child)
    tree.before = tree.visits[rows, tree.root]
    return tree


def mark_terminal(tree: Tree, rows: Tensor) -> Tree:
    """End the game of some rows, bool `[B]`, where they stand: their roots become terminal."""
    index = torch.arange(rows.shape[0], device=rows.device)
    tree.terminal[index, tree.root] |= rows
    return tree


def _allocate(state: Any, capacity: int) -> Any:
    """Make room for ``capacity`` states per row, and put the first there."""
    if isinstance(state, Tensor):
        shape = (state.shape[0], capacity, *state.shape[1:])
        if state.device.type == "cpu" and state.dtype in PLAIN:
            room = torch.from_numpy(np.empty(shape, PLAIN[state.dtype]))
        else:
            room = state.new_empty(shape)
        room.select(1, 0).copy_(state.detach())
        return room
    room = state.unsqueeze(1).expand(state.batch_size[0], capacity).clone()
    room[:, 0] = state
    return room
