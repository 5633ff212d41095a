"""A plain tree search with node objects, one row at a time: what the tensor search must agree with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from agents.search import Root, Step


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
    prior: Tensor | None = None  # logits [B, states, actions]

    @classmethod
    def draw(
        cls,
        batch: int,
        states: int,
        actions: int,
        seed: int,
        ended: float = 0.15,
        legal: float = 0.7,
        prior: bool = False,
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
            prior=uniform(batch, states, actions) * 4 - 2 if prior else None,
        )

    def rows(self, index: Any) -> RandomGame:
        """The games of some rows."""
        tables = vars(self).items()
        return RandomGame(**{name: value if value is None else value[index] for name, value in tables})

    def root(self) -> Root:
        prior = None if self.prior is None else self.prior[:, 0]
        return Root(self.start(), self.mask[:, 0], self.terminal[:, 0], prior, self.value[:, 0])

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
            prior=None if self.prior is None else self.prior[row, after],
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
    prior: dict[int, float] = field(default_factory=dict)
    raw_value: float = 0.0
    loose: dict[int, float] = field(default_factory=dict)  # returns of edges that got no node


class Oracle:
    """UCT by the book on one row of a `RandomGame`: recursion, dictionaries, one node at a time."""

    def __init__(
        self,
        game: RandomGame,
        row: int,
        exploration: float = 1.4,
        discount: float = 1.0,
        capacity: int = 1_000_000,
        max_depth: int | None = None,
    ) -> None:
        self.game, self.row, self.exploration, self.discount = game, row, exploration, discount
        self.low, self.high = math.inf, -math.inf
        self.room = capacity
        self.max_depth = max_depth
        self.steps = 0
        self.root = self._node(0)

    def _node(self, position: int) -> Node:
        legal = [a for a, ok in enumerate(self.game.mask[self.row, position].tolist()) if ok]
        terminal = bool(self.game.terminal[self.row, position]) or not legal
        node = Node(position, terminal, legal)
        node.raw_value = 0.0 if terminal else float(self.game.value[self.row, position])
        if self.game.prior is not None and legal:
            logits = self.game.prior[self.row, position].tolist()
            node.prior = {action: logits[action] for action in legal}
        self.room -= 1
        return node

    def run(self, simulations: int) -> None:
        self._begin(simulations)
        for _ in range(simulations):
            if not self.root.terminal:
                self._simulate(self.root)

    def _begin(self, simulations: int) -> None:
        """What is to be set before a search."""

    def _simulate(self, node: Node, depth: int = 1) -> float:
        action = self._select(node)
        reward = float(self.game.reward[self.row, node.position, action])
        if action in node.loose:
            gain = node.loose[action]
        elif action not in node.children:
            self.steps += 1
            full = self.room == 0
            child = self._node(int(self.game.after[self.row, node.position, action]))
            gain = reward + self.discount * child.raw_value
            if full:
                node.loose[action] = gain
                self.room = 0
            else:
                node.children[action] = child
        elif node.children[action].terminal:
            gain = reward
        elif depth == self.max_depth:
            gain = reward + self.discount * node.children[action].raw_value
        else:
            gain = reward + self.discount * self._simulate(node.children[action], depth + 1)
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


def softmax(logits: dict[int, float]) -> dict[int, float]:
    top = max(logits.values())
    weights = {action: math.exp(logit - top) for action, logit in logits.items()}
    return {action: weight / sum(weights.values()) for action, weight in weights.items()}


class PuctOracle(Oracle):
    """PUCT as in MuZero; `exploration` is `pb_c_init`."""

    def _select(self, node: Node) -> int:
        count = 1 + sum(node.visits.values())
        own = (node.raw_value + sum(node.visits[a] * node.values[a] for a in node.visits)) / count
        low, high = min([own, *node.values.values()]), max([own, *node.values.values()])
        policy = softmax(node.prior)
        weight = self.exploration + math.log((count + 19652 + 1) / 19652)

        def score(action: int) -> float:
            value = (node.values.get(action, low) - low) / max(high - low, 1e-8)
            return value + policy[action] * weight * math.sqrt(count) / (1 + node.visits.get(action, 0))

        return max(node.legal, key=lambda action: (score(action), -action))


class GumbelOracle(Oracle):
    """Gumbel AlphaZero on one row; `noise` by action."""

    noise: list[float]
    considered: int

    def _begin(self, simulations: int) -> None:
        self.fresh = dict.fromkeys(self.root.legal, 0)
        self.rounds = self._halve(min(self.considered, len(self.root.legal)), simulations)

    @staticmethod
    def _halve(actions: int, simulations: int) -> Iterator[int]:
        """How often what is tried next was tried before: every survivor once, again, and half of them go."""
        tried, survivors = 0, actions
        phases = sum(1 for _ in iter_halves(actions))
        while True:
            extra = max(1, simulations // (phases * survivors)) if actions > 1 else 1
            for _ in range(extra):
                yield from [tried] * survivors
                tried += 1
            survivors = max(min(2, actions), survivors // 2)

    def _improved(self, node: Node) -> dict[int, float]:
        policy = softmax(node.prior)
        mixed = node.raw_value
        if node.visits:
            known = sum(policy[a] for a in node.visits)
            mean = sum(policy[a] * node.values[a] for a in node.visits) / known
            count = sum(node.visits.values())
            mixed = (node.raw_value + count * mean) / (1 + count)
        filled = {a: node.values.get(a, mixed) for a in range(self.game.mask.shape[-1])}
        low, high = min(filled.values()), max(filled.values())
        scale = 0.1 * (50 + max(node.visits.values(), default=0))
        return {a: node.prior[a] + scale * (filled[a] - low) / max(high - low, 1e-8) for a in node.legal}

    def _favorite(self, tried: int) -> int:
        logits = self._improved(self.root)
        among = [a for a in self.root.legal if self.fresh[a] == tried]
        return max(among, key=lambda a: (self.noise[a] + logits[a], -a))

    def _select(self, node: Node) -> int:
        if node is self.root:
            action = self._favorite(next(self.rounds))
            self.fresh[action] += 1
            return action
        policy = softmax(self._improved(node))
        count = 1 + sum(node.visits.values())
        return max(node.legal, key=lambda a: (policy[a] - node.visits.get(a, 0) / count, -a))

    def best(self) -> int:
        return 0 if self.root.terminal else self._favorite(max(self.fresh.values()))


def iter_halves(count: int) -> Iterator[int]:
    """`count`, and what is left after each halving, rounded up, until one is left."""
    while count > 1:
        yield count
        count = (count + 1) // 2
