"""Folder source: meshes and point clouds with a captions file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import numpy as np

from align3d.errors import DataError, RejectedItem
from align3d.hashing import hash_bytes, hash_code, hash_lines, item_generator
from align3d.record import AXES, Record
from align3d.sampling import normalize, rotate_up
from align3d.sources import Item, register
from align3d.sources.caption_file import Entry, find_captions_file, has_captions_file, read_captions
from align3d.sources.drawn_surface import DrawnSurface, surface_of_scene
from align3d.sources.file_names import FileNames
from align3d.sources.meshes.scene_readers import formats, read_scene, readers_fingerprint
from align3d.sources.surface import read_points

#: glTF fixes its up axis (glTF 2.0, section 3.4); other formats leave it open.
_UP_OF_FORMAT = {".glb": "y", ".gltf": "y"}
_METERS = {
    **{"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "um": 1e-6, "µm": 1e-6, "μm": 1e-6, "km": 1000.0},
    **{"in": 0.0254, "inch": 0.0254, "ft": 0.3048, "yd": 0.9144, "mil": 0.0254e-3},
}
"""Meters of a unit that a captions file may name."""


@register("folder")
class FolderSource:
    """Meshes and point clouds in any format that can be read here, with a file of captions.

    The captions file has rows ``path, caption[, category, license, up, unit]``; paths are relative to the
    root, several rows of a path are several captions. Shapes are turned so that z is up: from the row's
    ``up``, else the setting, else the format's own (glTF: y), else z. Lengths are in the row's ``unit``
    (``mm``, ``in``, or a number of meters), else in the unit that the file or its format fixes (glTF:
    meters), else in that of the setting.

    Args:
        root: Folder of the files.
        captions: Captions file (``path,caption[,category,license,up,unit]``), absolute or relative to the
            root; None: ``captions.csv``, ``captions.jsonl`` or ``captions.parquet`` in the root.
        unit_m: Unit in meters, such as 0.001 for millimeters, of files whose row and format do not say.
        up: Axis that points up in files whose row does not say; None: y for glTF, else z.
        size: Largest number of shapes, a fair sample of the files that have captions (the first by the hash
            of their path); None: all.
        uncaptioned: Whether files without a caption are read too, and none has to have one, for a captioner.
    """

    name: ClassVar[str] = "folder"

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        captions: str | os.PathLike[str] | None = None,
        unit_m: float = 1.0,
        up: str | None = None,
        size: int | None = None,
        uncaptioned: bool = False,
    ) -> None:
        if root is None:
            raise DataError("data=folder: no root; set data.root to a folder of meshes with a captions file")
        self.root = Path(str(root)).expanduser()
        self.captions = None if captions is None else Path(str(captions)).expanduser()
        if isinstance(unit_m, bool) or not isinstance(unit_m, int | float) or not 0.0 < unit_m < 1e9:
            raise DataError(
                f"data=folder: unit_m={unit_m!r}, expected the files' unit in meters, such as 0.001"
            )
        if up is not None and up not in AXES:
            raise DataError(f"data=folder: up={up!r}, expected x, y or z")
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise DataError(
                f"data=folder: size={size!r}, expected a whole number from 1, or none for all shapes"
            )
        self.unit_m, self.up, self.size, self.uncaptioned = float(unit_m), up, size, bool(uncaptioned)

    def fingerprint(self) -> str:
        """Sha256 of the settings, the captions and of every file's path, size and time of change."""
        captions = self._captions_file()
        lines = [
            f"folder {self.unit_m!r} {self.up} {self.size} {self.uncaptioned}",
            hash_code("align3d.sources.folder", "align3d.sources.surface"),
            hash_code("align3d.table_file", "align3d.sources.caption_file", "align3d.sources.file_names"),
            readers_fingerprint(),
        ]
        try:
            lines.append("" if captions is None else hash_bytes(captions.read_bytes()))
        except OSError as error:
            raise DataError(
                f"data=folder: captions file {captions} cannot be read: {error.strerror}"
            ) from error
        for path in FileNames(self.root).names:
            try:
                stat = (self.root / path).stat()
            except (
                OSError
            ):  # a link to nowhere, or taken away just now: ``items`` rejects it where it is named
                lines.append(f"{path} is not there")
                continue
            lines.append(f"{path} {stat.st_size} {int(stat.st_mtime)}")
        return hash_lines(lines)

    def items(self) -> list[Item]:
        """Files and captions, by path; what lacks the other half is rejected when it is read.

        Raises:
            DataError: No such root, no captions file or a bad one.
        """
        captions = self._captions_file()
        entries = {} if captions is None else read_captions(captions)
        readable, files = formats(), FileNames(self.root)
        for path, entry in entries.items():
            entry.file = files.find(path) or path
            entry.problem = entry.problem or self._problem(path, entry.file, files, readable)
        named = {entry.file for entry in entries.values()}
        for file in files.names:
            if Path(file).suffix.lower() in readable and file not in named:
                problem = files.fault(file)
                if self.uncaptioned:
                    problem = problem or self._problem(file, file, files, readable)
                else:
                    problem = problem or "file without a caption: the captions file does not name it"
                entries[files.id_of(file)] = Entry(problem=problem, file=file)
        for folder, reason in files.unlisted.items():
            entries[folder] = Entry(problem=f"folder cannot be listed: {reason}")
        kept = self._sample(entries)
        return [
            Item(path, (tuple(entry.captions), dict(entry.values), entry.problem, entry.file))
            for path, entry in sorted(entries.items())
            if path in kept
        ]

    def item_of(self, file: str, caption: str, *, unit_m: float | None = None, up: str | None = None) -> Item:
        """An item for one file below the root, whatever the captions file says of it.

        Args:
            file: Path of the file, relative to the root.
            caption: Its caption.
            unit_m: Unit of the file in meters, whatever its format says; None leaves that to the format.
            up: Axis that points up, likewise.
        """
        given = {"unit": None if unit_m is None else repr(float(unit_m)), "up": up}
        return Item(file, ((caption,), {k: v for k, v in given.items() if v is not None}, "", file))

    def read(self, item: Item, points: int, seed: int) -> Record:
        """Sample one file's surface, or resample its cloud."""
        captions, values, problem, file = item.payload
        if problem:
            raise RejectedItem(problem)
        path = self.root / file
        try:
            content_hash = hash_bytes(path.read_bytes())
        except OSError as error:
            raise RejectedItem(f"cannot be read: {error.strerror}") from error
        if values.get("up", "z") not in AXES:
            raise RejectedItem(f"up={values['up']!r} in the captions file, expected x, y or z")
        up = self._up(path, values)
        unit_m = _meters(values["unit"]) if "unit" in values else None
        found = read_points(path, points, item_generator(seed, item.id), self.root)
        unit_m = unit_m or found.unit_m or self.unit_m
        with np.errstate(all="ignore"):  # an infinite extent breaks the contract of records
            extent = np.abs(rotate_up(found.corners[1] - found.corners[0], up)) * unit_m
            size_m = extent.astype(np.float32)
        return Record(
            id=item.id,
            source=self.name,
            category=values.get("category", ""),
            captions=captions,
            caption_origins=("captions file",) * len(captions),
            points=normalize(rotate_up(found.points, up)),
            colors=found.colors,
            part=found.part,
            part_names=found.part_names,
            size_m=size_m,
            up_axis="z",
            license=values.get("license", ""),
            content_hash=content_hash,
            lost_colors=found.lost,
            notes=found.notes,
        )

    def surface(self, item: Item) -> DrawnSurface | None:
        """One file's surface; None where it is a cloud."""
        _, values, _, file = item.payload
        path = self.root / file
        return surface_of_scene(read_scene(path, self.root), self._up(path, values))

    def _up(self, path: Path, values: dict[str, str]) -> str:
        """Axis that points up in a file."""
        return values.get("up") or self.up or _UP_OF_FORMAT.get(path.suffix.lower(), "z")

    def _captions_file(self) -> Path | None:
        """The captions file; None where there is none and none is needed."""
        if not self.root.is_dir():
            what = "is not a folder" if self.root.exists() else "does not exist"
            raise DataError(f"data=folder: root {self.root} {what}; set data.root to a folder of meshes")
        if self.captions is None and self.uncaptioned and not has_captions_file(self.root):
            return None
        return find_captions_file(self.root) if self.captions is None else self.root / self.captions

    def _sample(self, entries: dict[str, Entry]) -> set[str]:
        """The paths to read; with a size, so many of those without a problem."""
        if self.size is None:
            return set(entries)
        ranked = sorted((hash_lines([path]), path) for path, entry in entries.items() if not entry.problem)
        return {path for _, path in ranked[: self.size]}

    def _problem(self, path: str, name: str, files: FileNames, readable: frozenset[str]) -> str:
        """Why the file of a path in the captions file cannot be used; empty where it can."""
        file = self.root / name
        try:
            if not file.is_file():
                return f"caption without a file: no {path} in {self.root}{files.hint(path)}"
        except OSError as error:  # such as a name that is too long
            return f"caption without a file: {path[:80]!r}: {error.strerror}"
        if not file.resolve().is_relative_to(self.root.resolve()):
            return f"path {path!r} leaves the root through a link; expected a file below it"
        if file.suffix.lower() not in readable:
            return f"format {file.suffix!r} is not read; known: {', '.join(sorted(readable))}"
        return ""


def _meters(unit: str) -> float:
    """Meters of a unit, by its name or as a number.

    Raises:
        RejectedItem: The captions file names something else.
    """
    try:
        meters = _METERS[unit] if unit in _METERS else float(unit)
    except ValueError:
        meters = 0.0
    if not 0.0 < meters < 1e9:
        raise RejectedItem(
            f"unit={unit!r} in the captions file, expected m, cm, mm, in, ft or a number of meters"
        )
    return meters
