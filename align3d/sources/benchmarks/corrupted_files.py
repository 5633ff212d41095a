"""Published files of corrupted clouds: ModelNet-C, ModelNet40-C and ScanObjNN-C."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from align3d.errors import DataError
from align3d.sources import register
from align3d.sources.benchmarks.modelnet40 import h5_cloud
from align3d.sources.benchmarks.published_files import (
    BenchmarkSource,
    Cloud,
    Entry,
    Layout,
    array_cloud,
    h5_array,
    kept_untrusted,
    labeled,
    modelnet_names,
)
from align3d.sources.benchmarks.scanobjectnn import CLASSES


def _modelnet_c(home: Path, choices: Mapping[str, Any]) -> list[Entry]:
    path = home / f"{choices['file']}.h5"
    return labeled(
        path.stem, h5_array(path, "label"), modelnet_names(home, choices["names"]), path.name, path
    )


def _scanobjnn_c(home: Path, choices: Mapping[str, Any]) -> list[Entry]:
    path = home / choices["variant"] / f"{choices['file']}.h5"
    place = f"{choices['variant']}/{path.name}"
    return labeled(f"{choices['variant']}/{path.stem}", h5_array(path, "label"), CLASSES, place, path)


def _modelnet40_c(home: Path, choices: Mapping[str, Any]) -> list[Entry]:
    name = f"data_{choices['file']}.npy"
    labels, clouds = kept_untrusted(home / "label.npy"), kept_untrusted(home / name)
    if len(np.atleast_1d(labels)) != len(np.atleast_1d(clouds)):
        raise DataError(f"{home / name}: {len(clouds)} shapes, and label.npy has {len(labels)} labels")
    return labeled(
        name.removesuffix(".npy"), labels, modelnet_names(home, choices["names"]), name, home / "label.npy"
    )


def _npy_cloud(home: Path, place: tuple[str, int], count: int, rng: np.random.Generator) -> Cloud:
    name, row = place
    return array_cloud(kept_untrusted(home / name)[row], f"{name}, row {row}")


class CorruptedFiles(BenchmarkSource):
    """Clouds of one kind of corruption at one level, or as they were before.

    Args:
        corruption: Kind of corruption as in the files' names; clean: none.
        level: Its level as in the files' names; None for clean.
    """

    levels: ClassVar[tuple[int, ...]] = (0, 1, 2, 3, 4)
    clean: ClassVar[str] = "clean"
    """What stands in a file's name in place of kind and level."""

    def __init__(
        self,
        root: str | os.PathLike[str] | None,
        corruption: str,
        level: int | None,
        up: str | None,
        size: int | None,
    ) -> None:
        super().__init__(root, None, up, size)
        if corruption == "clean":
            if level is not None:
                raise DataError(f"data={self.name}: level={level} of clean shapes; leave it out")
        elif isinstance(level, bool) or level not in self.levels:
            first, last = self.levels[0], self.levels[-1]
            raise DataError(
                f"data={self.name}: level={level!r} of {corruption}, "
                f"expected a whole number from {first} to {last}"
            )
        if not corruption.replace("_", "").replace("-", "").isalnum():
            raise DataError(f"data={self.name}: corruption={corruption!r}, expected a name such as jitter")
        file = self.clean if corruption == "clean" else f"{corruption}_{level}"
        self.choices = {"file": file}

    def _hint(self) -> str:
        pattern = self.layouts[0].needed[0]
        found = sorted(path.name for path in self.root.rglob(pattern.format(**self.choices | {"file": "*"})))
        more = ", ..." if len(found) > 12 else ""
        return f" (it holds {', '.join(found[:12])}{more})" if found else ""


@register("modelnet_c")
class ModelNetC(CorruptedFiles):
    """ModelNet-C: ModelNet40's test shapes with one of seven corruptions at levels 0 to 4.

    Args:
        names: File of the classes' names, one a line; None: ``shape_names.txt`` beside the files or above.
    """

    name = "modelnet_c"
    layouts = (Layout("h5", ("", "modelnet_c"), ("{file}.h5",), "y", _modelnet_c, h5_cloud),)
    download = (
        "Download modelnet_c.zip from the page of PointCloud-C (pointcloud-c.github.io); for non-commercial "
        "purposes only"
    )
    license = "LicenseRef-ModelNet-C"

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        corruption: str = "clean",
        level: int | None = None,
        names: str | os.PathLike[str] | None = None,
        up: str | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__(root, corruption, level, up, size)
        self.choices["names"] = None if names is None else str(names)


@register("modelnet40_c")
class ModelNet40C(CorruptedFiles):
    """ModelNet40-C: ModelNet40's test shapes with one of fifteen corruptions at levels 1 to 5.

    Args:
        names: File of the classes' names, one a line; None: ``shape_names.txt`` beside the files or above.
    """

    name = "modelnet40_c"
    levels = (1, 2, 3, 4, 5)
    clean = "original"
    layouts = (
        Layout("npy", ("", "modelnet40_c"), ("data_{file}.npy", "label.npy"), "y", _modelnet40_c, _npy_cloud),
    )
    download = (
        "Download modelnet40_c.zip as the page of ModelNet40-C says (github.com/jiachens/ModelNet40-C, "
        "on Zenodo); for academic research only, as ModelNet"
    )
    license = "LicenseRef-ModelNet"

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        corruption: str = "clean",
        level: int | None = None,
        names: str | os.PathLike[str] | None = None,
        up: str | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__(root, corruption, level, up, size)
        self.choices["names"] = None if names is None else str(names)


@register("scanobjnn_c")
class ScanObjNNC(CorruptedFiles):
    """ScanObjNN-C: ScanObjectNN's test shapes with one of seven corruptions at levels 0 to 4.

    Args:
        variant: Variant of ScanObjectNN: obj_bg, obj_only or hardest.
    """

    name = "scanobjnn_c"
    layouts = (
        Layout(
            "h5",
            ("", "sonn_c", "scanobjectnn_c", "scanobjnn_c"),
            ("{variant}/{file}.h5",),
            "y",
            _scanobjnn_c,
            h5_cloud,
        ),
    )
    download = (
        "Download ScanObjNN-C as the page of Point-Cache says (github.com/auniquesun/Point-Cache); "
        "for research only, as ScanObjectNN"
    )
    license = "LicenseRef-ScanObjectNN"

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        variant: str = "hardest",
        corruption: str = "clean",
        level: int | None = None,
        up: str | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__(root, corruption, level, up, size)
        self._one_of("variant", variant, ("obj_bg", "obj_only", "hardest"))
        self.choices["variant"] = variant
