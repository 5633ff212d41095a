"""Search tree of calibrations that all queries share: its values depend on what is observed of a query.

A tree that is searched for one query with its labels finds what was lucky there; at query time there are no
labels. This one is searched for all queries together. Its nodes are calibrations, multisets of steps, since
steps commute; its values are functions of a query's first observation (`agents.mcts.context_values`). Which
nodes a batch of labeled episodes tries is settled before any of their rewards is seen, so that what is
learned holds where there are none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from agents.mcts.context_values import ContextValues
from agents.multisets import NOTHING, Multiset, Reached, changed, in_order, padded, unpadded
from agents.rollout import Rollout
from agents.seeding import uniform

EXPLORATION = 0.25
"""Weight of the bonus of calibrations that were tried in few batches, beside a share of the queries."""

MOST = 96
"""Number of calibrations that are kept."""

SAME = 1e-6
"""Difference of returns below which two calibrations count as one: a step up and the step down."""

REFIT = 1.05
"""Growth of the number of batches at which the values are fitted anew."""


class SharedTree:
    """Tree of calibrations, grown by batches of labeled episodes.

    Args:
        actions: Number of actions, ``A``.
        horizon: Largest number of actions of a calibration.
        stop: Action that ends an episode, None without one.
        capacity: Number of episodes whose returns are kept.
        lcb_coef: Number of standard errors by which a calibration must be ahead of the best fixed one.

    Attributes:
        values: Values of the nodes.
        tries: Number of batches in which each calibration was tried.
        batches: Number of batches.
    """

    def __init__(self, actions: int, horizon: int, stop: int | None, capacity: int, lcb_coef: float) -> None:
        self.actions, self.horizon, self.stop, self.capacity = actions, horizon, stop, capacity
        self.lcb_coef = lcb_coef
        self.values = ContextValues(horizon, actions, capacity)
        self.tries: Counter[Multiset] = Counter()
        self.batches = 0
        self._fitted_at = 0

    def grow(self, rollout: Rollout, budget: int, generator: torch.Generator) -> None:
        """Try calibrations on ``B`` labeled episodes, expand the tree by them, and fit its values.

        A calibration is worth trying by the share of the queries that it is expected to serve best, and by
        how seldom it was tried. Children of those that serve any are tried as well.

        Args:
            rollout: Episodes that have not been played yet.
            budget: Largest number of evaluations per row.
            generator: Source of the order of those that are equally promising.
        """
        observation = rollout.observation()
        shares = self._shares(observation)
        reached, before = Reached(rollout), int(rollout.evaluations.max())
        waiting = self._promising(shares, generator)
        while True:
            left = budget - (int(rollout.evaluations.max()) - before)
            fresh = (one for one in waiting if one not in reached.gains and reached.cost(one) <= left)
            chosen = next(fresh, None)
            if chosen is None:
                break
            for arrival in reached.reach(chosen):
                self.tries[arrival.multiset] += 1
                waiting += self._children(arrival.multiset)  # breadth first, once nothing else is left
        self.values.record(observation, _distinct(reached.gains))
        self.batches += 1
        if self.batches >= REFIT * self._fitted_at:
            self.values.fit()
            self._fitted_at = self.batches
        self._prune(shares)

    def sequences(self, observation: Tensor) -> Tensor:
        """Actions of the calibrations that serve best, i64 ``[B, n]``, -1 after the last.

        Args:
            observation: First observations ``[B, O]``.
        """
        orders = [tuple(in_order(multiset)) for multiset in self.values.fitted]
        table = padded(orders, max(len(order) for order in orders))
        return table[self.values.choose(observation, self.lcb_coef)].to(observation.device)

    def _shares(self, observation: Tensor) -> dict[Multiset, float]:
        """Share of the queries that each calibration serves best, as far as is known."""
        chosen = self.values.choose(observation, self.lcb_coef)
        votes = torch.bincount(chosen, minlength=len(self.values.fitted)) / len(observation)
        return dict(zip(self.values.fitted, votes.tolist(), strict=True))

    def _promising(self, shares: Mapping[Multiset, float], generator: torch.Generator) -> list[Multiset]:
        """Calibrations to try, the most promising one first."""
        found = {multiset: share for multiset, share in shares.items() if multiset != NOTHING}
        serving = (one for one, share in shares.items() if share > 0)
        for parent in dict.fromkeys([NOTHING, *serving]):
            for child in self._children(parent):
                if child not in shares:
                    found[child] = max(found.get(child, 0.0), shares.get(parent, 0.0))
        chance = uniform((len(found),), generator, torch.device("cpu")).tolist()
        keys = {
            multiset: (share + self._bonus(multiset), -len(multiset), luck)
            for (multiset, share), luck in zip(found.items(), chance, strict=True)
        }
        return sorted(found, key=keys.__getitem__, reverse=True)

    def _bonus(self, multiset: Multiset) -> float:
        return EXPLORATION * math.sqrt(math.log1p(self.batches) / (1 + self.tries[multiset]))

    def _children(self, parent: Multiset) -> list[Multiset]:
        if len(parent) == self.horizon:
            return []
        steps = [action for action in range(self.actions) if action != self.stop]
        return [changed(parent, (step,), NOTHING) for step in steps]

    def _prune(self, shares: Mapping[Multiset, float]) -> None:
        """Forget those that earn least on average and serve no query best, down to `MOST`."""
        means = self.values.means()
        idle = sorted((one for one in means if shares.get(one, 0.0) == 0), key=means.__getitem__)
        self.values.forget(idle[: max(len(means) - MOST, 0)])

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is saved, by name."""
        return self.values.tensors() | {
            "tried": padded(list(self.tries), self.horizon),
            "tries": torch.tensor(list(self.tries.values()), dtype=torch.int64),
            "batches": torch.tensor([self.batches, self._fitted_at]),
            "sizes": torch.tensor([self.actions, self.horizon, -1 if self.stop is None else self.stop]),
        }

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], capacity: int, lcb_coef: float) -> SharedTree:
        """Tree of which ``tensors`` were returned; the other arguments are settings.

        Raises:
            KeyError: A tensor is missing.
            ValueError: The shapes of the tensors do not fit together.
        """
        actions, horizon, stop = tensors["sizes"].tolist()
        tree = cls(actions, horizon, None if stop < 0 else stop, capacity, lcb_coef)
        tree.values.restore(tensors)
        tree.tries = Counter(dict(zip(unpadded(tensors["tried"]), tensors["tries"].tolist(), strict=True)))
        tree.batches, tree._fitted_at = tensors["batches"].tolist()
        return tree


def _distinct(gains: Mapping[Multiset, Tensor]) -> dict[Multiset, Tensor]:
    """Gains of a batch without those that a shorter calibration, or doing nothing, has in every row."""
    kept: dict[Multiset, Tensor] = {}
    for multiset, gain in sorted(gains.items(), key=lambda item: len(item[0])):
        if not any(bool(((gain - other).abs() < SAME).all()) for other in kept.values()):
            kept[multiset] = gain
    kept.pop(NOTHING, None)
    return kept
