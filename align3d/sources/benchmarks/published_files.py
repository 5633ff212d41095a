"""Common part of the benchmarks' sources: layouts of published files, and clouds made into records."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from align3d.errors import DataError, RejectedItem, did_you_mean
from align3d.hashing import hash_bytes, hash_code, hash_lines, item_generator
from align3d.record import AXES, MISSING_COLOR, Record
from align3d.sampling import Floats, normalize, resample_cloud, rotate_up
from align3d.sources import Item
from align3d.sources.benchmarks.restricted_pickle import load_untrusted


class Entry(NamedTuple):
    """A shape that a benchmark lists.

    Attributes:
        id: Unique within the source.
        category: Its class as published.
        place: What its layout needs to find it: plain values.
        problem: Why it cannot be read; empty where nothing is known against it.
    """

    id: str
    category: str
    place: Any
    problem: str = ""


class Cloud(NamedTuple):
    """Points of a shape as published.

    Attributes:
        points: f64[N, 3], in the file's axes and unit.
        colors: u8[N, 3]; None where the benchmark has none.
        part: i16[N], index into ``part_names`` or -1; None where there are no parts.
        part_names: Names of the parts.
        content_hash: Sha256 of the file that the points were drawn from; empty: of the points themselves.
        lost: Why colors of the file were dropped, a line each.
        notes: What else was guessed, a line each.
    """

    points: Floats
    colors: NDArray[np.uint8] | None = None
    part: NDArray[np.int16] | None = None
    part_names: tuple[str, ...] = ()
    content_hash: str = ""
    lost: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """One way in which a benchmark is published.

    Attributes:
        name: What the setting ``layout`` calls it.
        homes: Folders relative to the root where its files may lie.
        needed: Patterns of the files, each of which must match one; ``{split}`` and the like are filled in.
        up: Axis that points up in the files.
        entries: Lists the shapes below a home, given the choices (split, variant, ...) by name.
        read: One cloud, given the home, the entry's place, a number of points and the item's generator.
    """

    name: str
    homes: tuple[str, ...]
    needed: tuple[str, ...]
    up: str
    entries: Callable[[Path, Mapping[str, Any]], list[Entry]]
    read: Callable[[Path, Any, int, np.random.Generator], Cloud]

    def files(self, home: Path, choices: Mapping[str, Any]) -> list[Path]:
        """The files below a home, sorted; empty where one of the patterns matches nothing."""
        found: set[Path] = set()
        for pattern in self.needed:
            matching = [path for path in home.glob(pattern.format(**choices)) if not _is_hidden(path, home)]
            if not matching:
                return []
            found.update(matching)
        return sorted(found)

    def wanted(self, choices: Mapping[str, Any]) -> str:
        """Description of the files that are looked for."""
        return f"{self.name} ({', '.join(pattern.format(**choices) for pattern in self.needed)})"


class BenchmarkSource:
    """Source that reads a benchmark's published files.

    Args:
        root: Folder of the published files.
        layout: Which of the published layouts to read; None: the one that the root holds.
        up: Axis that points up in the files; None: that of the layout.
        size: Largest number of shapes, a fair sample (the first by the hash of their id); None: all.
    """

    name: ClassVar[str] = ""
    layouts: ClassVar[tuple[Layout, ...]] = ()
    download: ClassVar[str] = ""
    """Files to download, their publisher and license."""
    license: ClassVar[str] = ""
    is_metric: ClassVar[bool] = False
    """Whether lengths are meters; else the size of a shape is that of its normalized points."""

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        layout: str | None = None,
        up: str | None = None,
        size: int | None = None,
    ) -> None:
        if root is None:
            raise DataError(f"data={self.name}: no root; set data.root to its folder. {self.download}")
        self.root = Path(str(root)).expanduser()
        self.layout, self.up, self.size = layout, up, size
        self.choices: dict[str, Any] = {}
        known = [one.name for one in self.layouts]
        if layout is not None:
            self._one_of("layout", layout, known)
        if up is not None:
            self._one_of("up", up, AXES)
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise DataError(
                f"data={self.name}: size={size!r}, expected a whole number from 1, or none for all"
            )

    def fingerprint(self) -> str:
        """Sha256 of the settings, the reading code and of every file's path, size and time of change."""
        layout, home = self.find()
        lines = [f"{self.name} {layout.name} {self.up} {self.size} {sorted(self.choices.items())}"]
        folder = __name__.rpartition(".")[0]
        modules = {__name__, f"{folder}.restricted_pickle", layout.entries.__module__, type(self).__module__}
        lines.append(hash_code(*sorted(modules)))
        for path in layout.files(home, self.choices):
            stat = path.stat()
            lines.append(f"{path.relative_to(home)} {stat.st_size} {int(stat.st_mtime)}")
        return hash_lines(lines)

    def items(self) -> list[Item]:
        """The shapes that the files list, in their order.

        Raises:
            DataError: No files, files of several layouts, or files that are damaged.
        """
        layout, home = self.find()
        entries = layout.entries(home, self.choices)
        if self.size is not None:
            usable = sorted((hash_lines([entry.id]), entry.id) for entry in entries if not entry.problem)
            kept = {name for _, name in usable[: self.size]}
            entries = [entry for entry in entries if entry.id in kept]
        return [Item(entry.id, (layout.name, str(home), *entry[1:])) for entry in entries]

    def read(self, item: Item, points: int, seed: int) -> Record:
        """One shape of ``points`` points, z up; a color that is missing is 0.4 gray."""
        name, home, category, place, problem = item.payload
        if problem:
            raise RejectedItem(problem)
        (layout,) = (one for one in self.layouts if one.name == name)
        rng = item_generator(seed, item.id)
        try:
            cloud = layout.read(Path(home), place, points, rng)
        except DataError as error:
            raise RejectedItem(str(error)) from error
        colors = cloud.colors
        hashed = cloud.content_hash or hash_bytes(
            cloud.points.astype("<f8").tobytes(), b"" if colors is None else colors.tobytes()
        )
        chosen = resample_cloud(len(cloud.points), points, rng)
        turned = rotate_up(cloud.points, self.up or layout.up)
        unit = normalize(turned[chosen])
        box = turned if self.is_metric else unit.astype(np.float64)
        none = np.full(points, -1, np.int16)
        return Record(
            id=item.id,
            source=self.name,
            category=category,
            captions=(category.replace("_", " "),),
            points=unit,
            colors=np.full((points, 3), MISSING_COLOR, np.uint8) if colors is None else colors[chosen],
            part=none if cloud.part is None else cloud.part[chosen],
            part_names=cloud.part_names,
            size_m=np.ptp(box, axis=0).astype(np.float32),
            up_axis="z",
            license=self.license,
            content_hash=hashed,
            lost_colors=cloud.lost,
            notes=cloud.notes,
        )

    def find(self) -> tuple[Layout, Path]:
        """The layout that the root holds, and the folder of its files.

        Raises:
            DataError: None of them, or several.
        """
        if not self.root.is_dir():
            what = "is not a folder" if self.root.exists() else "does not exist"
            raise DataError(f"data={self.name}: root {self.root} {what}. {self.download}")
        wanted = [one for one in self.layouts if self.layout in (None, one.name)]
        found = []
        for layout in wanted:
            homes = (self.root / home for home in layout.homes)
            home = next((one for one in homes if layout.files(one, self.choices)), None)
            if home is not None:
                found.append((layout, home))
        if not found:
            looked = "; ".join(layout.wanted(self.choices) for layout in wanted)
            raise DataError(
                f"data={self.name}: nothing of it in {self.root}{self._hint()}; looked for {looked}. "
                f"{self.download}"
            )
        if len(found) > 1:
            names = ", ".join(layout.name for layout, _ in found)
            raise DataError(f"data={self.name}: {self.root} holds {names}; say which by layout=")
        return found[0]

    def _hint(self) -> str:
        """What else the root holds, where nothing was found that was looked for."""
        return ""

    def _one_of(self, name: str, value: Any, known: Sequence[Any]) -> None:
        if value not in known:
            expected = ", ".join(map(str, known))
            close = did_you_mean(str(value), map(str, known))
            raise DataError(f"data={self.name}: {name}={value!r}, expected one of {expected}{close}")


def array_cloud(points: ArrayLike, where: str, colors: ArrayLike | None = None, scale: float = 1.0) -> Cloud:
    """Cloud of an array whose first three columns are x, y and z.

    Args:
        points: [N, 3] or more columns.
        where: The file and the place in it, for messages.
        colors: [N, 3]; None where there are none.
        scale: What a color is multiplied by to be in 0 to 255.

    Raises:
        RejectedItem: It is no such array, is empty or not finite, or its colors do not fit.
    """
    try:
        array = np.asarray(points, dtype=np.float64)
        paint = None if colors is None else np.asarray(colors, dtype=np.float64) * scale
    except (TypeError, ValueError) as error:
        raise RejectedItem(f"{where}: no array of numbers: {error}") from error
    if array.ndim != 2 or array.shape[1] < 3 or not len(array):
        raise RejectedItem(f"{where}: points {list(array.shape)}, expected [N, 3]")
    array = np.ascontiguousarray(array[:, :3])
    if not np.isfinite(array).all():
        raise RejectedItem(f"{where}: NaN or infinite points")
    if paint is None:
        return Cloud(array)
    if paint.shape != array.shape:
        raise RejectedItem(f"{where}: colors {list(paint.shape)} for points {list(array.shape)}")
    if not ((paint >= 0) & (paint <= 255.5)).all():
        raise RejectedItem(f"{where}: colors from {paint.min():g} to {paint.max():g}, expected 0 to 255")
    return Cloud(array, np.minimum(np.rint(paint), 255).astype(np.uint8))


def class_names(path: Path) -> list[str]:
    """Names of classes, one a line; a label is the number of its line from 0.

    Raises:
        DataError: The file cannot be read, is empty or names a class twice.
    """
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not names or len(set(names)) < len(names):
        raise DataError(
            f"{path}: {'no names' if not names else 'a name stands twice'}, expected one class a line"
        )
    return names


def modelnet_names(home: Path, given: str | None) -> list[str]:
    """Names of ModelNet40's classes in the order of their numbers, for files that hold numbers alone.

    Args:
        home: Folder of the files; the names may lie there, or one or two folders above.
        given: File that the user names instead.

    Raises:
        DataError: There is no such file.
    """
    if given is not None:
        return class_names(Path(given).expanduser())
    for folder in (home, home.parent, home.parent.parent):
        for name in ("shape_names.txt", "modelnet40_shape_names.txt"):
            if (folder / name).is_file():
                return class_names(folder / name)
    raise DataError(
        f"{home}: numbers of classes without names; put shape_names.txt of modelnet40_ply_hdf5_2048 there, "
        "or set data.names to it"
    )


def labeled(stem: str, labels: ArrayLike, names: Sequence[str], place: Any, where: Path) -> list[Entry]:
    """Entries of the rows of a file, with their class by its number; a number without a name is a problem.

    Args:
        stem: What the ids begin with.
        labels: [N] or [N, 1], whole numbers.
        names: Names of the classes.
        place: Where the rows are; the entry's place is (place, row).
        where: The file, for messages.

    Raises:
        DataError: The labels are not such numbers.
    """
    flat = np.asarray(labels)
    if flat.ndim not in (1, 2) or flat.size != len(flat) or flat.dtype.kind not in "iuf":
        raise DataError(f"{where}: labels {flat.dtype}{list(flat.shape)}, expected whole numbers [N]")
    entries = []
    for row, label in enumerate(flat.reshape(-1).tolist()):
        known = 0 <= label < len(names) and label == int(label)  # NaN is neither
        problem = (
            "" if known else f"{where.name}, row {row}: label {label} with {len(names)} names of classes"
        )
        entries.append(Entry(f"{stem}/{row:05d}", names[int(label)] if known else "", (place, row), problem))
    return entries


def h5_array(path: Path, name: str, row: int | None = None) -> NDArray[Any]:
    """An array of an HDF5 file, or one of its rows.

    Raises:
        DataError: The file is damaged, lacks the array, or ``h5py`` is not installed.
    """
    with _opened(path) as file:
        link = file.get(name, getlink=True)
        if link is None:
            raise DataError(f"{path}: no array {name!r}, it has {', '.join(sorted(file)) or 'none'}")
        array = file[name] if type(link).__name__ == "HardLink" else None
        if array is None or getattr(array, "external", None) or getattr(array, "is_virtual", False):
            raise DataError(f"{path}: {name!r} lies in another file, which is not opened")
        if not hasattr(array, "shape"):
            raise DataError(f"{path}: {name!r} is no array")
        return np.asarray(array[()] if row is None else array[row])


def h5_has(path: Path, name: str) -> bool:
    """Whether an HDF5 file has something of that name; errors as `h5_array`."""
    with _opened(path) as file:
        return name in file


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import h5py  # here: an extra of its own
    except ImportError as error:
        raise DataError(f"{path}: HDF5 needs h5py: pip install 'align3d[benchmarks]'") from error
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, ValueError, KeyError, IndexError) as error:
        raise DataError(f"{path}: cut or damaged: {' '.join(str(error).split())}") from error


def kept_untrusted(path: Path) -> Any:
    """What `load_untrusted` reads; the last files stay in memory, as each item of one is read by itself.

    Raises:
        DataError: See `load_untrusted`.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return _kept(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=2)
def _kept(path: Path, size: int, changed: int) -> Any:
    return load_untrusted(path)


def _is_hidden(path: Path, home: Path) -> bool:
    """Whether it is what a Mac leaves in archives, or hidden."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(home).parts)
