"""External ids and the rows they stand for.

A change costs what it changes, however many ids there are: arrays grow by more than is needed, and ids that
came late stand in a short list of their own until they are merged into the long one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
GROWTH = 8
"""An array that has to grow does so by an eighth: each number is copied eight times at most, on average."""
LATE = 64
"""Late ids are merged once they are more than this share of all, one in so many."""
_FEWEST_LATE = 4096


class Change(NamedTuple):
    """A change of an `IdMap` that is prepared: its arrays then, and what is to be written into them."""

    of_row: Growing
    alive: Growing
    by_id: Sorted
    late: Sorted
    ids: Ints
    rows: Ints
    dead: Ints

    @property
    def length(self) -> int:
        """Rows that there are then, dead ones too."""
        return len(self.alive.values)


class Sorted(NamedTuple):
    """Ids, ascending, and the row of each, which may have another id since or be dead."""

    ids: Ints
    rows: Ints

    def find(self, ids: Ints) -> Ints:
        """The row of each id, of any shape; -1 where it has it not."""
        places, known = self.places(ids)
        rows = np.full(np.shape(ids), -1, np.int64)
        rows[known] = self.rows[places[known]]
        return rows

    def places(self, ids: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """Where each id stands or would be put in, and whether it is there."""
        places = np.searchsorted(self.ids, ids)
        known = np.zeros(np.shape(ids), bool)
        within = places < len(self.ids)
        known[within] = self.ids[places[within]] == ids[within]
        return places, known

    def with_rows(self, ids: Ints, rows: Ints) -> Sorted:
        """Another with rows ``[n]`` for ids ``[n]``, distinct, some of which it may have."""
        order = np.argsort(ids)
        ids, rows = ids[order], rows[order]
        places, known = self.places(ids)
        kept = self.rows.copy()
        kept[places[known]] = rows[known]
        new = ~known
        return Sorted(np.insert(self.ids, places[new], ids[new]), np.insert(kept, places[new], rows[new]))


class Growing:
    """An array ``[n]`` with room behind its end.

    Attributes:
        values: ``[n]``, a view.
    """

    def __init__(self, values: NDArray[Any], room: NDArray[Any] | None = None) -> None:
        self.values = values
        self._room = values if room is None else room

    @property
    def nbytes(self) -> int:
        """Memory, with the room."""
        return self._room.nbytes

    def longer(self, length: int) -> Growing:
        """One of ``length`` numbers, at least as many as now, that begins with these and shares their memory.

        The numbers behind them are anything.
        """
        room = self.with_room(length)._room
        return Growing(room[:length], room)

    def with_room(self, length: int) -> Growing:
        """The same numbers with room for ``length``, in other memory where this has none."""
        if length <= len(self._room):
            return self
        room = np.empty(max(length, len(self._room) + len(self._room) // GROWTH), self.values.dtype)
        room[: len(self.values)] = self.values
        return Growing(room[: len(self.values)], room)


class IdMap:
    """The living ids with their rows; and the id of every row, dead ones too."""

    def __init__(self, of_row: Ints, alive: NDArray[np.bool_]) -> None:
        """Takes rows.

        Args:
            of_row: ``[n]`` id of each row.
            alive: ``[n]`` bool, false for rows that were removed or replaced.
        """
        self._of_row, self._alive = Growing(of_row), Growing(alive)
        rows = np.flatnonzero(alive)
        order = np.argsort(of_row[rows], kind="stable")
        by_id = Sorted(of_row[rows][order], rows[order])
        self._sorted = by_id, Sorted(rows[:0], rows[:0])  # exchanged as one: a search may read it meanwhile
        self._count = len(rows)

    def __len__(self) -> int:
        return self._count

    @property
    def of_row(self) -> Ints:
        """``[n]`` id of each row."""
        return self._of_row.values

    @property
    def alive(self) -> NDArray[np.bool_]:
        """``[n]`` bool, false for rows that were removed or replaced."""
        return self._alive.values

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        return self._of_row.nbytes + self._alive.nbytes + sum(2 * part.ids.nbytes for part in self._sorted)

    def living(self) -> Ints:
        """The ids, ascending; a copy."""
        return self._settled().ids

    def living_rows(self) -> Ints:
        """Their rows, in the order of the ids; a copy."""
        return self._settled().rows

    def rows_at(self, places: Ints) -> Ints:
        """``[n]``: `living_rows` at some places; quicker, as long as no id has gone or got another row."""
        by_id, late = self._sorted
        if len(by_id.ids) + len(late.ids) != self._count:
            return self.living_rows()[places]
        if not len(by_id.ids):
            return late.rows[places]
        of_late = by_id.places(late.ids)[0] + np.arange(len(late.ids))
        before = np.searchsorted(of_late, places)
        rows = by_id.rows[np.minimum(places - before, len(by_id.rows) - 1)]
        is_late = np.isin(places, of_late)
        rows[is_late] = late.rows[before[is_late]]
        return rows

    def reserve(self, length: int) -> None:
        """Takes the memory for so many rows, dead ones too."""
        self._of_row, self._alive = self._of_row.with_room(length), self._alive.with_room(length)

    def rows(self, ids: Ints) -> Ints:
        """The row of each id, of any shape; -1 where the index has it not."""
        by_id, late = self._sorted
        rows = by_id.find(ids)
        if not len(self.alive):
            return rows
        if len(late.ids):
            recent = late.find(ids)
            rows = np.where(recent >= 0, recent, rows)
        there = (rows >= 0) & self.alive[rows] & (self.of_row[rows] == ids)
        return np.where(there, rows, -1)

    def vacant(self, count: int, start: int) -> Ints:
        """``[count]`` ascending rows for new vectors: dead ones from ``start`` on, then past the end."""
        end = len(self.alive)
        dead = np.arange(0)
        if self._count < end:
            dead = start + np.flatnonzero(~self.alive[start:])[:count]
        return np.concatenate([dead, np.arange(end, end + count - len(dead))])

    def plan(self, ids: Ints, rows: Ints, gone: Ints) -> Change:
        """Prepares a change; nothing of the map is another before `commit`.

        Args:
            ids: ``[n]`` to be entered, distinct, not in the map unless they are in ``gone``.
            rows: ``[n]`` for them, that `vacant` named.
            gone: ``[m]`` to be taken out, all of them in the map.
        """
        length = max(len(self.alive), int(rows.max(initial=-1)) + 1)
        by_id, late = self._sorted
        if len(late.ids) > max(_FEWEST_LATE, len(by_id.ids) // LATE):
            by_id, late = self._settled(), Sorted(late.ids[:0], late.rows[:0])
        late = late.with_rows(ids, rows) if len(ids) else late
        of_row, alive = self._of_row.longer(length), self._alive.longer(length)
        return Change(of_row, alive, by_id, late, ids, rows, self.rows(gone))

    def commit(self, change: Change) -> None:
        """Makes the change that `plan` prepared, which was the last; rows of ids that went are dead."""
        self._count += len(change.ids) - len(change.dead)
        end = len(self.alive)
        self._of_row, self._alive, ids, rows = change.of_row, change.alive, change.ids, change.rows
        self.alive[end:] = False
        self.alive[change.dead] = False
        self.of_row[rows], self.alive[rows] = ids, True
        self._sorted = change.by_id, change.late

    def _settled(self) -> Sorted:
        """All living ids in one list."""
        by_id, late = self._sorted
        now = self._current(by_id)
        places, known = by_id.places(late.ids)
        now[places[known]] = False
        merged = Sorted(by_id.ids[now], by_id.rows[now])
        now = self._current(late)
        return merged.with_rows(late.ids[now], late.rows[now]) if now.any() else merged

    def _current(self, some: Sorted) -> NDArray[np.bool_]:
        """``[n]`` whether the rows of some ids are theirs."""
        return self.alive[some.rows] & (self.of_row[some.rows] == some.ids)
