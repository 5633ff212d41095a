"""KiCad source: some 6,000 CAD models of parts, described by the footprints that name them.

Materials are the part labels, VRML units of a tenth of an inch give the metric size. A footprint that names a
missing model, a model that no footprint describes and a file that cannot be read are all listed as
rejections.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from align3d.errors import DataError, RejectedItem, did_you_mean
from align3d.hashing import hash_bytes, hash_code, hash_lines, item_generator
from align3d.record import Record
from align3d.sampling import extent_m, normalize, sample_surface
from align3d.sources import Item, register
from align3d.sources.drawn_surface import DrawnSurface
from align3d.sources.file_names import valid_unicode
from align3d.sources.footprints import Usage, by_fit, captions_of, read_footprint
from align3d.sources.vrml import read_vrml

DEFAULT_ROOT = "/usr/share/kicad"
LICENSE = "CC-BY-SA-4.0 with KiCad exception"
_CODE = (
    *("captions", "sources.kicad", "sources.footprints", "sources.vrml", "sources.vrml_nodes"),
    *("sources.meshes.polygons", "sources.meshes.text_encoding"),
)
_SHAPES = ".3dshapes"
_UNSCALED = (1.0, 1.0, 1.0)


@register("kicad")
class KicadSource:
    """Models of a KiCad library with their footprints' descriptions.

    Args:
        root: Folder that holds ``3dmodels/`` and ``footprints/``, or one above it (an unpacked archive), or
            ``3dmodels`` itself; None: ``/usr/share/kicad``.
        families: Names or patterns of the model folders to read, without ``.3dshapes``, such as
            ``[Connector_PinHeader*,Package_SO]``; None: all.
        size: Largest number of models, a fair sample (the first by content hash); None: all.
    """

    name: ClassVar[str] = "kicad"

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        families: str | Sequence[str] | None = None,
        size: int | None = None,
    ) -> None:
        self.root = Path(str(root) if root is not None else DEFAULT_ROOT).expanduser()
        patterns = families.split(",") if isinstance(families, str) else list(families or [])
        self.families = tuple(pattern.strip() for pattern in patterns if str(pattern).strip())
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise DataError(
                f"data=kicad: size={size!r}, expected a whole number from 1, or none for all models"
            )
        self.size = size

    def fingerprint(self) -> str:
        """Sha256 of the settings and of every file's path, size and time of change."""
        library = self._library()
        lines = [
            f"kicad {sorted(self.families)} {self.size}",
            hash_code(*(f"align3d.{name}" for name in _CODE)),
        ]
        for folder, suffix in (("3dmodels", ".wrl"), ("footprints", ".kicad_mod")):
            for path, stat in _files(library / folder, suffix):
                lines.append(f"{folder}/{path} {stat.st_size} {int(stat.st_mtime)}")
        return hash_lines(lines)

    def items(self) -> list[Item]:
        """Models and captions, by path; an item without file or caption is rejected when it is read.

        Raises:
            DataError: There is no library, no such family, or nothing in it.
        """
        library = self._library()
        models = library / "3dmodels"
        present = {path.removesuffix(".wrl") for path, _ in _files(models, ".wrl")}
        if not present:
            raise DataError(
                f"data=kicad: no VRML models (*{_SHAPES}/*.wrl) in {models}; install the Debian package "
                f"kicad-packages3d (libraries that hold only STEP files are not read)"
            )
        usages: dict[str, list[Usage]] = {}
        for path, _ in _files(library / "footprints", ".kicad_mod"):
            for usage in read_footprint(library / "footprints" / path):
                usages.setdefault(usage.model, []).append(usage)
        if not usages:
            raise DataError(
                f"data=kicad: no footprint in {library / 'footprints'} names a model; "
                f"install the Debian package kicad-footprints"
            )
        names = self._chosen(sorted(present | set(usages)))
        items = [self._item(models, name, name in present, usages.get(name, [])) for name in names]
        return items if self.size is None else _sample(items, self.size)

    def read(self, item: Item, points: int, seed: int) -> Record:
        """Sample one model's surface."""
        path, captions, scale, problem = item.payload
        if problem:
            raise RejectedItem(problem)
        file = Path(path)
        mesh = read_vrml(file)
        vertices = mesh.vertices * np.array(scale)
        triangles = vertices[mesh.faces]  # [F, 3, 3]
        sampled, face, weights = sample_surface(triangles, points, item_generator(seed, item.id))
        used, part_of_face = np.unique(mesh.material, return_inverse=True)
        content = [file.read_bytes()]
        if scale != _UNSCALED:
            content.append(repr(scale).encode())
        return Record(
            id=item.id,
            source=self.name,
            category=_family(item.id),
            captions=captions,
            caption_origins=("footprint",) * len(captions),
            points=normalize(sampled),
            colors=mesh.colors(face, weights),
            part=part_of_face[face].astype(np.int16),
            part_names=tuple(mesh.material_names[index] for index in used),
            size_m=extent_m(triangles.reshape(-1, 3)),
            up_axis="z",
            license=LICENSE,
            content_hash=hash_bytes(*content),
            lost_colors=mesh.lost,
            notes=mesh.notes,
        )

    def surface(self, item: Item) -> DrawnSurface:
        """One model's surface."""
        path, _, scale, _ = item.payload
        mesh = read_vrml(Path(path))
        return DrawnSurface((mesh.vertices * np.array(scale))[mesh.faces], mesh.colors)

    def _library(self) -> Path:
        """The folder that holds ``3dmodels`` and ``footprints``."""
        candidates = [
            self.root,
            self.root / "usr/share/kicad",
            self.root / "share/kicad",
            self.root / "kicad",
        ]
        if self.root.name == "3dmodels":
            candidates.insert(0, self.root.parent)
        for candidate in candidates:
            if (candidate / "3dmodels").is_dir():
                if (candidate / "footprints").is_dir():
                    return candidate
                raise DataError(
                    f"data=kicad: no footprints at {candidate / 'footprints'}, which describe the models; "
                    f"install the Debian package kicad-footprints or set data.root"
                )
        where = self.root if self.root.name == "3dmodels" else self.root / "3dmodels"
        raise DataError(
            f"data=kicad: no library at {where}; install the Debian packages "
            f"kicad-packages3d and kicad-footprints or set data.root"
        )

    def _chosen(self, names: list[str]) -> list[str]:
        """The names whose family was asked for."""
        if not self.families:
            return names
        known = sorted({_family(name) for name in names})
        for pattern in self.families:
            if not fnmatch.filter(known, pattern):
                raise DataError(
                    f"data=kicad: no family {pattern!r}{did_you_mean(pattern, known)} "
                    f"({len(known)} families, such as {', '.join(known[:3])})"
                )
        wanted = {family for pattern in self.families for family in fnmatch.filter(known, pattern)}
        return [name for name in names if _family(name) in wanted]

    def _item(self, models: Path, name: str, present: bool, usages: list[Usage]) -> Item:
        ordered = by_fit(name, usages)
        captions = captions_of(ordered)
        problem = ""
        if not present:
            problem = (
                f"caption without a file: footprint {ordered[0].footprint} names it, but it is not there"
            )
        elif not ordered:
            problem = "file without a caption: no footprint names it"
        elif not captions:
            problem = f"file without a caption: footprint {ordered[0].footprint} has no description"
        shown = valid_unicode(name)
        if shown != name:
            problem = f"file name is not UTF-8: {shown}; rename the file"
        scale = ordered[0].scale if ordered else _UNSCALED
        return Item(f"{shown}.wrl", (str(models / f"{name}.wrl"), captions, scale, problem))


def _family(name: str) -> str:
    return name.partition("/")[0].removesuffix(_SHAPES)


def _files(folder: Path, suffix: str) -> Iterator[tuple[str, os.stat_result]]:
    """Files with a suffix one level below a folder, as ``sub/name``, sorted."""
    for sub in sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()):
        with os.scandir(folder / sub) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.endswith(suffix) and entry.is_file():
                    yield f"{sub}/{entry.name}", entry.stat()


def _sample(items: list[Item], size: int) -> list[Item]:
    """The first items by content hash, of those that have a file and a caption; in their old order."""
    ranked: list[tuple[str, str]] = []
    for item in items:
        path, _, _, problem = item.payload
        if not problem:
            with open(path, "rb") as file:
                ranked.append((hashlib.file_digest(file, "sha256").hexdigest(), item.id))
    chosen = {item_id for _, item_id in sorted(ranked)[:size]}
    return [item for item in items if item.id in chosen]
