"""Compaction of trees: what a root has left behind is freed, so that capacity bounds the live tree alone."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.search.tree import NO_PARENT, UNVISITED, Tree


def compact(tree: Tree, rows: Tensor | None = None) -> Tree:
    """Forget, in place, all nodes that the root does not lead to, and make the root node 0.

    Nodes keep their order, and what is known of them; only positions and levels change. ``search`` does this
    by itself to a row that might run out of room.

    Args:
        tree: Tree that was moved on by ``reroot``.
        rows: Rows to compact, bool `[B]`; all when left out.
    """
    if rows is not None and not bool(rows.any()):
        return tree
    batch, capacity = tree.parent.shape
    device = tree.root.device
    position = torch.arange(capacity, device=device).expand(batch, capacity)
    root = tree.root if rows is None else torch.where(rows, tree.root, 0)
    used = position < tree.used.unsqueeze(1)
    # Word goes down one level a round, to every node below the root.
    kept = position == root.unsqueeze(1)
    parent = tree.parent.long().clamp(min=0)
    for _ in range(int(tree.level.masked_fill(~used, 0).max())):
        kept |= kept.gather(1, parent) & used & (position > root.unsqueeze(1))
    source = torch.argsort(~kept, dim=1, stable=True)  # [B, N]: which node comes to a position
    target = torch.where(kept, kept.cumsum(1) - 1, UNVISITED)  # [B, N]: to which position a node comes
    index = torch.arange(batch, device=device).unsqueeze(1)
    live = position < kept.sum(1, keepdim=True)

    def moved(of: Tensor, empty: float) -> Tensor:
        values = of[index, source]
        return values.masked_fill(~live.view(batch, capacity, *[1] * (of.dim() - 2)), empty)

    def renamed(nodes: Tensor) -> Tensor:
        found = target.gather(1, nodes.long().clamp(min=0).flatten(1)).view_as(nodes)
        return torch.where(nodes < 0, nodes, found).to(nodes.dtype)

    tree.children = moved(renamed(tree.children), UNVISITED)
    tree.parent = moved(renamed(tree.parent), NO_PARENT)
    tree.parent[:, 0] = NO_PARENT
    tree.level = moved(tree.level - tree.level.gather(1, root.unsqueeze(1)), 0)
    tree.parent_action = moved(tree.parent_action, 0)
    tree.terminal = moved(tree.terminal, False)
    tree.raw_value = moved(tree.raw_value, 0.0)
    tree.visits = moved(tree.visits, 0)
    tree.q_values = moved(tree.q_values, 0.0)
    tree.best = moved(tree.best, -torch.inf)
    tree.rewards = moved(tree.rewards, 0.0)
    tree.prior = moved(tree.prior, 0.0)
    tree.state = tree.state[index, source]
    tree.used = kept.sum(1)
    tree.root = tree.root - root
    return tree
