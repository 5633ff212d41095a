"""Parquet files with the columns of a dataset, as Hugging Face ``datasets`` reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from align3d.errors import DataError
from align3d.exchange.exported_source import ExportedSource
from align3d.sources import register
from align3d.sources.stored_rows import COLUMNS
from align3d.store import ORIGINS

NAME = "data/train-{number:05d}-of-{count:05d}.parquet"
_GROUP = 64
"""Rows that are read at once."""

Place = tuple[int, int]
"""Number of a group of rows in its file, and of the row in the group."""


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write rows as a Parquet file; the same rows give the same bytes with the same pyarrow."""
    pq.write_table(table, path, row_group_size=_GROUP, compression="zstd")


@register("parquet")
class ParquetSource(ExportedSource):
    """Shapes in Parquet files (*.parquet), as align3d.export writes them.

    Args:
        root: Folder of the files.
    """

    name: ClassVar[str] = "parquet"
    suffix: ClassVar[str] = ".parquet"

    _last: tuple[Path, int, pa.Table] | None = None

    def listed(self, path: Path) -> Iterator[tuple[str, Place]]:
        """Id and place of each shape in a file.

        Raises:
            DataError: It is no Parquet file, or has other columns.
        """
        try:
            with pq.ParquetFile(path) as file:
                if missing := [name for name in COLUMNS if name not in file.schema_arrow.names]:
                    needed = ", ".join(COLUMNS)
                    raise DataError(
                        f"data={self.name}: {path} has no column {missing[0]!r} (needed: {needed})"
                    )
                for group in range(file.num_row_groups):
                    for row, item in enumerate(file.read_row_group(group, ["id"])["id"].to_pylist()):
                        yield str(item), (group, row)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"data={self.name}: {path} cannot be read ({error})") from error

    def row(self, path: Path, place: Place) -> dict[str, Any]:
        """Values by column of the shape at a place; its group is kept for the next ones."""
        group, number = place
        if self._last is None or self._last[:2] != (path, group):
            with pq.ParquetFile(path) as file:
                names = [name for name in (*COLUMNS, ORIGINS) if name in file.schema_arrow.names]
                self._last = path, group, file.read_row_group(group, names).combine_chunks()
        row = self._last[2].slice(number, 1)
        return {name: _value(row[name]) for name in row.column_names}


def _value(column: pa.ChunkedArray) -> Any:
    """The value of a column of one row; numbers as an array."""
    kind = column.type
    if (pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)) and not pa.types.is_string(
        kind.value_type
    ):
        return column.chunk(0).flatten().to_numpy(zero_copy_only=False)
    return column[0].as_py()
