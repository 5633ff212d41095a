"""Index of an exported dataset: what it holds, and the size and SHA-256 of each of its files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any

from align3d.errors import DataError
from durable.checksums import check_files, checked_json, write_json
from durable.errors import DamagedFileError
from durable.plain_data import typed

INDEX = "align3d.json"
VERSION = 1


@dataclass(frozen=True)
class ExportIndex:
    """What an exported folder holds.

    Attributes:
        version: Of this layout.
        format: Name of the format, ``webdataset`` or ``parquet``.
        name: Name of the dataset.
        hash: Content hash of the dataset.
        points: Number of points per shape.
        seed: Seed of the sampling.
        up_axis: The axis that points up in every shape.
        rows: Number of shapes.
        shards: The files that hold the shapes, in their order.
        files: Size and SHA-256 of every file, by its path in the folder.
    """

    version: int
    format: str
    name: str
    hash: str
    points: int
    seed: int
    up_axis: str
    rows: int
    shards: tuple[str, ...]
    files: dict[str, dict[str, Any]]

    def write(self, folder: Path) -> None:
        """Write the index with a checksum of its own."""
        write_json(folder / INDEX, asdict(self))

    def check(self, folder: Path) -> None:
        """Compare every file with what was written.

        Raises:
            DataError: One is missing or changed; it is named.
        """
        try:
            check_files(folder, self.files)
        except DamagedFileError as error:
            raise DataError(f"{error}; get the files once more, or export them again") from error

    @staticmethod
    def read(folder: Path) -> ExportIndex | None:
        """The index of a folder; None where there is none.

        Raises:
            DataError: It is damaged, or of another version.
        """
        path = folder / INDEX
        try:
            content = checked_json(path, json.loads(path.read_text(encoding="utf-8")))
            if content.get("version") != VERSION:
                raise DataError(f"{path}: version {content.get('version')}, this one reads {VERSION}")
            index = typed(ExportIndex, content)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except DamagedFileError as error:
            raise DataError(f"{error}; export the dataset again") from error
        except (OSError, ValueError, AttributeError) as error:
            raise DataError(f"{path} is no index of an exported dataset ({error})") from error
        outside = [name for name in (*index.files, *index.shards) if _leads_out(name)]
        if outside:
            raise DataError(f"{path} names a file outside of its folder: {outside[0]}")
        return index


def _leads_out(name: str) -> bool:
    path = PurePath(name)
    return path.is_absolute() or ".." in path.parts
