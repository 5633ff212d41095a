"""Multisets of actions: calibrations as what was done, whatever the order, since steps add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from agents.rollout import Bookmark, Rollout

Multiset = tuple[int, ...]
"""Numbers of actions in ascending order."""

NOTHING: Multiset = ()


class Arrival(NamedTuple):
    """A multiset that was reached for the first time.

    Attributes:
        multiset: The multiset.
        action: The last action on the way to it.
        reward: What that earned, float64 ``[B]``.
    """

    multiset: Multiset
    action: int
    reward: Tensor


class Reached:
    """Multisets that were reached on the ``B`` episodes of a rollout that has not been played yet.

    States on the way are kept, so that a multiset near one of them takes few evaluations. Actions that are
    illegal in a row are left out there.

    Attributes:
        gains: What each multiset has earned, float64 ``[B]``.
    """

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout
        self.gains: dict[Multiset, Tensor] = {NOTHING: torch.zeros(rollout.count, dtype=torch.float64)}
        self._bookmarks: dict[Multiset, Bookmark] = {NOTHING: rollout.bookmark()}

    def cost(self, multiset: Multiset) -> int:
        """Number of evaluations per row that it takes to reach a multiset."""
        return len(multiset) - len(self._nearest(multiset))

    def reach(self, multiset: Multiset) -> Iterator[Arrival]:
        """Go to a multiset from the nearest one that was reached, and tell of each on the way to it."""
        rollout, now = self.rollout, self._nearest(multiset)
        rollout.go_back(self._bookmarks[now])
        for action in in_order(without(multiset, now)):
            reward = rollout.move(torch.where(rollout.mask()[:, action], action, -1)).double().cpu()
            now = changed(now, (action,), NOTHING)
            self.gains[now], self._bookmarks[now] = rollout.return_.double().cpu(), rollout.bookmark()
            yield Arrival(now, action, reward)

    def _nearest(self, multiset: Multiset) -> Multiset:
        """Largest multiset that was reached and is part of this one."""
        wanted = Counter(multiset)
        return max((known for known in self._bookmarks if Counter(known) <= wanted), key=len)


def in_order(multiset: Multiset) -> list[int]:
    """Sequence of a multiset's actions, whose end has each action once.

    So a multiset with one action less is never far from a state on the way.
    """
    once = sorted(set(multiset))
    return [*without(multiset, tuple(once)), *once]


def changed(multiset: Multiset, added: Multiset, removed: Multiset) -> Multiset:
    """The multiset with some actions more and some less."""
    return tuple(sorted((*without(multiset, removed), *added)))


def without(multiset: Multiset, removed: Multiset) -> Multiset:
    """The multiset without some actions."""
    return tuple(sorted((Counter(multiset) - Counter(removed)).elements()))


def padded(multisets: list[Multiset], longest: int) -> Tensor:
    """Multisets as i64 ``[n, longest]``, -1 after the last action."""
    rows = [[*one, *[-1] * (longest - len(one))] for one in multisets]
    return torch.tensor(rows, dtype=torch.int64).view(len(rows), longest)


def unpadded(rows: Tensor) -> list[Multiset]:
    """The multisets of which ``padded`` made rows."""
    return [tuple(action for action in row if action >= 0) for row in rows.tolist()]
