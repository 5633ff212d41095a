"""ScanObjectNN: scans of objects of 15 classes, in HDF5, as raw files, and in the file of 2,890 shapes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from align3d.errors import DataError, RejectedItem
from align3d.sources.benchmarks.hdf5_arrays import h5_array, h5_cloud, h5_entries, h5_has
from align3d.sources.benchmarks.published import PublishedSource, one_of, published_source
from align3d.sources.benchmarks.published_layout import Cloud, Entry, Layout, Publication, Shape, visible
from align3d.sources.benchmarks.published_values import cloud_of, is_below, kept_untrusted, labeled, lines_of

CLASSES = (
    *("bag", "bin", "box", "cabinet", "chair", "desk", "display", "door", "shelf", "table"),
    *("bed", "pillow", "sink", "sofa", "toilet"),
)
"""The classes in the order of their labels; no file holds their names."""
VARIANTS = {
    "obj_bg": "objectdataset",
    "obj_only": "objectdataset",
    "pb_t25": "objectdataset_augmented25_norot",
    "pb_t25_r": "objectdataset_augmented25rot",
    "pb_t50_r": "objectdataset_augmentedrot",
    "pb_t50_rs": "objectdataset_augmentedrot_scale75",
}
"""The variants, and what their files are called."""
TERMS = ("LicenseRef-ScanObjectNN", "for research only, after agreeing to the terms of use of ScanObjectNN")
"""License of ScanObjectNN, and of all that is made of it."""
_RAW_COLUMNS, _RAW_SPLIT = 11, "split_new.txt"


def _h5_entries(source: ScanObjectNN) -> Iterator[Entry]:
    for path in visible((source.base / source.folder).glob(source.file), source.base):
        yield from h5_entries(source.base, path.relative_to(source.base).as_posix(), CLASSES)


def _h5_cloud(shape: Shape) -> Cloud:
    """A scan; where the file has a mask, the points of the object are its one part."""
    cloud = h5_cloud(shape)
    if not h5_has(shape.path, "mask"):
        return cloud
    mask = h5_array(shape.path, "mask", shape.row)
    if mask.shape != (len(cloud.points),):
        raise RejectedItem(f"{shape.where}: mask {list(mask.shape)} for {len(cloud.points)} points")
    return replace(cloud, part=np.where(mask == -1, -1, 0).astype(np.int16), part_names=("object",))


def _raw_entries(source: ScanObjectNN) -> Iterator[Entry]:
    if source.split != "all":
        yield from _split_entries(source, source.base / _RAW_SPLIT)
        return
    for category in CLASSES:
        for path in visible((source.base / category).glob("*.bin"), source.base):
            if not path.stem.endswith(("_indices", "_part")):
                yield Entry(f"{category}/{path.stem}", f"{category}/{path.name}", category)


def _split_entries(source: ScanObjectNN, path: Path) -> Iterator[Entry]:
    """Shapes of a list of names, numbers of classes, and a ``t`` for those of the test split."""
    if not path.is_file():
        raise DataError(f"split={source.split} of raw files without {_RAW_SPLIT}; set split=all")
    for number, line in enumerate(lines_of(path), 1):
        name, label, side = (*line.split("\t"), "", "")[:3]
        if not label.strip().isdecimal() or int(label) >= len(CLASSES):
            raise DataError(
                f"{path}, line {number}: expected a file, the number of its class, and t for test"
            )
        if (side.strip() == "t") == (source.split == "test"):
            category = CLASSES[int(label)]
            file = f"{category}/{name.strip()}"
            problem = "" if is_below(source.base, file) else f"no file that {path.name} names: {file}"
            yield Entry(file.removesuffix(".bin"), file, category, problem=problem)


def _raw_cloud(shape: Shape) -> Cloud:
    data = shape.path.read_bytes()
    values = np.frombuffer(data[: len(data) // 4 * 4], dtype="<f4")
    if not len(values) or len(data) % 4 or len(values) - 1 != values[0] * _RAW_COLUMNS:
        said = f"{values[0]:g} points" if len(values) else "nothing"
        raise RejectedItem(
            f"{shape.where}: {len(data)} bytes for {said} of {_RAW_COLUMNS} numbers: cut or damaged"
        )
    rows = values[1:].reshape(-1, _RAW_COLUMNS)
    return cloud_of(rows, shape.where, rows[:, 6:9], 1.0)


@published_source("scanobjectnn")
class ScanObjectNN(PublishedSource):
    """ScanObjectNN: scanned objects of 15 classes; the caption is the class.

    Attributes:
        layout: How the files lie: h5 or raw; None: found by what is there.
        split: Part of the benchmark to read: test, train or all; of raw files as ``split_new.txt`` says, all
            without it.
        variant: Variant of the HDF5 files: obj_bg, obj_only, pb_t25, pb_t25_r, pb_t50_r or pb_t50_rs.
        fold: Which of the further divisions into train and test, 1 to 4; None: the main one.
    """

    LAYOUTS = (
        Layout(
            "h5",
            ("{source.folder}/{source.file}",),
            _h5_entries,
            _h5_cloud,
            folders=("*", "ScanObjectNN/h5_files"),
        ),
        Layout(
            "raw",
            ("*/*.bin",),
            _raw_entries,
            _raw_cloud,
            folders=("*", "ScanObjectNN/object_dataset"),
        ),
    )
    PUBLISHED = Publication(
        "h5_files.zip, or object_dataset.zip for the raw files,",
        "the page of ScanObjectNN (hkust-vgd.github.io/scanobjectnn)",
        *TERMS,
    )

    split: str = one_of("test", "train", "all")
    variant: str = one_of("pb_t50_rs", *VARIANTS)
    fold: int | None = one_of(None, 1, 2, 3, 4)

    @property
    def folder(self) -> str:
        """Folder of the HDF5 files."""
        division = "main_split" if self.fold is None else f"split{self.fold}"
        return f"{division}_nobg" if self.variant == "obj_only" else division

    @property
    def file(self) -> str:
        """Pattern of the HDF5 files' names."""
        begin = {"train": "training", "test": "test", "all": "*"}[self.split]
        return f"{begin}_{VARIANTS[self.variant]}.h5"

    @property
    def is_metric(self) -> bool:
        """Whether lengths are meters: those of PB_T50_RS are scaled at random."""
        return self.found[0].name == "raw" or self.variant != "pb_t50_rs"

    def hint(self) -> str:
        """The file of 2,890 shapes, which is none of these variants."""
        if next(self.top.glob("**/xyz_label.npy"), None) is not None:
            return " (xyz_label.npy is data=scanobjectnn_2890: shapes of train and test together)"
        return super().hint()


def _2890_arrays(source: ScanObjectNN2890) -> tuple[Any, Any, Any]:
    path = source.base / "xyz_label.npy"
    value = kept_untrusted(path)
    if not isinstance(value, dict) or "xyz" not in value or "label" not in value:
        raise DataError(f"{path}: expected a dict with xyz and label")
    arrays = value["xyz"], value["label"], value.get("rgb")
    if any(len(array) != len(arrays[0]) for array in arrays[1:] if array is not None):
        raise DataError(f"{path}: {len(arrays[0])} clouds and {len(arrays[1])} labels")
    return arrays


def _2890_entries(source: ScanObjectNN2890) -> list[Entry]:
    file = "xyz_label.npy"
    return labeled("xyz_label", _2890_arrays(source)[1], CLASSES, file, source.base / file)


def _2890_cloud(shape: Shape) -> Cloud:
    xyz, _, rgb = _2890_arrays(shape.source)
    row = shape.row
    return cloud_of(xyz[row], shape.where, None if rgb is None else rgb[row], 255.0)


@published_source("scanobjectnn_2890")
class ScanObjectNN2890(PublishedSource):
    """The file ``xyz_label.npy`` that OpenShape, Uni3D and Point-Cache test on, no test split.

    Its 2,890 shapes are the 2,309 of train and the 581 of test together: a number on it compares with neither
    the 581 of OBJ_BG and OBJ_ONLY nor the 2,882 of PB_T50_RS.

    Attributes:
        split: Part of the benchmark to read; it is train and test together: all.
    """

    LAYOUTS = (
        Layout(
            "xyz_label",
            ("xyz_label.npy",),
            _2890_entries,
            _2890_cloud,
            "z",
            folders=("*", "meta_data/scanobjectnn"),
        ),
    )
    PUBLISHED = Publication(
        "meta_data.zip of OpenShape, in it scanobjectnn/xyz_label.npy,",
        "huggingface.co/datasets/OpenShape/openshape-training-data",
        *TERMS,
    )

    split: str = one_of("all")
