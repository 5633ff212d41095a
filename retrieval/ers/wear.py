"""Wear of an index: what changes have done to its leaves since they were made."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.storage import StoredArrays

Ints = NDArray[np.int64]
_COUNTS = "wear.counts"
_REAL = ("code_error", "seconds", "longest")
_FEWEST = 8  # numbers, in older indexes
_MOST = 2**53  # beyond, a float64 is no exact count


@dataclass
class Wear:
    """Counts of changes and of the work that they caused; saved with the index.

    Attributes:
        made: ``[M]`` vectors of each leaf when its centroid was computed.
        turnover: ``[M]`` vectors that came to each leaf or left it since then.
        changed: Vectors that were put or removed since the tree was built.
        pending: Of these, those since the leaves were last looked at.
        untrained: Those since the codes were trained.
        code_error: Relative squared error of the codes when they were trained, see
            `retrieval.ers.restructuring.code_error`; NaN where it is not known.
        restructured: How often leaves were split, merged or centered anew.
        retrained: How often the codes were trained anew.
        rebuilt: How often the tree was built anew.
        seconds: Time that all of this took.
        longest: Of this, the most that one change has waited for.
    """

    made: Ints
    turnover: Ints
    changed: int = 0
    pending: int = 0
    untrained: int = 0
    code_error: float = np.nan
    restructured: int = 0
    retrained: int = 0
    rebuilt: int = 0
    seconds: float = 0.0
    longest: float = 0.0

    @classmethod
    def none(cls, sizes: Ints) -> Wear:
        """The wear of leaves ``[M]`` of these sizes that were made this moment."""
        return cls(sizes.copy(), np.zeros(len(sizes), np.int64))

    def count(self, leaves: Ints) -> None:
        """Counts vectors that come to or leave these leaves ``[n]``; a leaf may stand there often."""
        self.turnover += np.bincount(leaves, minlength=len(self.turnover))

    def change(self, vectors: int) -> None:
        """Counts vectors that were put or removed."""
        self.changed += vectors
        self.pending += vectors
        self.untrained += vectors

    def took(self, seconds: float) -> None:
        """Counts the time of a call that did some of this work."""
        self.seconds += seconds
        self.longest = max(self.longest, seconds)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it as arrays that `from_arrays` reads."""
        counts = np.array([getattr(self, name) for name in _numbers()], np.float64)
        return {"wear.made": self.made, "wear.turnover": self.turnover, _COUNTS: counts}

    @classmethod
    def from_arrays(cls, arrays: StoredArrays, sizes: Ints) -> Wear:
        """Reads what `arrays` wrote; an index without any is taken for one that nothing has changed.

        Args:
            arrays: By name, others among them.
            sizes: ``[M]`` of the leaves.

        Raises:
            DamagedFileError: If one is missing, or a number is out of range.
        """
        wear = cls.none(sizes)
        if _COUNTS in arrays:
            wear.made = arrays.take("wear.made", np.int64, (len(sizes),), 0, _MOST)
            wear.turnover = arrays.take("wear.turnover", np.int64, (len(sizes),), 0, _MOST)
            names, counts = _numbers(), arrays.take(_COUNTS, np.float64, (None,))
            arrays.expect(_FEWEST <= len(counts) <= len(names), f"{_COUNTS} has {len(counts)} numbers")
            for name, value in zip(names, counts, strict=False):
                unknown = name == "code_error" and bool(np.isnan(value))
                arrays.expect(unknown or 0 <= value <= _MOST, f"{_COUNTS} has {value} for {name}")
                setattr(wear, name, float(value) if name in _REAL else int(value))
        return wear


def _numbers() -> list[str]:
    return [field.name for field in fields(Wear) if field.name not in ("made", "turnover")]
