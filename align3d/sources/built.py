"""Finished dataset as a source: for a run on it, for fewer points, and to be joined with others."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from align3d.dataset import ShapeDataset
from align3d.errors import DataError
from align3d.hashing import hash_code, hash_json
from align3d.record import Record
from align3d.sources import Item, register
from align3d.sources.stored_rows import record_of


@register("built")
class BuiltSource:
    """Datasets that ``align3d.build`` wrote, with whatever filters and reviewers made of them.

    Args:
        root: Folder of the dataset.
    """

    name: ClassVar[str] = "built"
    can_crash: ClassVar[bool] = False

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        if root is None:
            raise DataError("data=built: no root; set data.root to the folder of a finished dataset")
        self.root = Path(str(root)).expanduser()

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root}

    @cached_property
    def dataset(self) -> ShapeDataset:
        """The dataset, opened once in a process."""
        return ShapeDataset.load(self.root)

    @cached_property
    def _losses(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        lost: dict[str, list[str]] = {}
        notes: dict[str, list[str]] = {}
        for told, entries in ((lost, self.dataset.lost_colors), (notes, self.dataset.notes)):
            for entry in entries:
                told.setdefault(entry.item, []).append(entry.reason)
        return lost, notes

    def stored(self) -> dict[str, int]:
        """Points and seed of the dataset, which a build takes where it is given no others."""
        manifest = self.dataset.manifest
        return {"points": manifest.points, "seed": manifest.seed}

    def as_it_is(self, points: int) -> ShapeDataset | None:
        """The dataset where it lies, every byte compared; None if it has more points than are asked for.

        Raises:
            DataError: It has fewer, or it is damaged.
        """
        if (there := self.dataset.num_points) < points:
            raise DataError(
                f"data=built: the shapes of {self.root} have {there} points, data.points={points}; ask for "
                f"{there} or fewer, or build them again with points={points}"
            )
        return ShapeDataset.load(self.root, verify=True) if there == points else None

    def fingerprint(self) -> str:
        """Hash of what the dataset was built from, and of every file that it has."""
        manifest = self.dataset.manifest
        code = hash_code("align3d.sources.built", "align3d.sources.stored_rows")
        return hash_json(["built", manifest.key, manifest.hash, manifest.facts(), code])

    def items(self) -> list[Item]:
        """One item for each shape."""
        return [Item(item, row) for row, item in enumerate(self.dataset.ids)]

    def read(self, item: Item, points: int, seed: int) -> Record:
        """The stored record, or its first points."""
        dataset, row = self.dataset, item.payload
        lost, notes = self._losses
        return record_of(dataset.row(row), points, lost.get(item.id, ()), notes.get(item.id, ()))
