"""Source of what was exported to files of a format, or was written by others with the same columns."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from align3d.errors import DataError, RejectedItem
from align3d.exchange.export_index import ExportIndex
from align3d.hashing import hash_code, hash_json
from align3d.record import ColorLoss, Note, Record
from align3d.sources import Item
from align3d.sources.stored_rows import record_of
from align3d.store import LOST_COLORS, NOTES
from durable.plain_data import typed


class ExportedSource:
    """Base of the sources of a format.

    Where the folder has an index, every file is compared with it before anything is read.

    Args:
        root: Folder of the files.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    """End of the names of its files."""
    can_crash: ClassVar[bool] = False

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        if root is None:
            raise DataError(
                f"data={self.name}: no root; set data.root to the folder of the *{self.suffix} files"
            )
        self.root = Path(str(root)).expanduser()

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root}

    @cached_property
    def index(self) -> ExportIndex | None:
        """The folder's index; None for files that others wrote.

        Raises:
            DataError: It is damaged, or of another format.
        """
        index = ExportIndex.read(self.root)
        if index is not None and index.format != self.name:
            raise DataError(f"data={self.name}: {self.root} holds {index.format}; use data={index.format}")
        return index

    def stored(self) -> dict[str, int]:
        """Points and seed of the dataset, which a build takes where it is given no others."""
        return {} if self.index is None else {"points": self.index.points, "seed": self.index.seed}

    def fingerprint(self) -> str:
        """Hash of every file, or of its name, size and time of change where there is no index."""
        code = hash_code(
            "align3d.exchange.exported_source", "align3d.sources.stored_rows", type(self).__module__
        )
        if self.index is not None:
            return hash_json([self.name, code, self.index.files])
        stats = [(name, (self.root / name).stat()) for name in self.files()]
        return hash_json([self.name, code, [[name, one.st_size, int(one.st_mtime)] for name, one in stats]])

    def files(self) -> list[str]:
        """Paths of the files that hold the shapes, in their order.

        Raises:
            DataError: There are none.
        """
        if self.index is not None:
            return list(self.index.shards)
        found = sorted(str(path.relative_to(self.root)) for path in self.root.rglob(f"*{self.suffix}"))
        if not found:
            raise DataError(f"data={self.name}: no *{self.suffix} file in {self.root}")
        return found

    def items(self) -> list[Item]:
        """One item for each shape, with the place where it is.

        Raises:
            DataError: A file is damaged, or of other columns.
        """
        if self.index is not None:
            self.index.check(self.root)
        return [
            Item(item, (file, place))
            for file in self.files()
            for item, place in self.listed(self.root / file)
        ]

    def read(self, item: Item, points: int, seed: int) -> Record:
        """The stored record, or its first points."""
        file, place = item.payload
        lost, notes = self._told
        try:
            row = self.row(self.root / file, place)
        except (OSError, ValueError, KeyError) as error:
            raise RejectedItem(f"cannot be read from {file}: {error}") from error
        return record_of(row, points, lost.get(item.id, ()), notes.get(item.id, ()))

    def listed(self, path: Path) -> Iterator[tuple[str, Any]]:
        """Id and place of each shape in a file, the place as plain values."""
        raise NotImplementedError

    def row(self, path: Path, place: Any) -> dict[str, Any]:
        """Values by column of the shape at a place."""
        raise NotImplementedError

    @cached_property
    def _told(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Lost colors and notes by shape."""
        return self._reasons(LOST_COLORS, ColorLoss), self._reasons(NOTES, Note)

    def _reasons(self, name: str, kind: type[ColorLoss] | type[Note]) -> dict[str, list[str]]:
        reasons: dict[str, list[str]] = {}
        if self.index is not None and name in self.index.files:
            for line in (self.root / name).read_text(encoding="utf-8").split("\n"):
                if not line:
                    continue
                entry = typed(kind, json.loads(line))
                reasons.setdefault(entry.item, []).append(entry.reason)
        return reasons
