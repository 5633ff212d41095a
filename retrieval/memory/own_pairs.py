"""Table of the known pairs that mean each vector: what a vector's hubness leaves out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.storage import StoredArrays
from retrieval.validation import check_ids

Ints = NDArray[np.int64]


class OwnPairs:
    """Places in the bank by the id of the vector that the pairs mean; 16 bytes each."""

    def __init__(self, ids: Ints | None = None, places: Ints | None = None) -> None:
        """Without arguments empty.

        Args:
            ids: ``[E]`` ascending.
            places: ``[E]``.
        """
        self._ids = np.empty(0, np.int64) if ids is None else ids
        self._places = np.empty(0, np.int64) if places is None else places

    @classmethod
    def read(cls, path: Path, pairs: int) -> OwnPairs:
        """The table whose `arrays` were saved in a file, for a bank of so many pairs.

        Raises:
            DamagedFileError: If it is none, or names a place beyond the bank's end.
        """
        stored = StoredArrays(path)
        ids = stored.take("ids", np.int64, (None,), 0)
        stored.expect(bool((np.diff(ids) >= 0).all()), "its ids are not in their order")
        return cls(ids, stored.take("places", np.int64, ids.shape, 0, pairs - 1))

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self._ids.nbytes + self._places.nbytes

    def arrays(self) -> dict[str, Ints]:
        """Arguments of the constructor, by name."""
        return {"ids": self._ids, "places": self._places}

    def of(self, ids: NDArray[np.integer]) -> Ints | None:
        """Places ``[n, P]`` of each id's pairs, -1 behind the last; None where none of them has any."""
        begin, end = (np.searchsorted(self._ids, ids, side) for side in ("left", "right"))
        longest = int((end - begin).max(initial=0))
        if not longest:
            return None
        at = begin[:, None] + np.arange(longest)
        there = at < end[:, None]
        return np.where(there, self._places[np.where(there, at, 0)], -1)

    def replaced(self, ids: NDArray[np.integer], places: NDArray[np.integer] | None) -> OwnPairs:
        """A table in which ids ``[n]`` have the pairs at places ``[n, P]``, -1 for none."""
        kept = ~np.isin(self._ids, ids)
        own_ids, own_places = self._ids[kept], self._places[kept]
        if places is not None:
            row, column = np.nonzero(np.asarray(places) >= 0)
            own_ids = np.concatenate([own_ids, np.asarray(ids, np.int64)[row]])
            own_places = np.concatenate([own_places, np.asarray(places, np.int64)[row, column]])
        order = np.argsort(own_ids, kind="stable")
        return OwnPairs(own_ids[order], own_places[order])

    def append(self, id: int, place: int) -> None:
        """Gives an id one more pair."""
        at = int(np.searchsorted(self._ids, id, "right"))
        self._ids, self._places = np.insert(self._ids, at, id), np.insert(self._places, at, place)


def check_places(leave_out: NDArray[np.integer] | None, ids: NDArray[np.integer]) -> None:
    """Refuses ids that are no list of distinct ones, and places of another number."""
    ids = check_ids(ids, None)
    if leave_out is not None and (np.ndim(leave_out) != 2 or len(leave_out) != len(ids)):
        raise ValueError(f"leave_out of shape {np.shape(leave_out)} for {len(ids)} ids: expected [n, P]")
