"""A plain tree search with node objects, one row at a time: what the tensor search must agree with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from agents.search import Step


@dataclass
class RandomGame:
    """A game of tables: `states` positions, `actions` moves, everything drawn at random, one game a row.

    The state is the position, i64 `[B, 2]`: row and position, so that a row carries its own game along.
    """

    after: Tensor  # i64 [B, states, actions]
    reward: Tensor  # [B, states, actions]
    terminal: Tensor  # bool [B, states]
    mask: Tensor  # bool [B, states, actions]
    value: Tensor  # [B, states]

    @classmethod
    def draw(
        cls, batch: int, states: int, actions: int, seed: int, ended: float = 0.15, legal: float = 0.7
    ) -> RandomGame:
        generator = torch.Generator().manual_seed(seed)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, dtype=torch.float64)

        terminal = uniform(batch, states) < ended
        terminal[:, 0] = False
        mask = uniform(batch, states, actions) < legal
        mask[:, 0, 0] = True
        return cls(
            after=torch.randint(0, states, (batch, states, actions), generator=generator),
            reward=uniform(batch, states, actions) * 3 - 1,
            terminal=terminal,
            mask=mask,
            value=uniform(batch, states),
        )

    def start(self) -> Tensor:
        rows = torch.arange(self.reward.shape[0])
        return torch.stack([rows, torch.zeros_like(rows)], -1)

    def step(self, state: Tensor, action: Tensor, needed: Tensor) -> Step:
        row, position = state.unbind(-1)
        after = self.after[row, position, action]
        return Step(
            state=torch.stack([row, after], -1),
            reward=self.reward[row, position, action],
            terminal=self.terminal[row, after],
            mask=self.mask[row, after],
            value=self.value[row, after],
        )


@dataclass
class Node:
    position: int
    terminal: bool
    legal: list[int]
    children: dict[int, Node] = field(default_factory=dict)
    visits: dict[int, int] = field(default_factory=dict)
    values: dict[int, float] = field(default_factory=dict)
    best: dict[int, float] = field(default_factory=dict)


class Oracle:
    """UCT by the book on one row of a `RandomGame`: recursion, dictionaries, one node at a time."""

    def __init__(self, game: RandomGame, row: int, exploration: float, discount: float) -> None:
        self.game, self.row, self.exploration, self.discount = game, row, exploration, discount
        self.low, self.high = math.inf, -math.inf
        self.root = self._node(0)
        self.steps = 0

    def _node(self, position: int) -> Node:
        legal = [a for a, ok in enumerate(self.game.mask[self.row, position].tolist()) if ok]
        terminal = bool(self.game.terminal[self.row, position]) or not legal
        return Node(position, terminal, legal)

    def run(self, simulations: int) -> None:
        for _ in range(simulations):
            if not self.root.terminal:
                self._simulate(self.root)

    def _simulate(self, node: Node) -> float:
        action = self._select(node)
        reward = float(self.game.reward[self.row, node.position, action])
        if action not in node.children:
            self.steps += 1
            child = self._node(int(self.game.after[self.row, node.position, action]))
            node.children[action] = child
            leaf = 0.0 if child.terminal else float(self.game.value[self.row, child.position])
        elif node.children[action].terminal:
            leaf = 0.0
        else:
            leaf = self._simulate(node.children[action])
        gain = reward + self.discount * leaf
        count = node.visits.get(action, 0) + 1
        value = node.values.get(action, 0.0)
        value += (gain - value) / count
        node.visits[action], node.values[action] = count, value
        node.best[action] = max(node.best.get(action, -math.inf), gain)
        self.low, self.high = min(self.low, value), max(self.high, value)
        return gain

    def _select(self, node: Node) -> int:
        for action in node.legal:
            if action not in node.visits:
                return action
        total = 1 + sum(node.visits.values())
        spread = self.high - self.low

        def score(action: int) -> float:
            scaled = (node.values[action] - self.low) / spread if spread > 0 else 0.0
            return scaled + self.exploration * math.sqrt(math.log(total) / node.visits[action])

        return max(node.legal, key=lambda action: (score(action), -action))

    def best(self) -> int:
        node = self.root
        return max(node.visits, key=lambda a: (node.visits[a], node.values[a], -a), default=0)

    def move(self) -> None:
        if not self.root.terminal:
            self.root = self.root.children[self.best()]
