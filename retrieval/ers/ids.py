"""External ids and the rows they stand for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Change(NamedTuple):
    """A change of an `IdMap` that is prepared: its arrays then, and what is to be written into them."""

    of_row: Ints
    alive: NDArray[np.bool_]
    by_id: Ints
    rows_by_id: Ints
    ids: Ints
    rows: Ints
    dead: Ints


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

    def plan(self, ids: Ints, rows: Ints, gone: Ints) -> Change:
        """Prepares a change; nothing of the map is another before `commit`.

        Args:
            ids: ``[n]`` to be entered, distinct, not in the map unless they are in ``gone``.
            rows: ``[n]`` for them, that `vacant` named.
            gone: ``[m]`` to be taken out, all of them in the map.
        """
        of_row, alive = self.of_row, self.alive
        longer = int(rows.max(initial=-1)) + 1 - len(alive)
        if longer > 0:
            of_row = np.concatenate([of_row, np.empty(longer, np.int64)])
            alive = np.concatenate([alive, np.zeros(longer, bool)])
        places = np.searchsorted(self._ids, gone)
        dead = self._rows[places]
        by_id = np.delete(self._ids, places), np.delete(self._rows, places)
        if len(ids):
            order = np.argsort(ids)
            places = np.searchsorted(by_id[0], ids[order])
            by_id = np.insert(by_id[0], places, ids[order]), np.insert(by_id[1], places, rows[order])
        return Change(of_row, alive, *by_id, ids, rows, dead)

    def commit(self, change: Change) -> None:
        """Makes the change that `plan` prepared, which was the last; rows of ids that went are dead."""
        self.of_row, self.alive, self._ids, self._rows, ids, rows, dead = change
        self.alive[dead] = False
        self.of_row[rows], self.alive[rows] = ids, True
