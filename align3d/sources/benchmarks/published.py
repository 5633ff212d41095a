"""Published datasets of point clouds: how their files lie, and the records made of what they hold."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from align3d.errors import DataError, RejectedItem, did_you_mean
from align3d.hashing import hash_bytes, hash_code, hash_lines, item_generator
from align3d.record import AXES, MISSING_COLOR, Record
from align3d.sampling import Floats, extent_m, normalize, resample_cloud, rotate_up
from align3d.sources import Item
from align3d.sources.file_names import valid_unicode

Layouts = Mapping[str, tuple[str, ...]]
"""Patterns of the files that a layout is known by, by its name."""
_READERS = (
    "benchmarks.published_files",
    "benchmarks.published_values",
    "benchmarks.restricted_pickle",
    "meshes.color_range",
)


@dataclass(frozen=True)
class Entry:
    """A shape as the lists of a benchmark name it.

    Attributes:
        id: Unique within the split.
        file: Path of its file, relative to the folder where the layout begins.
        category: Class as published; empty where there is none.
        captions: What the benchmark says of it; empty: the class.
        place: Row of a file that holds many shapes.
        extra: Further plain values that its reader needs.
        problem: Why it cannot be read; empty where it can.
    """

    id: str
    file: str = ""
    category: str = ""
    captions: tuple[str, ...] = ()
    place: int = 0
    extra: Any = None
    problem: str = ""


@dataclass(frozen=True)
class Cloud:
    """Points of a shape in the file's axes and unit.

    Attributes:
        points: f64[N, 3].
        colors: u8[N, 3]; None: the file has none.
        part: i16[N], index into ``part_names`` or -1; None: no part labels.
        part_names: Names of the parts.
        lost: Why colors of the file were dropped, a line each.
        captions: Texts that stand in the shape's own file; empty: those of the lists.
        notes: What else was guessed, a line each.
    """

    points: Floats
    colors: NDArray[np.uint8] | None = None
    part: NDArray[np.int16] | None = None
    part_names: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class PublishedSource:
    """Source of the shapes of a benchmark, from files that a user has downloaded.

    Their lengths have no known unit: the size of a shape is the box of its normalized points. A subclass says
    in ``LAYOUTS`` by which files each layout is known, and how its lists and clouds are read.

    Args:
        root: Folder of the files, or one above it.
        layout: How the files lie; None: found by what is there.
        split: Part of the benchmark to read.
        up: Axis that points up in the files; None: as published.
        size: Largest number of shapes, a fair sample (the first by the hash of their id); None: all.
    """

    name: ClassVar[str]
    LAYOUTS: ClassVar[Layouts]
    """Patterns of the files that a layout is known by, relative to its folder; all must be there, of several
    between ``|`` one."""
    SPLITS: ClassVar[tuple[str, ...]]
    DOWNLOAD: ClassVar[str]
    """Files to download, and their publisher."""
    LICENSE: ClassVar[str]
    UP: ClassVar[str]
    """Axis that points up in the published files."""

    def __init__(
        self,
        root: str | os.PathLike[str] | None,
        layout: str | None,
        split: str,
        up: str | None,
        size: int | None,
    ) -> None:
        if root is None:
            raise DataError(f"data={self.name}: no root; set data.root to the folder of {self.DOWNLOAD}")
        self.root = Path(str(root)).expanduser()
        self.wanted = self._one_of("layout", layout, self.LAYOUTS) if layout is not None else None
        self.split = self._one_of("split", split, self.SPLITS)
        self.up = self.UP if up is None else self._one_of("up", up, AXES)
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise DataError(
                f"data={self.name}: size={size!r}, expected a whole number from 1, or none for all"
            )
        self.size = size

    def entries(self) -> list[Entry]:
        """Shapes of the split, each id once.

        Raises:
            DataError: A list that names the shapes is missing or damaged.
        """
        raise NotImplementedError

    def cloud(self, entry: Entry, count: int, rng: np.random.Generator) -> Cloud:
        """Points of a shape: all that its file has, or ``count`` drawn from a surface.

        Raises:
            RejectedItem: The file is damaged.
        """
        raise NotImplementedError

    def files(self, entry: Entry) -> tuple[str, ...]:
        """Files of a shape, relative to the folder where the layout begins."""
        return (entry.file,)

    @cached_property
    def found(self) -> tuple[str, Path]:
        """The layout that the root holds, and the folder where it begins.

        Raises:
            DataError: There is no such folder, or none of the layouts.
        """
        if not self.root.is_dir():
            what = "is not a folder" if self.root.exists() else "does not exist"
            raise DataError(f"data={self.name}: root {self.root} {what}; {self._advice}")
        names = [self.wanted] if self.wanted else list(self.LAYOUTS)
        folders = [self.root, *sorted(path for path in self.root.iterdir() if path.is_dir())]
        for folder in folders:
            for name in names:
                if all(_is_there(folder, mark) for mark in self.LAYOUTS[name]):
                    return name, folder
        marks = "; ".join(f"{name}: {' + '.join(self.LAYOUTS[name])}" for name in names)
        looked = marks.replace("|", " or ")
        raise DataError(
            f"data={self.name}: none of its files in {self.root} (looked for {looked}); {self._advice}"
        )

    @property
    def layout(self) -> str:
        """Name of the layout that the root holds."""
        return self.found[0]

    @property
    def base(self) -> Path:
        """Folder where the layout begins."""
        return self.found[1]

    def fingerprint(self) -> str:
        """Sha256 of the settings, of what the lists say, and of each file's path, size and time of change."""
        entries = self._entries()
        lines = [
            f"{self.name} {self.layout} {self.split} {self.up} {self.size}",
            hash_code(__name__, type(self).__module__, *(f"align3d.sources.{name}" for name in _READERS)),
        ]
        lines += map(repr, entries)
        for file in sorted({file for entry in entries if not entry.problem for file in self.files(entry)}):
            try:
                stat = (self.base / file).stat()
            except OSError:
                lines.append(f"{file} is not there")
            else:
                lines.append(f"{file} {stat.st_size} {int(stat.st_mtime)}")
        return hash_lines(lines)

    def items(self) -> list[Item]:
        """Shapes of the split by id; one without file or caption is rejected when it is read.

        Raises:
            DataError: No such root, no file of the benchmark in it, or a damaged list.
        """
        return [Item(entry.id, entry) for entry in self._entries()]

    def read(self, item: Item, points: int, seed: int) -> Record:
        """One shape's points, turned so that z is up, and resampled."""
        entry: Entry = item.payload
        if entry.problem:
            raise RejectedItem(entry.problem)
        rng = item_generator(seed, item.id)
        try:
            cloud = self.cloud(entry, points, rng)
        except OSError as error:
            raise RejectedItem(f"{entry.file}: {error.strerror or error}") from error
        except DataError as error:  # of a reader that has no item
            raise RejectedItem(str(error)) from error
        if cloud.points.ndim != 2 or cloud.points.shape[1] != 3:
            raise RejectedItem(f"{entry.file}: points {list(cloud.points.shape)}, expected [N, 3]")
        if not np.isfinite(cloud.points).all():
            raise RejectedItem("NaN or infinite points")
        chosen = resample_cloud(len(cloud.points), points, rng)
        turned = rotate_up(cloud.points, self.up)
        unit = normalize(turned[chosen])
        plain_class = entry.category.replace("_", " ")
        grey = np.full((points, 3), MISSING_COLOR, np.uint8)
        return Record(
            id=item.id,
            source=self.name,
            category=entry.category,
            captions=cloud.captions or entry.captions or tuple(filter(None, (plain_class,))),
            points=unit,
            colors=grey if cloud.colors is None else cloud.colors[chosen],
            part=np.full(points, -1, np.int16) if cloud.part is None else cloud.part[chosen],
            part_names=cloud.part_names,
            size_m=extent_m(unit.astype(np.float64)),
            up_axis="z",
            license=self.LICENSE,
            content_hash=self._content(entry, cloud),
            lost_colors=cloud.lost,
            notes=cloud.notes,
        )

    def content(self, entry: Entry) -> bytes | None:
        """What determines a shape whose cloud is drawn anew for each seed; None: its cloud does."""
        return None

    def _content(self, entry: Entry, cloud: Cloud) -> str:
        if (own := self.content(entry)) is not None:
            return hash_bytes(own)
        arrays = [cloud.points.astype("<f4")]
        arrays += [array for array in (cloud.colors, cloud.part) if array is not None]
        return hash_bytes(*(np.ascontiguousarray(array).tobytes() for array in arrays))

    def _entries(self) -> list[Entry]:
        """Entries by id; with a size, so many of those without a problem."""
        entries = sorted(map(_named, self.entries()), key=lambda entry: entry.id)
        if self.size is None:
            return entries
        ranked = sorted((hash_lines([entry.id]), entry.id) for entry in entries if not entry.problem)
        kept = {name for _, name in ranked[: self.size]}
        return [entry for entry in entries if entry.id in kept]

    @property
    def _advice(self) -> str:
        return f"download {self.DOWNLOAD} (license: {self.LICENSE}) and set data.root"

    def _one_of(self, setting: str, value: str, known: Sequence[str] | Mapping[str, Any]) -> str:
        if value not in known:
            raise DataError(
                f"data={self.name}: {setting}={value!r}, expected {' or '.join(known)}"
                f"{did_you_mean(str(value), known)}"
            )
        return value


def _named(entry: Entry) -> Entry:
    """The entry, with an id that any file can hold."""
    shown = valid_unicode(entry.id)
    if shown == entry.id:
        return entry
    return replace(entry, id=shown, problem=f"file name is not UTF-8: {shown}; rename the file")


def _is_there(folder: Path, mark: str) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in mark.split("|"))
