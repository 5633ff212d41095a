"""Published files of corrupted clouds: ModelNet-C, ModelNet40-C and ScanObjNN-C."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from align3d.errors import DataError
from align3d.sources.benchmarks.hdf5_arrays import h5_cloud, h5_entries
from align3d.sources.benchmarks.modelnet40 import TERMS, modelnet_names
from align3d.sources.benchmarks.published import PublishedSource, one_of, published_source
from align3d.sources.benchmarks.published_layout import Cloud, Entry, Layout, Publication, Shape, visible
from align3d.sources.benchmarks.published_values import cloud_of, kept_untrusted, labeled
from align3d.sources.benchmarks.scanobjectnn import CLASSES
from align3d.sources.benchmarks.scanobjectnn import TERMS as SCAN_TERMS


@dataclass(kw_only=True, eq=False)
class CorruptedFiles(PublishedSource):
    """Clouds of one kind of corruption at one level, or as they were before.

    Attributes:
        split: Part of the benchmark to read; it is made of the test shapes: test.
        corruption: Kind of corruption as in the files' names; clean: none.
        level: Its level as in the files' names; None for clean.
    """

    LEVELS: ClassVar[tuple[int, ...]] = (0, 1, 2, 3, 4)
    CLEAN: ClassVar[str] = "clean"
    """What stands in a file's name in place of kind and level."""

    split: str = one_of("test")
    corruption: str = "clean"
    level: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.corruption == "clean":
            if self.level is not None:
                raise DataError(f"data={self.name}: level={self.level} of clean shapes; leave it out")
        elif isinstance(self.level, bool) or self.level not in self.LEVELS:
            raise DataError(
                f"data={self.name}: level={self.level!r} of {self.corruption}, "
                f"expected a whole number from {self.LEVELS[0]} to {self.LEVELS[-1]}"
            )
        if not self.corruption.replace("_", "").replace("-", "").isalnum():
            raise DataError(
                f"data={self.name}: corruption={self.corruption!r}, expected a name such as jitter"
            )

    @property
    def stem(self) -> str:
        """What the name of the file says of its shapes."""
        return self.CLEAN if self.corruption == "clean" else f"{self.corruption}_{self.level}"

    def hint(self) -> str:
        """The files of other corruptions or levels."""
        pattern = self.LAYOUTS[0].marks[0].rpartition("/")[2].replace("{source.stem}", "*")
        found = [path.name for path in visible(self.top.rglob(pattern), self.top)]
        more = ", ..." if len(found) > 12 else ""
        return f" (it holds {', '.join(found[:12])}{more})" if found else ""


@dataclass(kw_only=True, eq=False)
class _CorruptedModelNet(CorruptedFiles):
    """ModelNet40's test shapes, corrupted.

    Attributes:
        names: File of the classes' names, one a line; None: ``shape_names.txt`` beside the files or above.
    """

    names: str | os.PathLike[str] | None = None


def _h5_entries(source: ModelNetC) -> list[Entry]:
    return h5_entries(source.base, f"{source.stem}.h5", modelnet_names(source.base, source.names))


@published_source("modelnet_c")
class ModelNetC(_CorruptedModelNet):
    """ModelNet-C: ModelNet40's test shapes with one of seven corruptions at levels 0 to 4."""

    LAYOUTS = (Layout("h5", ("{source.stem}.h5",), _h5_entries, h5_cloud, folders=("modelnet_c",)),)
    PUBLISHED = Publication(
        "modelnet_c.zip",
        "the page of PointCloud-C (pointcloud-c.github.io)",
        "CC-BY-NC-SA-4.0",
        "CC-BY-NC-SA 4.0, the shapes as ModelNet",
    )


def _npy_entries(source: ModelNet40C) -> list[Entry]:
    file, path = f"data_{source.stem}.npy", source.base / "label.npy"
    labels, clouds = kept_untrusted(path), kept_untrusted(source.base / file)
    if len(np.atleast_1d(labels)) != len(np.atleast_1d(clouds)):
        raise DataError(f"{source.base / file}: {len(clouds)} shapes, and label.npy has {len(labels)} labels")
    return labeled(f"data_{source.stem}", labels, modelnet_names(source.base, source.names), file, path)


def _npy_cloud(shape: Shape) -> Cloud:
    return cloud_of(kept_untrusted(shape.path)[shape.row], shape.where)


@published_source("modelnet40_c")
class ModelNet40C(_CorruptedModelNet):
    """ModelNet40-C: ModelNet40's test shapes with one of fifteen corruptions at levels 1 to 5."""

    LEVELS = (1, 2, 3, 4, 5)
    CLEAN = "original"
    LAYOUTS = (
        Layout(
            "npy",
            ("data_{source.stem}.npy", "label.npy"),
            _npy_entries,
            _npy_cloud,
            folders=("modelnet40_c",),
        ),
    )
    PUBLISHED = Publication(
        "modelnet40_c.zip", "Zenodo, by the page of ModelNet40-C (github.com/jiachens/ModelNet40-C)", *TERMS
    )


def _scan_entries(source: ScanObjNNC) -> list[Entry]:
    return h5_entries(source.base, f"{source.variant}/{source.stem}.h5", CLASSES)


@published_source("scanobjnn_c")
class ScanObjNNC(CorruptedFiles):
    """ScanObjNN-C: ScanObjectNN's test shapes with one of seven corruptions at levels 0 to 4.

    Attributes:
        variant: Variant of ScanObjectNN: obj_bg, obj_only or hardest.
    """

    LAYOUTS = (Layout("h5", ("{source.variant}/{source.stem}.h5",), _scan_entries, h5_cloud),)
    PUBLISHED = Publication(
        "sonn_c",
        "huggingface.co/datasets/auniquesun/Point-PRC, by the page of Point-Cache",
        *SCAN_TERMS,
    )

    variant: str = one_of("hardest", "obj_bg", "obj_only")
