"""ScanObjectNN: scans of objects of 15 classes, in HDF5, as raw files, and in the file of 2,890 shapes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from align3d.errors import DataError, RejectedItem
from align3d.sources import register
from align3d.sources.benchmarks.published_files import (
    BenchmarkSource,
    Cloud,
    Entry,
    Layout,
    array_cloud,
    h5_array,
    h5_has,
    kept_untrusted,
    labeled,
)

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
_RAW_COLUMNS = 11
_DOWNLOAD = (
    "Download {what} from the page of ScanObjectNN (hkust-vgd.github.io/scanobjectnn) after agreeing "
    "to its terms of use; for research only"
)


def _h5_entries(home: Path, choices: Mapping[str, Any]) -> list[Entry]:
    folder = choices["folder"]
    entries = []
    for path in sorted((home / folder).glob(choices["file"])):
        place = f"{folder}/{path.name}"
        entries += labeled(f"{folder}/{path.stem}", h5_array(path, "label"), CLASSES, place, path)
    return entries


def _h5_cloud(home: Path, place: tuple[str, int], count: int, rng: np.random.Generator) -> Cloud:
    """A scan; where the file has a mask, the points of the object are its one part."""
    name, row = place
    where = f"{name}, row {row}"
    cloud = array_cloud(h5_array(home / name, "data", row), where)
    if not h5_has(home / name, "mask"):
        return cloud
    mask = h5_array(home / name, "mask", row)
    if mask.shape != (len(cloud.points),):
        raise RejectedItem(f"{where}: mask {list(mask.shape)} for {len(cloud.points)} points")
    return cloud._replace(part=np.where(mask == -1, -1, 0).astype(np.int16), part_names=("object",))


def _raw_entries(home: Path, choices: Mapping[str, Any]) -> list[Entry]:
    if choices["split"] != "all":
        raise DataError(
            f"data=scanobjectnn: split={choices['split']} of raw files, which say of no split; set split=all"
        )
    return [
        Entry(f"{category}/{path.stem}", category, f"{category}/{path.name}")
        for category in CLASSES
        for path in sorted((home / category).glob("*.bin"))
        if not path.stem.endswith(("_indices", "_part")) and not path.name.startswith(".")
    ]


def _raw_cloud(home: Path, place: str, count: int, rng: np.random.Generator) -> Cloud:
    try:
        data = (home / place).read_bytes()
    except OSError as error:
        raise RejectedItem(f"{place}: cannot be read: {error.strerror}") from error
    values = np.frombuffer(data[: len(data) // 4 * 4], dtype="<f4")
    if not len(values) or len(data) % 4 or len(values) - 1 != values[0] * _RAW_COLUMNS:
        said = f"{values[0]:g} points" if len(values) else "nothing"
        raise RejectedItem(f"{place}: {len(data)} bytes for {said} of {_RAW_COLUMNS} numbers: cut or damaged")
    rows = values[1:].reshape(-1, _RAW_COLUMNS)
    return array_cloud(rows, place, rows[:, 6:9])


@register("scanobjectnn")
class ScanObjectNN(BenchmarkSource):
    """ScanObjectNN: scanned objects of 15 classes; the caption is the class.

    Args:
        variant: Variant of the HDF5 files: obj_bg, obj_only, pb_t25, pb_t25_r, pb_t50_r or pb_t50_rs.
        split: Published split, train or test; all for raw files, which say of none.
        fold: Which of the further divisions into train and test, 1 to 4; None: the main one.
    """

    name = "scanobjectnn"
    layouts = (
        Layout(
            "h5",
            ("", "h5_files", "ScanObjectNN", "ScanObjectNN/h5_files"),
            ("{folder}/{file}",),
            "y",
            _h5_entries,
            _h5_cloud,
        ),
        Layout(
            "raw",
            ("", "object_dataset", "ScanObjectNN", "ScanObjectNN/object_dataset"),
            ("*/*.bin",),
            "y",
            _raw_entries,
            _raw_cloud,
        ),
    )
    download = _DOWNLOAD.format(what="h5_files.zip, or object_dataset.zip for the raw files,")
    license = "LicenseRef-ScanObjectNN"
    is_metric = True

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        variant: str = "pb_t50_rs",
        split: str = "test",
        fold: int | None = None,
        layout: str | None = None,
        up: str | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__(root, layout, up, size)
        self._one_of("variant", variant, tuple(VARIANTS))
        self._one_of("split", split, ("train", "test", "all"))
        self._one_of("fold", fold, (None, 1, 2, 3, 4))
        folder = "main_split" if fold is None else f"split{fold}"
        begin = {"train": "training", "test": "test", "all": "*"}[split]
        self.choices = {
            "split": split,
            "folder": f"{folder}_nobg" if variant == "obj_only" else folder,
            "file": f"{begin}_{VARIANTS[variant]}.h5",
        }

    def _hint(self) -> str:
        if next(self.root.glob("**/xyz_label.npy"), None) is not None:
            return " (xyz_label.npy is data=scanobjectnn_2890: shapes of train and test together)"
        return ""


def _2890_arrays(home: Path) -> tuple[Any, Any, Any]:
    path = home / "xyz_label.npy"
    value = kept_untrusted(path)
    if not isinstance(value, dict) or "xyz" not in value or "label" not in value:
        raise DataError(f"{path}: expected a dict with xyz and label")
    arrays = value["xyz"], value["label"], value.get("rgb")
    if any(len(array) != len(arrays[0]) for array in arrays[1:] if array is not None):
        raise DataError(f"{path}: {len(arrays[0])} clouds and {len(arrays[1])} labels")
    return arrays


def _2890_entries(home: Path, choices: Mapping[str, Any]) -> list[Entry]:
    return labeled("xyz_label", _2890_arrays(home)[1], CLASSES, "xyz_label.npy", home / "xyz_label.npy")


def _2890_cloud(home: Path, place: tuple[str, int], count: int, rng: np.random.Generator) -> Cloud:
    xyz, _, rgb = _2890_arrays(home)
    row = place[1]
    return array_cloud(xyz[row], f"xyz_label.npy, row {row}", None if rgb is None else rgb[row], 255.0)


@register("scanobjectnn_2890")
class ScanObjectNN2890(BenchmarkSource):
    """The file ``xyz_label.npy`` that OpenShape, Uni3D and Point-Cache test on, no test split.

    Its 2,890 shapes are the 2,309 of train and the 581 of test together: a number on it compares with neither
    the 581 of OBJ_BG and OBJ_ONLY nor the 2,882 of PB_T50_RS.
    """

    name = "scanobjectnn_2890"
    layouts = (
        Layout(
            "xyz_label",
            ("", "scanobjectnn", "meta_data/scanobjectnn"),
            ("xyz_label.npy",),
            "z",
            _2890_entries,
            _2890_cloud,
        ),
    )
    download = (
        "Download meta_data.zip of OpenShape (huggingface.co/datasets/OpenShape/openshape-training-data), "
        "in it scanobjectnn/xyz_label.npy; for research only, as ScanObjectNN"
    )
    license = "LicenseRef-ScanObjectNN"

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        up: str | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__(root, None, up, size)
