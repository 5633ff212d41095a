"""External ids and the rows they stand for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class IdMap:
    """The living ids, sorted, with their rows; and the id of every row, dead ones too.

    Attributes:
        of_row: ``[n]`` id of each row.
        alive: ``[n]`` bool, false for rows that were removed or replaced.
    """

    def __init__(self, of_row: Ints, alive: NDArray[np.bool_]) -> None:
        self.of_row = of_row
        self.alive = alive
        rows = np.flatnonzero(alive)
        order = np.argsort(of_row[rows], kind="stable")
        self._ids, self._rows = of_row[rows][order], rows[order]

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        return sum(part.nbytes for part in (self.of_row, self.alive, self._ids, self._rows))

    def living(self) -> Ints:
        """The ids, ascending; a copy."""
        return self._ids.copy()

    def living_rows(self) -> Ints:
        """Their rows, in the order of the ids; a copy."""
        return self._rows.copy()

    def rows(self, ids: Ints) -> Ints:
        """The row of each id, of any shape; -1 where the index has it not."""
        if not len(self._ids):
            return np.full(np.shape(ids), -1, np.int64)
        places = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        return np.where(self._ids[places] == ids, self._rows[places], -1)

    def vacant(self, count: int, start: int) -> Ints:
        """``[count]`` ascending rows for new vectors: dead ones from ``start`` on, then past the end."""
        dead = start + np.flatnonzero(~self.alive[start:])[:count]
        end = len(self.alive)
        return np.concatenate([dead, np.arange(end, end + count - len(dead))])

    def add(self, ids: Ints, rows: Ints) -> None:
        """Enters ids (distinct, not in the index) at rows that `vacant` named."""
        longer = int(rows.max(initial=-1)) + 1 - len(self.alive)
        if longer > 0:
            self.of_row = np.concatenate([self.of_row, np.empty(longer, np.int64)])
            self.alive = np.concatenate([self.alive, np.zeros(longer, bool)])
        self.of_row[rows], self.alive[rows] = ids, True
        order = np.argsort(ids)
        places = np.searchsorted(self._ids, ids[order])
        self._ids = np.insert(self._ids, places, ids[order])
        self._rows = np.insert(self._rows, places, rows[order])

    def remove(self, ids: Ints) -> None:
        """Takes out ids, all of them in the index; their rows are dead from now on."""
        places = np.searchsorted(self._ids, ids)
        self.alive[self._rows[places]] = False
        self._ids, self._rows = np.delete(self._ids, places), np.delete(self._rows, places)
