"""Export of a search to TorchRL: an ``MCTSForest`` of what was walked, and a ``Tree`` made of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tensordict import TensorDict
from torchrl.data import MCTSForest
from torchrl.data.map.tree import Tree as TorchTree

from agents.search.tree import UNVISITED, Tree


def to_forest(tree: Tree, rows: Sequence[int] | None = None) -> MCTSForest:
    """Export every edge that leads to a node below the roots, as one step each.

    A node is its row and position, so that equal states which were reached in different ways stay apart:
    ``tree.state[row, node]`` has what it stands for. A step holds ``observation`` i64 `[2]` (row, node),
    ``action`` i64, and under ``next`` the ``observation``, ``reward``, ``done``, ``terminated`` (nothing can
    be done there), and what the search knows of the edge: ``visits`` i64 and ``value``, the mean return
    through it.

    Args:
        tree: Tree after a search.
        rows: Rows to export; all when left out.

    Raises:
        ValueError: None of the rows has an edge to export.
    """
    chosen = range(len(tree.root)) if rows is None else rows
    every = TensorDict.cat([_steps(tree, row) for row in chosen])
    edges = every.batch_size[0]
    if edges == 0:
        raise ValueError(f"rows={list(chosen)}: nothing was searched there; export after a search")
    forest = MCTSForest(
        max_size=edges + 1,
        observation_keys=["observation"],
        action_keys=["action"],
        reward_keys=["reward"],
        done_keys=["done", "terminated"],
    )
    forest.extend(every)
    return forest


def to_torchrl(tree: Tree, row: int = 0, max_depth: int | None = None) -> TorchTree:
    """Export one row as a TorchRL tree.

    ``count`` holds the visits of the edge above a node, ``wins`` the sum of their returns.

    TorchRL merges a root that has a single child with that child: then ``rollout`` of the root is that edge.

    Args:
        tree: Tree after a search.
        row: Row to export.
        max_depth: Number of levels below the root; all when left out.
    """
    forest = to_forest(tree, [row])
    root = TensorDict({"observation": torch.tensor([row, int(tree.root[row])])})
    exported = forest.get_tree(root, compact=False, max_depth=max_depth)
    waiting = [exported]
    while waiting:
        vertex = waiting.pop()
        if vertex.rollout is not None:
            edge = vertex.rollout[..., -1]["next"]
            vertex.count = edge["visits"]
            vertex.wins = edge["visits"] * edge["value"]
        waiting += [vertex.subtree[i] for i in range(vertex.num_children)]
    return exported


def _steps(tree: Tree, row: int) -> TensorDict:
    """List the edges below a row's root that lead to a node, batch size `[edges]`, roots first."""
    children, visits = tree.children[row].cpu(), tree.visits[row].cpu()
    terminal, rewards, values = (part[row].cpu() for part in (tree.terminal, tree.rewards, tree.q_values))
    found: list[tuple[int, int, int]] = []
    waiting = [int(tree.root[row])]
    while waiting:
        parent = waiting.pop(0)
        for action in (children[parent] != UNVISITED).nonzero().flatten().tolist():
            child = int(children[parent, action])
            found.append((parent, action, child))
            waiting.append(child)
    node, taken, reached = torch.tensor(found, dtype=torch.int64).view(-1, 3).unbind(1)
    ends = torch.full_like(node, row)
    done = terminal[reached].unsqueeze(1)
    following = TensorDict(
        {
            "observation": torch.stack([ends, reached], 1),
            "reward": rewards[node, taken].unsqueeze(1),
            "done": done,
            "terminated": done.clone(),
            "visits": visits[node, taken].long(),
            "value": values[node, taken],
        },
        [len(node)],
    )
    step = {"observation": torch.stack([ends, node], 1), "action": taken, "next": following}
    return TensorDict(step, [len(node)])
