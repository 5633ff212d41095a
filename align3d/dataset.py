"""Dataset of shapes and captions on disk, memory-mapped: nothing is read until it is asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from align3d.console.terminal import say
from align3d.errors import DamagedDataset, DataError
from align3d.record import ColorLoss, Note, Rejection
from align3d.splits import split_indices
from align3d.store import LOST_COLORS, NOTES, REJECTIONS, Manifest, columns, lock_of
from durable.checksums import check_files
from durable.errors import DamagedFileError

_PAUSE = 0.05
_LOOKS = 60
"""Times that files which do not fit their manifest are looked at again while a build replaces them, after a
pause in seconds."""

if TYPE_CHECKING:
    import datasets


class ShapeDataset:
    """Shapes as colored, labeled point clouds with their captions.

    Open one with ``load``. ``P`` is ``num_points``; indices are those of rows, from 0.

    Attributes:
        path: The dataset's folder.
        manifest: What the folder holds.
        rejections: Items that the build left out, and why.
        lost_colors: Shapes that lack colors which their files give, and why, one for each reason.
        notes: What the build had to guess in reading shapes, one for each guess.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        table: pa.Table,
        rejections: Sequence[Rejection],
        lost_colors: Sequence[ColorLoss],
        notes: Sequence[Note],
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.rejections = rejections
        self.lost_colors = lost_colors
        self.notes = notes
        self._table = table

    @classmethod
    def load(cls, path: str | Path, *, verify: bool = False) -> ShapeDataset:
        """Open a dataset that ``align3d.pipeline.build`` wrote.

        A build may replace the dataset at any time: what is opened is the one or the other, and stays
        readable.

        Args:
            path: Folder of the dataset.
            verify: Whether to read every file and compare its sha256. Otherwise only the lists of what was
                left out are read; of the others sizes, types and texts are compared.

        Raises:
            DataError: No dataset there, or a newer schema.
            DamagedDataset: A file is cut, changed, or gone.
        """
        path = Path(path)
        manifest, looks = Manifest.read(path), 0
        while True:
            try:
                return cls._open(path, manifest, verify)
            except DamagedDataset:
                other = Manifest.read(path)
                looks = looks + 1 if other == manifest else 0
                if looks > (_LOOKS if lock_of(path).exists() else 1):
                    raise
                time.sleep(_PAUSE if looks else 0)
                manifest = other

    @classmethod
    def load_held(cls, path: Path, *, verify: bool = False) -> ShapeDataset:
        """As ``load``, for who holds the folder's lock: nobody else replaces the dataset."""
        return cls._open(path, Manifest.read(path), verify)

    @classmethod
    def _open(cls, path: Path, manifest: Manifest, verify: bool) -> ShapeDataset:
        try:
            check_files(path, manifest.facts(), verify=verify)
        except DamagedFileError as error:
            raise DamagedDataset(str(error)) from error
        rejections = _lines(path, manifest, REJECTIONS)
        lost = _lines(path, manifest, LOST_COLORS) if manifest.lost_colors else []
        has_notes = str(Path(manifest.data, NOTES)) in manifest.files
        notes = _lines(path, manifest, NOTES) if has_notes else []
        table = _table(path, manifest)
        try:
            told = (
                [Rejection(**line) for line in rejections],
                [ColorLoss(**line) for line in lost],
                [Note(**line) for line in notes],
            )
        except TypeError as error:
            raise DamagedDataset(f"{path / manifest.data}: lists of something else ({error})") from error
        if len(told[0]) != manifest.rejected or len({loss.item for loss in told[1]}) != manifest.lost_colors:
            raise DamagedDataset(f"{path / manifest.data}: lists of another length than the manifest says")
        if verify and (changed := manifest.other_than_written(path)):
            say(
                f"{path / changed[0]} is not as it was written, so datasets.load_from_disk may not open it; "
                "the same build writes it anew",
                error=True,
            )
        return cls(path, manifest, table, *told)

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
    def sources(self) -> list[str]:
        """The source of each shape."""
        return self._table["source"].to_pylist()

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

    @property
    def rejections_file(self) -> Path:
        """File of the ``rejections``, an object of JSON per line."""
        return self.path / self.manifest.data / REJECTIONS

    @property
    def lost_colors_file(self) -> Path:
        """File of the ``lost_colors``, an object of JSON per line."""
        return self.path / self.manifest.data / LOST_COLORS

    @property
    def notes_file(self) -> Path:
        """File of the ``notes``, an object of JSON per line."""
        return self.path / self.manifest.data / NOTES

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
        """The same rows as a Hugging Face dataset, memory-mapped too.

        Raises:
            DataError: Another dataset has taken the place of this one.
        """
        import datasets

        files = [str(self.path / shard.file) for shard in self.manifest.shards]
        try:
            return datasets.concatenate_datasets([datasets.Dataset.from_file(file) for file in files])
        except FileNotFoundError as error:
            raise DataError(f"{self.path} holds another dataset by now; open that") from error

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


def _lines(path: Path, manifest: Manifest, name: str) -> list[Any]:
    """Values in a list of what was left out, one per line."""
    place = str(Path(manifest.data, name))
    try:
        check_files(path, {place: facts} if (facts := manifest.files.get(place)) else {})
        text = (path / place).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.split("\n") if line]
    except DamagedFileError as error:
        raise DamagedDataset(str(error)) from error
    except FileNotFoundError as error:
        raise DamagedDataset(f"{path / place} is missing") from error
    except ValueError as error:
        raise DamagedDataset(f"{path / place} is not lines of JSON ({error})") from error


def _table(path: Path, manifest: Manifest) -> pa.Table:
    """The rows, memory-mapped; texts are looked through, so that no file leads out of its own memory."""
    expected = columns(manifest.points)
    texts = [column.name for column in expected if not pa.types.is_fixed_size_list(column.type)]
    tables = []
    for shard in manifest.shards:
        file = path / shard.file
        try:
            with pa.memory_map(str(file)) as source:
                table = pa.ipc.open_stream(source).read_all()
            if not table.schema.equals(expected):
                raise DamagedDataset(f"{file}: other columns than {manifest.points} points have")
            table.validate()
            table.select(texts).validate(full=True)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DamagedDataset(f"{file} ({' '.join(str(error).split())[:200]})") from error
        tables.append(table)
    whole = pa.concat_tables(tables)
    if whole.num_rows != manifest.rows:
        raise DamagedDataset(f"{path} has {whole.num_rows} rows instead of {manifest.rows}")
    return whole
