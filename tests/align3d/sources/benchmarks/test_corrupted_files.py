"""ModelNet-C, ModelNet40-C and ScanObjNN-C on files as they are published."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from align3d.errors import DataError
from tests.align3d.sources.benchmarks.published_shapes import (
    ARROW,
    is_same_cloud,
    read_all,
    rejection,
    y_up_to_z_up,
)

NAMES = ["airplane", "bathtub", "night_stand"]


def write_h5(path: Path, labels: list[int], stretch: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    clouds = np.tile(ARROW * [stretch, 1, 1], (len(labels), 16, 1))
    with h5py.File(path, "w") as file:
        file["data"] = clouds.astype(np.float32)
        file["label"] = np.array(labels, np.int64)[:, None]


def test_modelnet_c(tmp_path: Path) -> None:
    write_h5(tmp_path / "modelnet_c/clean.h5", [2, 0], 1.0)
    write_h5(tmp_path / "modelnet_c/scale_4.h5", [2, 0], 3.0)
    (tmp_path / "shape_names.txt").write_text("\n".join(NAMES))
    clean = read_all("modelnet_c", root=tmp_path)
    assert [(name, one.category) for name, one in clean.items()] == [
        ("clean/00000", "night_stand"),
        ("clean/00001", "airplane"),
    ]
    assert is_same_cloud(clean["clean/00000"], y_up_to_z_up(ARROW))
    scaled = read_all("modelnet_c", root=tmp_path, corruption="scale", level=4)
    assert is_same_cloud(scaled["scale_4/00001"], y_up_to_z_up(ARROW * [3.0, 1, 1]))
    with pytest.raises(
        DataError, match=r"it holds clean\.h5, scale_4\.h5.*looked for h5: scale_3\.h5\).*PointCloud"
    ):
        read_all("modelnet_c", root=tmp_path, corruption="scale", level=3)


def test_names_of_classes_are_asked_for(tmp_path: Path) -> None:
    write_h5(tmp_path / "clean.h5", [1], 1.0)
    with pytest.raises(DataError, match=r"numbers of classes without names; put shape_names\.txt"):
        read_all("modelnet_c", root=tmp_path)
    (tmp_path / "mine.txt").write_text("a\nb\n")
    assert read_all("modelnet_c", root=tmp_path, names=tmp_path / "mine.txt")["clean/00000"].category == "b"


def test_modelnet40_c_counts_levels_from_1(tmp_path: Path) -> None:
    (tmp_path / "shape_names.txt").write_text("\n".join(NAMES))
    np.save(tmp_path / "label.npy", np.array([1, 2]))
    np.save(tmp_path / "data_original.npy", np.tile(ARROW, (2, 1, 1)).astype(np.float32))
    np.save(tmp_path / "data_shear_5.npy", np.tile(ARROW * [5, 1, 1], (2, 1, 1)).astype(np.float32))
    clean = read_all("modelnet40_c", root=tmp_path)
    assert [one.category for one in clean.values()] == ["bathtub", "night_stand"]
    sheared = read_all("modelnet40_c", root=tmp_path, corruption="shear", level=5)
    assert is_same_cloud(sheared["data_shear_5/00001"], y_up_to_z_up(ARROW * [5, 1, 1]))
    with pytest.raises(DataError, match="level=0 of shear, expected a whole number from 1 to 5"):
        read_all("modelnet40_c", root=tmp_path, corruption="shear", level=0)
    np.save(tmp_path / "label.npy", np.array([[2], [0]]))
    assert [one.category for one in read_all("modelnet40_c", root=tmp_path).values()] == [
        "night_stand",
        "airplane",
    ]
    np.save(tmp_path / "label.npy", np.array([1]))
    with pytest.raises(DataError, match=r"data_original\.npy: 2 shapes, and label\.npy has 1 labels"):
        read_all("modelnet40_c", root=tmp_path)


def test_scanobjnn_c_has_the_classes_of_scanobjectnn(tmp_path: Path) -> None:
    write_h5(tmp_path / "hardest/jitter_0.h5", [10, 14], 1.0)
    write_h5(tmp_path / "obj_bg/clean.h5", [0], 1.0)
    records = read_all("scanobjnn_c", root=tmp_path, corruption="jitter", level=0)
    assert [(name, one.category) for name, one in records.items()] == [
        ("hardest/jitter_0/00000", "bed"),
        ("hardest/jitter_0/00001", "toilet"),
    ]
    assert [one.category for one in read_all("scanobjnn_c", root=tmp_path, variant="obj_bg").values()] == [
        "bag"
    ]
    with pytest.raises(DataError, match=r"variant='obj_onl', expected .*did you mean obj_only"):
        read_all("scanobjnn_c", root=tmp_path, variant="obj_onl")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"corruption": "jitter"}, "level=None of jitter, expected a whole number from 0 to 4"),
        ({"corruption": "jitter", "level": 5}, "level=5 of jitter"),
        ({"level": 1}, "level=1 of clean shapes"),
        ({"corruption": "../jitter", "level": 1}, "expected a name such as jitter"),
    ],
)
def test_wrong_levels(tmp_path: Path, settings: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_all("modelnet_c", root=tmp_path, **settings)


def test_damage_is_named(tmp_path: Path) -> None:
    (tmp_path / "shape_names.txt").write_text("\n".join(NAMES))
    write_h5(tmp_path / "clean.h5", [3], 1.0)
    said = rejection("modelnet_c", "clean/00000", root=tmp_path)
    assert said == "clean.h5, row 0: label 3 with 3 names of classes"
    with h5py.File(tmp_path / "jitter_1.h5", "w") as file:
        file["data"] = np.zeros((1, 4, 3))
    with pytest.raises(DataError, match=r"jitter_1\.h5: no array 'label', it has data"):
        read_all("modelnet_c", root=tmp_path, corruption="jitter", level=1)
    (tmp_path / "jitter_2.h5").write_bytes((tmp_path / "clean.h5").read_bytes()[:1000])
    with pytest.raises(DataError, match=r"jitter_2\.h5: cut or damaged"):
        read_all("modelnet_c", root=tmp_path, corruption="jitter", level=2)


def test_another_file_that_one_names_is_not_opened(tmp_path: Path) -> None:
    write_h5(tmp_path / "clean.h5", [1], 1.0)
    (tmp_path / "secret").write_bytes(bytes(8))
    (tmp_path / "shape_names.txt").write_text("\n".join(NAMES))
    with h5py.File(tmp_path / "jitter_0.h5", "w") as file:
        file["label"] = h5py.ExternalLink("clean.h5", "label")
    with h5py.File(tmp_path / "jitter_1.h5", "w") as file:
        file.create_dataset("label", (1,), "<i8", external=[("secret", 0, 8)])
    with h5py.File(tmp_path / "jitter_2.h5", "w") as file:
        layout = h5py.VirtualLayout((1, 1), "<i8")
        layout[:] = h5py.VirtualSource("clean.h5", "label", (1, 1))
        file.create_virtual_dataset("label", layout)
    for level in range(3):
        with pytest.raises(DataError, match="'label' lies in another file, which is not opened"):
            read_all("modelnet_c", root=tmp_path, corruption="jitter", level=level)


def test_labels_that_are_no_numbers_of_classes(tmp_path: Path) -> None:
    (tmp_path / "shape_names.txt").write_text("\n".join(NAMES))
    np.save(tmp_path / "data_original.npy", np.tile(ARROW, (4, 1, 1)))
    np.save(tmp_path / "label.npy", np.array([np.nan, -1, 1.5, 2.0]))
    for row, label in enumerate(("nan", "-1.0", "1.5")):
        said = rejection("modelnet40_c", f"data_original/{row:05d}", root=tmp_path)
        assert said == f"label.npy, row {row}: label {label} with 3 names of classes"
    np.save(tmp_path / "label.npy", np.array(["a", "b", "c", "d"]))
    with pytest.raises(DataError, match=r"label\.npy: labels <U1\[4\], expected whole numbers"):
        read_all("modelnet40_c", root=tmp_path)
