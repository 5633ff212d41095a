"""Layouts of published files: what a benchmark's shapes are, where they lie, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from align3d.sampling import Floats

if TYPE_CHECKING:
    from align3d.sources.benchmarks.published import PublishedSource


@dataclass(frozen=True)
class Publication:
    """What a benchmark's files are, and under which terms they are to be had.

    Attributes:
        files: Files to download.
        publisher: Where they are.
        license: SPDX name, or one of our own for terms that have none.
        terms: The terms in words.
    """

    files: str
    publisher: str
    license: str
    terms: str

    def __str__(self) -> str:
        return f"download {self.files} from {self.publisher} (license: {self.terms})"


@dataclass(frozen=True)
class Entry:
    """A shape as the lists of a benchmark name it.

    Attributes:
        id: Unique within the split.
        file: Path of its file, relative to the folder where the layout begins.
        category: Class as published; empty where there is none.
        captions: What the benchmark says of it; empty: the class.
        row: Its row in a file that holds many shapes.
        beside: Further files that it is read from.
        extra: Further plain values that its reader needs.
        problem: Why it cannot be read; empty where it can.
    """

    id: str
    file: str = ""
    category: str = ""
    captions: tuple[str, ...] = ()
    row: int | None = None
    beside: tuple[str, ...] = ()
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
        category: Class that stands in the shape's own file; empty: that of the lists.
        captions: Texts that stand in the shape's own file; empty: those of the lists.
        content_hash: Sha256 of the file that points were drawn from; empty: of points and colors.
        lost: Why colors of the file were dropped, a line each.
        notes: What else was guessed, a line each.
    """

    points: Floats
    colors: NDArray[np.uint8] | None = None
    part: NDArray[np.int16] | None = None
    part_names: tuple[str, ...] = ()
    category: str = ""
    captions: tuple[str, ...] = ()
    content_hash: str = ""
    lost: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shape:
    """A shape that is to be read.

    Attributes:
        source: The source, with its settings.
        entry: What the lists say of it.
        points: Number of points to draw where the file holds a surface.
        rng: The shape's own generator.
    """

    source: Any
    entry: Entry
    points: int
    rng: np.random.Generator

    @property
    def path(self) -> Path:
        """Its file."""
        path: Path = self.source.base / self.entry.file
        return path

    @property
    def row(self) -> int:
        """Its row in the file."""
        return self.entry.row or 0

    @property
    def where(self) -> str:
        """The file and the row in it, for messages."""
        row = "" if self.entry.row is None else f", row {self.entry.row}"
        return f"{self.entry.file}{row}"


@dataclass(frozen=True)
class Layout:
    """A way in which a benchmark is published.

    Attributes:
        name: What the setting ``layout`` calls it.
        marks: Patterns of the files that it is known by, relative to the folder where it begins. All must be
            there, of several between ``|`` one. ``{source.split}`` and the like are the source's settings.
        entries: Lists the shapes of a source's split, below ``source.base``.
        cloud: Reads one of them: all points that its file has, or those drawn from a surface.
        up: Axis that points up in the published files.
        folders: Patterns of the folders below the root where it may begin as well.
        reads_meshes: Whether shapes are read by the readers of mesh files.
    """

    name: str
    marks: tuple[str, ...]
    entries: Callable[[Any], Iterable[Entry]]
    cloud: Callable[[Shape], Cloud]
    up: str = "y"
    folders: tuple[str, ...] = ("*",)
    reads_meshes: bool = False

    def files(self, source: PublishedSource) -> str:
        """The files that it is known by, in words."""
        return " + ".join(mark.format(source=source).replace("|", " or ") for mark in self.marks)

    def begins(self, source: PublishedSource) -> list[Path]:
        """The root where its files are there, else all folders below where they are."""
        marks = [mark.format(source=source).split("|") for mark in self.marks]

        def is_home(folder: Path) -> bool:
            return all(_is_there(folder, mark) for mark in marks)

        if is_home(source.top):
            return [source.top]
        below = {path for pattern in self.folders for path in source.top.glob(pattern) if path.is_dir()}
        return [path for path in visible(below, source.top) if is_home(path)]


def visible(paths: Iterable[Path], base: Path) -> Iterator[Path]:
    """Those of the paths below ``base`` that are neither hidden nor what a Mac leaves in archives, sorted."""
    return (path for path in sorted(paths) if not _is_hidden(path, base))


def _is_there(folder: Path, patterns: Sequence[str]) -> bool:
    return any(not _is_hidden(path, folder) for pattern in patterns for path in folder.glob(pattern))


def _is_hidden(path: Path, base: Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(base).parts)
