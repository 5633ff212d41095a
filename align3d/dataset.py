"""Dataset of shapes and captions on disk, memory-mapped: nothing is read until it is asked for."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from align3d.errors import DataError
from align3d.record import ColorLoss, Rejection
from align3d.splits import split_indices
from align3d.store import LOST_COLORS, REJECTIONS, Manifest, file_hash

if TYPE_CHECKING:
    import datasets


class ShapeDataset:
    """Shapes as colored, labeled point clouds with their captions.

    Open one with ``load``. ``P`` is ``num_points``; indices are those of rows, from 0.
    """

    def __init__(self, path: Path, manifest: Manifest, table: pa.Table) -> None:
        self.path = path
        self.manifest = manifest
        self._table = table

    @classmethod
    def load(cls, path: str | Path, *, verify: bool = False) -> ShapeDataset:
        """Open a dataset that ``align3d.pipeline.build`` wrote.

        Args:
            path: Folder of the dataset.
            verify: Whether to read every file and compare its sha256; otherwise only sizes are compared.

        Raises:
            DataError: No dataset there, a newer schema, or damaged files.
        """
        path = Path(path)
        manifest = Manifest.read(path)
        tables = []
        for shard in manifest.shards:
            file = path / shard.file
            if verify and file_hash(file) != shard.sha256:
                raise DataError(f"damaged dataset: {file} does not match its sha256; build it again")
            try:
                with pa.memory_map(str(file)) as source:
                    tables.append(pa.ipc.open_stream(source).read_all())
            except pa.ArrowInvalid as error:
                raise DataError(f"damaged dataset: {file} ({error}); build it again") from error
        table = pa.concat_tables(tables)
        if table.num_rows != manifest.rows:
            raise DataError(f"damaged dataset: {path} has {table.num_rows} rows instead of {manifest.rows}")
        return cls(path, manifest, table)

    def __len__(self) -> int:
        return self.manifest.rows

    def __repr__(self) -> str:
        return f"ShapeDataset({self.name}: {len(self)} shapes of {self.num_points} points, {self.path})"

    @property
    def name(self) -> str:
        """The source's name."""
        return self.manifest.name

    @property
    def hash(self) -> str:
        """Hash of what the dataset holds, the same on every machine."""
        return self.manifest.hash

    @property
    def up_axis(self) -> str:
        """The axis that points up in every shape: "x", "y" or "z"."""
        return self.manifest.up_axis

    @property
    def num_points(self) -> int:
        """Number of points per shape, P."""
        return self.manifest.points

    @cached_property
    def ids(self) -> list[str]:
        """Each shape's id."""
        return self._table["id"].to_pylist()

    @cached_property
    def categories(self) -> list[str]:
        """Each shape's category; may be empty."""
        return self._table["category"].to_pylist()

    @cached_property
    def captions(self) -> list[list[str]]:
        """Each shape's captions, at least one, the canonical one first."""
        return self._table["captions"].to_pylist()

    @cached_property
    def part_names(self) -> list[list[str]]:
        """The names to which each shape's part labels point."""
        return self._table["part_names"].to_pylist()

    @cached_property
    def licenses(self) -> list[str]:
        """Each shape's license."""
        return self._table["license"].to_pylist()

    @cached_property
    def content_hashes(self) -> list[str]:
        """Each shape's content hash."""
        return self._table["content_hash"].to_pylist()

    @cached_property
    def rejections(self) -> list[Rejection]:
        """Items that the build left out, and why."""
        with open(self.path / REJECTIONS, encoding="utf-8") as file:
            return [Rejection(**json.loads(line)) for line in file]

    @cached_property
    def lost_colors(self) -> list[ColorLoss]:
        """Shapes that lack colors which their files give, and why, a line for each reason."""
        if not self.manifest.lost_colors:
            return []
        with open(self.path / LOST_COLORS, encoding="utf-8") as file:
            return [ColorLoss(**json.loads(line)) for line in file]

    def points(self, indices: ArrayLike | range | slice) -> NDArray[np.float16]:
        """Points in the unit sphere, f16[n, P, 3]."""
        return self._rows("points", indices).reshape(-1, self.num_points, 3)

    def colors(self, indices: ArrayLike | range | slice) -> NDArray[np.uint8]:
        """RGB colors, u8[n, P, 3]."""
        return self._rows("colors", indices).reshape(-1, self.num_points, 3)

    def part(self, indices: ArrayLike | range | slice) -> NDArray[np.int16]:
        """Part labels, i16[n, P]: indices into the shape's part names, or -1."""
        return self._rows("part", indices)

    def size_m(self, indices: ArrayLike | range | slice) -> NDArray[np.float32]:
        """Bounding boxes in meters along x, y, z, f32[n, 3]."""
        return self._rows("size_m", indices)

    def splits(self, test: int | float, reward: int | float) -> dict[str, NDArray[np.int64]]:
        """Indices of ``train``, ``reward`` and ``test``; see ``align3d.splits.split_indices``."""
        return split_indices(self.content_hashes, test, reward)

    def hugging_face(self) -> datasets.Dataset:
        """The same rows as a Hugging Face dataset, memory-mapped too."""
        import datasets

        return datasets.load_from_disk(str(self.path))

    @cached_property
    def _chunks(self) -> tuple[NDArray[np.int64], dict[str, list[NDArray[Any]]]]:
        """First row of each chunk and the end, i64[chunks + 1]; per column the chunks as numpy views."""
        columns: dict[str, list[NDArray[Any]]] = {}
        for name in ("points", "colors", "part", "size_m"):
            chunks = [chunk for chunk in self._table[name].chunks if len(chunk)]
            columns[name] = [
                chunk.flatten().to_numpy(zero_copy_only=True).reshape(len(chunk), -1) for chunk in chunks
            ]
        lengths = [len(chunk) for chunk in columns["points"]]
        return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), columns

    def _rows(self, column: str, indices: ArrayLike | range | slice) -> NDArray[Any]:
        """Rows of a column, copied once from the mapped file: [n, width]."""
        if isinstance(indices, slice):
            indices = range(*indices.indices(len(self)))
        rows = np.asarray(indices).reshape(-1)
        if rows.size and not np.issubdtype(rows.dtype, np.integer):
            raise TypeError(f"indices of type {rows.dtype}, expected integers")
        rows = rows.astype(np.int64)
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"indices {rows.min()}..{rows.max()} for a dataset of {len(self)} shapes")
        starts, columns = self._chunks
        chunks = columns[column]
        out = np.empty((len(rows), chunks[0].shape[1]), dtype=chunks[0].dtype)
        chunk_of_row = np.searchsorted(starts, rows, side="right") - 1
        for chunk in np.unique(chunk_of_row):
            here = np.flatnonzero(chunk_of_row == chunk)
            local = rows[here] - starts[chunk]
            if here[-1] - here[0] + 1 == len(here):  # rows in order: no copy in between
                np.take(chunks[chunk], local, axis=0, out=out[here[0] : here[-1] + 1], mode="clip")
            else:
                out[here] = chunks[chunk][local]
        return out
