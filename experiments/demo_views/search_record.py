"""Record of a search as it grows: its nodes, what each evaluation changed, and the line that was chosen.

A node is a calibration that was reached by a sequence of actions. Of a tree search the nodes, their visits
and their values are those of its own tree; of other agents they are counted here, as if each try were a
simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from torch import Tensor

from agents.search import Tree
from envs import EnvState

DIGITS = 6
"""Decimals of returns and terms."""


@dataclass(frozen=True)
class Node:
    """A calibration that was evaluated.

    Attributes:
        parent: The node before the last action; -1 at the root.
        action: The last action; -1 at the root, and where a calibration was set as a whole.
        gain: Return from the root, the weighted sum of ``terms``.
        terms: Changes of the terms of the reward since the root, unweighted.
        scores: Scores ``C`` of the candidates under it.
    """

    parent: int
    action: int
    gain: float
    terms: list[float]
    scores: list[float]

    def as_json(self) -> dict[str, Any]:
        """The node as plain values, rounded."""
        return {
            "parent": self.parent,
            "action": self.action,
            "gain": round(self.gain, DIGITS),
            "terms": [round(value, DIGITS) for value in self.terms],
            "scores": [round(value, 3) for value in self.scores],
        }


class SearchRecord:
    """What a search has done so far. One thread writes, others may read.

    Args:
        weights: Weight of each term of the reward, in the order of the potentials.

    Attributes:
        moves: Nodes of the line that was chosen, the root first; None until the agent has decided.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self._weights = list(weights)
        self._lock = Lock()
        self._nodes: list[Node] = []
        self._frames: list[dict[str, Any]] = []
        self._first: list[float] = []
        self._children: dict[tuple[int, int], int] = {}
        self._latest: dict[bytes, int] = {}
        self._visits: list[int] = []
        self._sums: list[float] = []
        self._bests: list[float] = []
        self._tree: Tree | None = None
        self._seen_visits: np.ndarray | None = None
        self.moves: list[int] | None = None

    def begin(self, state: EnvState) -> None:
        """The root: the first state, batch ``[1]``."""
        with self._lock:
            self._first = state.potentials[0].tolist()
            self._add(-1, -1, state.potentials[0], state.evaluation.score[0])
            self._latest[_key(state)] = 0

    def follow(self, tree: Tree) -> None:
        """Takes nodes, visits and values from a tree of batch 1 whose root is the first state."""
        self._tree = tree
        self._seen_visits = np.zeros(tree.visits.shape[1:], np.int64)

    def heard(self, state: EnvState, action: int, following: EnvState) -> None:
        """A transition, batch ``[1]``; of a tree, what it has made of the one before."""
        with self._lock:
            if self._tree is not None:
                self._grow(self._tree)
                return
            parent = self._latest[_key(state)]
            node = self._children.get((parent, action))
            if node is None:
                node = self._add(parent, action, following.potentials[0], following.evaluation.score[0])
            self._latest[_key(following)] = node
            self._frames.append({"node": node, "at": parent, "changed": self._count(node)})

    def set_as_a_whole(self, state: EnvState) -> None:
        """A calibration, batch ``[1]``, that no actions lead to."""
        with self._lock:
            node = self._add(0, -1, state.potentials[0], state.evaluation.score[0])
            self._frames.append({"node": node, "at": 0, "changed": self._count(node)})

    def finish(self, actions: Sequence[int]) -> None:
        """The actions that the agent has decided on, in order; those that lead nowhere new are left out."""
        with self._lock:
            if self._tree is not None:
                self._grow(self._tree)
            line = [0]
            for action in actions:
                if (node := self._children.get((line[-1], action))) is not None:
                    line.append(node)
            self.moves = line

    def release(self) -> None:
        """Forgets the tree and the keys of states, once no more transitions come."""
        with self._lock:
            self._tree = self._seen_visits = None
            self._latest.clear()

    def since(self, nodes: int, frames: int) -> dict[str, Any]:
        """What has come since so many nodes and evaluations were read, as plain values."""
        with self._lock:
            return {
                "nodes": [node.as_json() for node in self._nodes[nodes:]],
                "frames": self._frames[frames:],
                "moves": self.moves,
            }

    def _add(self, parent: int, action: int, potentials: Tensor, scores: Tensor) -> int:
        terms = [now - then for now, then in zip(potentials.tolist(), self._first, strict=True)]
        gain = sum(weight * term for weight, term in zip(self._weights, terms, strict=True))
        number = len(self._nodes)
        self._nodes.append(Node(parent, action, gain, terms, scores.tolist()))
        self._children.setdefault((parent, action), number)
        self._visits.append(0)
        self._sums.append(0.0)
        self._bests.append(-np.inf)
        return number

    def _count(self, node: int) -> list[list[float]]:
        """Counts a try that ended at a node, on the whole way up; `[node, visits, mean, best]` of each."""
        gain, changed = self._nodes[node].gain, []
        while node >= 0:
            self._visits[node] += 1
            self._sums[node] += gain
            self._bests[node] = max(self._bests[node], gain)
            mean = self._sums[node] / self._visits[node]
            changed.append([node, self._visits[node], round(mean, DIGITS), round(self._bests[node], DIGITS)])
            node = self._nodes[node].parent
        return changed

    def _grow(self, tree: Tree) -> None:
        """One frame of what a tree holds and was not read yet; values count from the root, as gains do."""
        assert self._seen_visits is not None
        fresh = None
        for place in range(len(self._nodes), int(tree.used[0])):
            parent, action = int(tree.parent[0, place]), int(tree.parent_action[0, place])
            now = tree.state
            fresh = self._add(parent, action, now.potentials[0, place], now.evaluation.score[0, place])
        visits = tree.visits[0].numpy()
        edges = np.argwhere(visits != self._seen_visits)
        if not len(edges):
            return
        changed = []
        for above, action in edges.tolist():
            before, child = self._nodes[above].gain, int(tree.children[0, above, action])
            if child < 0:
                continue
            mean = before + float(tree.q_values[0, above, action])
            best = before + float(tree.best[0, above, action])
            changed.append([child, int(visits[above, action]), round(mean, DIGITS), round(best, DIGITS)])
        self._seen_visits = visits.copy().astype(np.int64)
        total = int(visits[0].sum())
        mean = float((visits[0] * tree.q_values[0, 0].numpy()).sum() / max(total, 1))
        changed.append([0, total, round(mean, DIGITS), round(float(tree.best[0, 0].max()), DIGITS)])
        self._frames.append({"node": fresh, "at": int(tree.root[0]), "changed": changed})


def _key(state: EnvState) -> bytes:
    """What a state of batch 1 is known again by: its calibration and its step."""
    own = state.calibration
    parts = (own.level, own.temperature, own.head, own.token, own.association, own.memory, own.hubness)
    return b"".join(part.numpy(force=True).tobytes() for part in (*parts, state.step))
