"""Climb over multisets of actions to the fixed calibration that earns most."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from agents.baselines.paired_trials import FEWEST, Lead, PairedTrials, moments, summarize
from agents.multisets import NOTHING, Multiset, Reached, changed, in_order, padded, unpadded, without
from agents.rollout import Rollout
from agents.seeding import uniform

EXCHANGED = 2
"""Number of actions by which multisets differ of which one is exchanged: neighbors differ by no more."""


class Climb:
    """Climb over multisets of actions, from one champion to the next.

    Args:
        actions: Number of actions, ``A``.
        horizon: Largest number of actions of a multiset.
        stop: Action that ends an episode, None without one.

    Attributes:
        champion: Multiset that has won all races so far.
        former: Last champion before it whose gain was sure.
        gains: Number, sum and sum of squares of the gains of both, float64 ``[2, 3]``, on episodes after
            those that crowned them: a winner was lucky on these.
        trials: What neighbors of the champion have earned, in pairs.
        effects: Number, sum and sum of squares of what each action has earned, float64 ``[3, A]``.
    """

    def __init__(self, actions: int, horizon: int, stop: int | None) -> None:
        self.actions, self.horizon, self.stop = actions, horizon, stop
        self.champion = self.former = NOTHING
        self.gains = torch.zeros(2, 3, dtype=torch.float64)
        self.trials = PairedTrials(horizon)
        self.effects = torch.zeros(3, actions, dtype=torch.float64)

    def learn(
        self, rollout: Rollout, budget: int, climb_coef: float, lcb_coef: float, generator: torch.Generator
    ) -> None:
        """Try the champion and its neighbors on new episodes, and climb on as far as these are sure of it.

        Args:
            rollout: Labeled episodes that have not been played yet.
            budget: Largest number of evaluations per row, 1 or more.
            climb_coef: Number of standard errors by which a challenger must lead to take over, besides what
                is added because it is the best of several.
            lcb_coef: Number of standard errors by which a neighbor must have earned less not to be tried
                again, and that the gain of a former champion must exceed to be remembered.
            generator: Source of all random draws.
        """
        longest = min(self.horizon, budget)
        batch = Reached(rollout)
        self._reach(batch, self.champion[:longest])
        self.confirm(batch.gains[self.champion[:longest]])
        waiting = self.challengers(longest, lcb_coef, generator)
        while True:
            left = budget - int(rollout.evaluations.max())
            affordable = (one for one in waiting if one not in batch.gains and batch.cost(one) <= left)
            challenger = next(affordable, None)
            if challenger is None:
                break
            self._reach(batch, challenger)
            if self.crown(batch.gains, climb_coef, lcb_coef):
                waiting = self.challengers(longest, lcb_coef, generator)
        self.forget()

    def _reach(self, batch: Reached, multiset: Multiset) -> None:
        """Try a multiset, and record all on the way to it."""
        for arrival in batch.reach(multiset):
            self.effects[:, arrival.action] += moments(arrival.reward)
            others = {known: gain for known, gain in batch.gains.items() if known != arrival.multiset}
            self.trials.record(arrival.multiset, batch.gains[arrival.multiset], others)

    def confirm(self, gain: Tensor) -> None:
        """Record what the champion has earned on episodes that it was not chosen by, ``[B]``."""
        self.gains[0] += moments(gain)

    def challengers(self, longest: int, coef: float, generator: torch.Generator) -> list[Multiset]:
        """Neighbors of the champion that may earn more, the most promising one first; at least one.

        Args:
            longest: Largest number of actions.
            coef: Number of standard errors by which a neighbor must have earned less to be left out.
            generator: Source of the order of those that are equally promising.
        """
        found = list(self._neighbors(longest))
        chance = uniform((len(found),), generator, torch.device("cpu")).tolist()
        bounds = [self._expected(added, removed).upper(coef) for added, removed in found]
        # Of those that nothing is known of, single changes come before exchanges.
        keys = [
            (bound, -len(added + removed), luck)
            for bound, (added, removed), luck in zip(bounds, found, chance, strict=True)
        ]
        order = sorted(range(len(found)), key=keys.__getitem__, reverse=True)
        promising = [place for place in order if bounds[place] >= 0] or order[:1]
        return [changed(self.champion, *found[place]) for place in promising]

    def crown(self, tried: Iterable[Multiset], climb_coef: float, lcb_coef: float) -> bool:
        """Let the surest of those that surely earn more take over; whether one did."""
        leads = {multiset: self.trials.lead(multiset, self.champion) for multiset in tried}
        coef = (climb_coef**2 + 2 * math.log(max(len(leads) - 1, 1))) ** 0.5
        best = max(leads, key=lambda multiset: leads[multiset].lower(coef))
        if leads[best].lower(coef) <= 0:
            return False
        if self._gain(0).lower(lcb_coef) > 0:
            self.former, self.gains[1] = self.champion, self.gains[0]
        self.champion, self.gains[0] = best, 0.0
        return True

    def forget(self) -> None:
        """Forget all trials but those of neighbors of the champion."""
        self.trials.forget(lambda known: _distance(known, self.champion) > EXCHANGED)

    def surest(self, lcb_coef: float) -> tuple[Tensor, float, int]:
        """Sequence of the champion, or of the former one as long as that is surer to gain anything."""
        champion, former = self._gain(0), self._gain(1)
        is_former = champion.lower(lcb_coef) <= 0 < former.lower(lcb_coef)
        chosen, gain = (self.former, former) if is_former else (self.champion, champion)
        bound = gain.lower(lcb_coef) if gain.pairs >= FEWEST else 0.0
        return torch.tensor(in_order(chosen), dtype=torch.int64), bound, gain.pairs

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is saved, by name."""
        champions = padded([self.champion, self.former], self.horizon)
        return {"champions": champions, "gains": self.gains, "effects": self.effects} | self.trials.tensors()

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Restore what ``tensors`` returned.

        Raises:
            KeyError: A tensor is missing.
            ValueError: The shapes of the tensors do not fit together.
        """
        shapes = {"champions": [2, self.horizon], "gains": [2, 3], "effects": [3, self.actions]}
        for name, shape in shapes.items():
            if list(tensors[name].shape) != shape:
                raise ValueError(f"{name}: expected {shape}, got {list(tensors[name].shape)}")
        self.trials.restore(tensors)
        self.gains, self.effects = tensors["gains"], tensors["effects"]
        self.champion, self.former = unpadded(tensors["champions"])

    def _neighbors(self, longest: int) -> Iterator[tuple[Multiset, Multiset]]:
        """Changes of the champion: what is added, and what is removed."""
        have = sorted(set(self.champion))
        steps = [action for action in range(self.actions) if action != self.stop]
        if len(self.champion) < longest:
            yield from (((step,), NOTHING) for step in steps)
        yield from ((NOTHING, (old,)) for old in have)
        yield from (((step,), (old,)) for old in have for step in steps if step != old)

    def _expected(self, added: Multiset, removed: Multiset) -> Lead:
        """Lead that a change of the champion has had, or may be expected to have by what its parts have."""
        known = self.trials.lead(changed(self.champion, added, removed), self.champion)
        if known.pairs >= FEWEST or not added:
            return known
        effect = self._effect(added[0])
        if not removed:
            return effect
        more = self.trials.lead(changed(self.champion, added, NOTHING), self.champion)
        more = more if more.pairs >= FEWEST else effect
        less = self.trials.lead(changed(self.champion, NOTHING, removed), self.champion)
        pairs = min(more.pairs, less.pairs)
        return Lead(more.mean + less.mean, math.hypot(more.error, less.error), pairs)

    def _effect(self, action: int) -> Lead:
        """Mean reward of an action, wherever it was made."""
        return summarize(*self.effects[:, action].tolist())

    def _gain(self, which: int) -> Lead:
        """Gain of the champion (0) or of the former one (1), on episodes that it was not chosen by."""
        return summarize(*self.gains[which].tolist())


def _distance(one: Multiset, other: Multiset) -> int:
    """Number of actions that only one of two multisets has."""
    return len(without(one, other)) + len(without(other, one))
