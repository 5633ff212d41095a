"""Dataset seen through a shift: the shapes of another dataset, shifted as they are read."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from align3d.dataset import ShapeDataset
from align3d.hashing import hash_bytes
from align3d.shifts.cloud import Cloud
from align3d.shifts.shift_registry import Shift

COLUMNS = tuple(field.name for field in dataclasses.fields(Cloud))


class ShiftedDataset(ShapeDataset):
    """Some shapes of a dataset, shifted; the others, and all that is said of any, stay as they were.

    Args:
        dataset: The shapes, on disk.
        shift: What happens to them.
        seed: Seed of what the shift draws; each shape has numbers of its own, in whatever order it is read.
        rows: Shapes to shift, i64 ``[n]``; None for all.
    """

    def __init__(
        self, dataset: ShapeDataset, shift: Shift, seed: int = 0, rows: ArrayLike | None = None
    ) -> None:
        super().__init__(
            dataset.path,
            dataset.manifest,
            dataset._table,
            dataset.rejections,
            dataset.lost_colors,
            dataset.notes,
        )
        self.original, self.shift, self.seed = dataset, shift, seed
        self.shifted = np.zeros(len(dataset), dtype=bool)
        """The shapes that are shifted, bool ``[n]``."""
        self.shifted[slice(None) if rows is None else np.asarray(rows)] = True
        self._last: tuple[NDArray[np.int64], list[Cloud]] = (np.zeros(0, np.int64), [])

    @property
    def hash(self) -> str:
        """Hash of what it holds: of the original dataset, the shift, its seed, and which shapes it is for."""
        parts = (self.original.hash, self.shift.fingerprint, str(self.seed))
        return hash_bytes(*(part.encode() for part in parts), np.packbits(self.shifted).tobytes())

    def _rows(self, column: str, indices: ArrayLike | range | slice) -> NDArray[Any]:
        """Rows of a column, ``[n, width]``, where the shifted ones are made anew."""
        if isinstance(indices, slice):
            indices = range(*indices.indices(len(self)))
        out = super()._rows(column, indices)
        chosen = np.asarray(indices, dtype=np.int64).reshape(-1)
        places = np.flatnonzero(self.shifted[chosen])
        for place, cloud in zip(places, self._clouds(chosen[places]), strict=True):
            out[place] = getattr(cloud, column).reshape(-1)
        return out

    def _clouds(self, rows: NDArray[np.int64]) -> list[Cloud]:
        """Shapes, shifted; those of the last call are kept, as columns are read one after the other."""
        if not np.array_equal(rows, self._last[0]):
            points, colors, part, size_m = (super(ShiftedDataset, self)._rows(name, rows) for name in COLUMNS)
            clouds = (
                Cloud(xyz.reshape(-1, 3).astype(np.float32), rgb.reshape(-1, 3), labels, size)
                for xyz, rgb, labels, size in zip(points, colors, part, size_m, strict=True)
            )
            names = (self.content_hashes[row] for row in rows)
            made = [self.shift(cloud, self.seed, name) for cloud, name in zip(clouds, names, strict=True)]
            self._last = (rows, made)
        return self._last[1]
