"""Base of the sources of published benchmarks: the layout that a root holds, and records of its shapes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar, dataclass_transform

import numpy as np

from align3d.errors import DataError, RejectedItem, did_you_mean
from align3d.hashing import hash_bytes, hash_code, hash_lines, item_generator
from align3d.record import AXES, MISSING_COLOR, Record
from align3d.sampling import extent_m, normalize, resample_cloud, rotate_up
from align3d.sources import Item, register
from align3d.sources.benchmarks.published_layout import Cloud, Entry, Layout, Publication, Shape
from align3d.sources.file_names import valid_unicode
from align3d.sources.meshes.scene_readers import readers_fingerprint

_READERS = (
    *("benchmarks.hdf5_arrays", "benchmarks.published_layout", "benchmarks.published_values"),
    *("benchmarks.restricted_pickle", "meshes.color_range"),
)
_CHOICES, _LEAST = "choices", "least"


def one_of(default: Any, *others: Any) -> Any:
    """A setting that has one of these values."""
    return field(default=default, metadata={_CHOICES: (default, *others)})


def at_least(least: int, default: int | None) -> Any:
    """A setting that is a whole number from ``least``, or left at its default."""
    return field(default=default, metadata={_LEAST: least})


S = TypeVar("S", bound="type[PublishedSource]")


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(one_of, at_least))
def published_source(name: str) -> Callable[[S], S]:
    """Class decorator: make a benchmark known by its name, its fields its settings."""

    def add(cls: S) -> S:
        cls.name = name
        dataclass(kw_only=True, eq=False)(cls)
        return register(name)(cls)

    return add


@dataclass(kw_only=True, eq=False)
class PublishedSource:
    """Source of the shapes of a benchmark, from files that a user has downloaded.

    A subclass says in ``LAYOUTS`` how they may lie. The size of a shape is the box of its normalized points
    unless the files are known to have meters.

    Attributes:
        root: Folder of the published files, or one above it.
        layout: How the files lie; None: found by what is there.
        split: Part of the benchmark to read.
        up: Axis that points up in the files; None: that of the layout as it is published.
        size: Largest number of shapes, a fair sample (the first by the hash of their id); None: all.
    """

    name: ClassVar[str]
    LAYOUTS: ClassVar[tuple[Layout, ...]]
    PUBLISHED: ClassVar[Publication]
    root: str | os.PathLike[str] | None = None
    layout: str | None = None
    split: str = one_of("test", "train")
    up: str | None = one_of(None, *AXES)
    size: int | None = at_least(1, None)

    def __post_init__(self) -> None:
        if self.root is None:
            raise DataError(f"data={self.name}: no root; {self._advice}")
        layouts = (None, *(layout.name for layout in self.LAYOUTS))
        for one in fields(self):
            value, least = getattr(self, one.name), one.metadata.get(_LEAST)
            known = layouts if one.name == "layout" else one.metadata.get(_CHOICES)
            if known is not None and (value not in known or isinstance(value, bool)):
                words = [str(choice) for choice in known if choice is not None]
                self._refuse(one.name, f"{' or '.join(words)}{did_you_mean(str(value), words)}")
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            if least is not None and value != one.default and not (is_whole and value >= least):
                self._refuse(one.name, f"a whole number from {least}")

    @cached_property
    def top(self) -> Path:
        """The root as a path."""
        return Path(str(self.root)).expanduser()

    @property
    def wanted(self) -> list[Layout]:
        """Layouts that are looked for."""
        return [layout for layout in self.LAYOUTS if self.layout in (None, layout.name)]

    @cached_property
    def found(self) -> tuple[Layout, Path]:
        """The layout that the root holds, and the folder where it begins.

        Raises:
            DataError: There is no such folder, none of the layouts in it, or several.
        """
        if not self.top.is_dir():
            what = "is not a folder" if self.top.exists() else "does not exist"
            raise DataError(f"data={self.name}: root {self.root} {what}; {self._advice}")
        found = [(layout, folder) for layout in self.wanted for folder in layout.begins(self)]
        if not found:
            looked = "; ".join(f"{layout.name}: {layout.files(self)}" for layout in self.wanted)
            missing = f"nothing of it in {self.root}{self.hint()} (looked for {looked})"
            raise DataError(f"data={self.name}: {missing}; {self._advice}")
        if len(found) > 1:
            several = len({layout.name for layout, _ in found}) > 1
            held = ", ".join(
                one.name if folder == self.top else f"{one.name} in {folder.relative_to(self.top)}"
                for one, folder in found
            )
            how = "layout=" if several else "root="
            raise DataError(f"data={self.name}: {self.root} holds {held}; say which by {how}")
        return found[0]

    @property
    def is_metric(self) -> bool:
        """Whether lengths are meters."""
        return False

    @property
    def base(self) -> Path:
        """Folder where the layout begins."""
        return self.found[1]

    def fingerprint(self) -> str:
        """Sha256 of the settings, of what the lists say, and of each file's path, size and time of change."""
        layout, base = self.found
        settings = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "root"}
        modules = [f"align3d.sources.{name}" for name in _READERS]
        own = {__name__, type(self).__module__, layout.entries.__module__, layout.cloud.__module__}
        lines = [f"{self.name} {layout.name} {settings}", hash_code(*modules, *sorted(own))]
        if layout.reads_meshes:
            lines.append(readers_fingerprint())
        entries = self._entries()
        lines += map(repr, entries)
        files = {file for one in entries if not one.problem for file in (one.file, *one.beside)}
        return hash_lines([*lines, *(_stamp(base, file) for file in sorted(files))])

    def items(self) -> list[Item]:
        """Shapes of the split as listed; one without file or caption is rejected when it is read.

        Raises:
            DataError: No such root, no file of the benchmark in it, or a damaged list.
        """
        return [Item(entry.id, entry) for entry in self._entries()]

    def read(self, item: Item, points: int, seed: int) -> Record:
        """One shape's points, turned so that z is up, and resampled; a missing color is 0.4 gray."""
        entry: Entry = item.payload
        if entry.problem:
            raise RejectedItem(entry.problem)
        layout, _ = self.found
        rng = item_generator(seed, item.id)
        try:
            cloud = layout.cloud(Shape(self, entry, points, rng))
        except OSError as error:
            raise RejectedItem(f"{entry.file}: cannot be read: {error.strerror or error}") from error
        except DataError as error:  # of a reader that has no item
            raise RejectedItem(str(error)) from error
        chosen = resample_cloud(len(cloud.points), points, rng)
        turned = rotate_up(cloud.points, self.up or layout.up)
        unit = normalize(turned[chosen])
        category = cloud.category or entry.category
        plain_class = category.replace("_", " ")
        gray = np.full((points, 3), MISSING_COLOR, np.uint8)
        return Record(
            id=item.id,
            source=self.name,
            category=category,
            captions=cloud.captions or entry.captions or tuple(filter(None, (plain_class,))),
            points=unit,
            colors=gray if cloud.colors is None else cloud.colors[chosen],
            part=np.full(points, -1, np.int16) if cloud.part is None else cloud.part[chosen],
            part_names=cloud.part_names,
            size_m=extent_m(turned if self.is_metric else unit.astype(np.float64)),
            up_axis="z",
            license=self.PUBLISHED.license,
            content_hash=cloud.content_hash or _content(cloud),
            lost_colors=cloud.lost,
            notes=cloud.notes,
        )

    def hint(self) -> str:
        """What else the root holds, where nothing was found that was looked for."""
        (splits,) = (one.metadata[_CHOICES] for one in fields(self) if one.name == "split")
        others = [replace(self, split=split) for split in splits if split != self.split]
        held = [one.split for one in others if any(layout.begins(one) for layout in one.wanted)]
        return f" for split={self.split}, only for {', '.join(held)}" if held else ""

    def _entries(self) -> list[Entry]:
        """Entries of the split, each id once; with a size, so many of those without a problem."""
        layout, _ = self.found
        try:
            entries = [_named(entry) for entry in layout.entries(self)]
        except DataError as error:
            raise DataError(f"data={self.name}: {error}") from error
        known: set[str] = set()
        for entry in entries:
            if entry.id in known:
                raise DataError(
                    f"data={self.name}: its lists name {entry.id!r} twice; expected each shape once"
                )
            known.add(entry.id)
        if self.size is None:
            return entries
        ranked = sorted((hash_lines([entry.id]), entry.id) for entry in entries if not entry.problem)
        kept = {name for _, name in ranked[: self.size]}
        return [entry for entry in entries if entry.id in kept]

    def _refuse(self, setting: str, expected: str) -> NoReturn:
        raise DataError(f"data={self.name}: {setting}={getattr(self, setting)!r}, expected {expected}")

    @property
    def _advice(self) -> str:
        return f"{self.PUBLISHED} and set data.root to its folder"


def _named(entry: Entry) -> Entry:
    """The entry, with an id that any file can hold."""
    shown = valid_unicode(entry.id)
    if shown == entry.id:
        return entry
    return replace(entry, id=shown, problem=f"file name is not UTF-8: {shown}; rename the file")


def _content(cloud: Cloud) -> str:
    arrays = [cloud.points.astype("<f8"), *([] if cloud.colors is None else [cloud.colors])]
    return hash_bytes(*(np.ascontiguousarray(array).tobytes() for array in arrays))


def _stamp(base: Path, file: str) -> str:
    try:
        stat = (base / file).stat()
    except OSError:
        return f"{file} is not there"
    return f"{file} {stat.st_size} {int(stat.st_mtime)}"
