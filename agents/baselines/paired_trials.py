"""Record of which multiset of actions has earned more than which other one, on the same episodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from agents.multisets import NOTHING, Multiset, padded, unpadded

FEWEST = 8
"""Number of pairs below which a lead is not judged: the spread of so few is often far too small."""


class Lead(NamedTuple):
    """Difference of what two multisets earned.

    Attributes:
        mean: Mean difference over the episodes on which both were tried; 0 if there is none.
        error: Standard error of the mean; infinite with fewer than ``FEWEST`` episodes.
        pairs: Number of these episodes.
    """

    mean: float
    error: float
    pairs: int

    def lower(self, coef: float) -> float:
        """Lower confidence bound, ``coef`` standard errors below the mean."""
        return self.mean - coef * self.error if self.pairs >= FEWEST else -torch.inf

    def upper(self, coef: float) -> float:
        """Upper confidence bound, ``coef`` standard errors above the mean."""
        return self.mean + coef * self.error if self.pairs >= FEWEST else torch.inf


def moments(values: Tensor) -> Tensor:
    """Number, sum and sum of squares of values, float64 ``[3]``."""
    return torch.stack([torch.ones_like(values).sum(), values.sum(), values.square().sum()])


def summarize(count: float, total: float, squares: float) -> Lead:
    """Mean and its standard error from the number, the sum and the sum of squares of differences."""
    mean = total / max(count, 1)
    if count < FEWEST:
        return Lead(mean, torch.inf, int(count))
    variance = max(squares - count * mean**2, 0.0) / (count - 1)
    return Lead(mean, (variance / count) ** 0.5, int(count))


class PairedTrials:
    """Sums of the differences between ``K`` multisets; the first of them is to do nothing, which earns 0.

    On the same episodes, much of what makes returns differ is the same for both of a pair and cancels: a
    difference needs fewer episodes than two means do.

    Args:
        longest: Largest number of actions of a multiset.

    Attributes:
        multisets: Place of each multiset.
        count: Number of episodes on which both were tried, i64 ``[K, K]``.
        total: Sum of what the row earned more than the column, float64 ``[K, K]``.
        squares: Sum of the squares of that, float64 ``[K, K]``.
    """

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self.multisets: dict[Multiset, int] = {NOTHING: 0}  # and their places
        self.count = torch.zeros(1, 1, dtype=torch.int64)
        self.total = torch.zeros(1, 1, dtype=torch.float64)
        self.squares = torch.zeros(1, 1, dtype=torch.float64)

    def record(self, multiset: Multiset, gain: Tensor, others: Mapping[Multiset, Tensor]) -> None:
        """Record what a multiset earned, float64 ``[B]``, beside what others did in the same episodes."""
        one = self._index(multiset)
        for other, theirs in others.items():
            two = self._index(other)
            change = gain - theirs
            for row, column, sign in ((one, two, 1), (two, one, -1)):
                self.count[row, column] += len(gain)
                self.total[row, column] += sign * change.sum()
                self.squares[row, column] += change.square().sum()

    def lead(self, multiset: Multiset, other: Multiset = NOTHING) -> Lead:
        """Lead of a multiset over another one in what they have earned."""
        if multiset not in self.multisets or other not in self.multisets:
            return Lead(0.0, torch.inf, 0)
        at = self._index(multiset), self._index(other)
        return summarize(int(self.count[at]), float(self.total[at]), float(self.squares[at]))

    def forget(self, unwanted: Callable[[Multiset], bool]) -> None:
        """Forget multisets; nothing stays."""
        names = [known for known in self.multisets if known == NOTHING or not unwanted(known)]
        kept = [self.multisets[known] for known in names]
        self.multisets = {known: place for place, known in enumerate(names)}
        self.count, self.total, self.squares = (
            table[kept][:, kept] for table in (self.count, self.total, self.squares)
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is saved, by name."""
        multisets = padded(list(self.multisets), self.longest)
        return {"multisets": multisets, "count": self.count, "total": self.total, "squares": self.squares}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what ``tensors`` returned.

        Raises:
            KeyError: A tensor is missing.
            ValueError: The shapes of the tensors do not fit together.
        """
        size = len(tensors["multisets"])
        for name in ("count", "total", "squares"):
            if list(tensors[name].shape) != [size, size]:
                raise ValueError(f"{name}: expected {[size, size]}, got {list(tensors[name].shape)}")
        self.multisets = {known: place for place, known in enumerate(unpadded(tensors["multisets"]))}
        self.count, self.total, self.squares = (tensors[name] for name in ("count", "total", "squares"))

    def _index(self, multiset: Multiset) -> int:
        if multiset not in self.multisets:
            self.multisets[multiset] = len(self.multisets)
            self.count, self.total, self.squares = (
                torch.nn.functional.pad(table, (0, 1, 0, 1))
                for table in (self.count, self.total, self.squares)
            )
        return self.multisets[multiset]
