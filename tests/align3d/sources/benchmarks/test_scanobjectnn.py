"""ScanObjectNN: variants in HDF5, raw scans, and the file of train and test together."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from align3d.errors import DataError
from tests.align3d.sources.benchmarks.published_shapes import (
    ARROW,
    is_same_cloud,
    read,
    read_all,
    rejection,
    y_up_to_z_up,
)

CLASSES = [
    *("bag", "bin", "box", "cabinet", "chair", "desk", "display", "door", "shelf", "table"),
    *("bed", "pillow", "sink", "sofa", "toilet"),
]


def write_h5(path: Path, labels: list[int], mask: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["data"] = np.tile(ARROW, (len(labels), 512, 1)).astype(np.float32)
        file["label"] = np.array(labels, np.int32)
        if mask:  # the class of the object's points, -1 behind it
            file["mask"] = np.tile(np.array([-1, 7, 7, 7], np.int64), (len(labels), 512))


def write_raw(path: Path, rows: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.concatenate([[len(rows)], rows.ravel()]).astype("<f4").tobytes())


def raw_rows() -> np.ndarray:
    colors = np.array([[255, 0, 10], [255, 0, 10], [0, 128, 10], [0, 128, 10]])
    return np.concatenate([ARROW, np.tile([0, 1, 0], (4, 1)), colors, np.full((4, 2), 3)], axis=1)


FILES = {
    "obj_bg": "main_split/test_objectdataset.h5",
    "obj_only": "main_split_nobg/test_objectdataset.h5",
    "pb_t25": "main_split/test_objectdataset_augmented25_norot.h5",
    "pb_t25_r": "main_split/test_objectdataset_augmented25rot.h5",
    "pb_t50_r": "main_split/test_objectdataset_augmentedrot.h5",
    "pb_t50_rs": "main_split/test_objectdataset_augmentedrot_scale75.h5",
}


def test_each_variant_is_its_own_file(tmp_path: Path) -> None:
    for number, file in enumerate(FILES.values()):
        write_h5(tmp_path / "h5_files" / file, [number])
    for number, (variant, file) in enumerate(FILES.items()):
        records = read_all("scanobjectnn", root=tmp_path, variant=variant)
        assert [(name, one.category) for name, one in records.items()] == [
            (f"{file.removesuffix('.h5')}/00000", CLASSES[number])
        ]


def test_labels_splits_axis_and_mask(tmp_path: Path) -> None:
    write_h5(tmp_path / "main_split/test_objectdataset.h5", list(range(15)))
    write_h5(tmp_path / "main_split/training_objectdataset.h5", [3])
    write_h5(tmp_path / "split2/test_objectdataset.h5", [4])
    write_h5(tmp_path / "main_split_nobg/test_objectdataset.h5", [5], mask=False)
    write_h5(tmp_path / "split4_nobg/test_objectdataset.h5", [6], mask=False)
    records = read_all("scanobjectnn", root=tmp_path, variant="obj_bg")
    assert [one.category for one in records.values()] == CLASSES
    first = next(iter(records.values()))
    assert is_same_cloud(first, y_up_to_z_up(ARROW))
    assert first.size_m.tolist() == [1.0, 4.0, 2.0]  # as the file says
    assert first.part_names == ("object",)
    assert 0 < (first.part == -1).sum() < len(first.part)
    corner = first.points[first.part == -1]  # the one point of the background
    assert len(np.unique(corner, axis=0)) == 1
    assert (first.colors == 102).all()
    settings = {"root": tmp_path, "variant": "obj_bg"}
    assert [one.category for one in read_all("scanobjectnn", **settings, split="train").values()] == [
        "cabinet"
    ]
    assert len(read_all("scanobjectnn", **settings, split="all")) == 16
    assert [one.category for one in read_all("scanobjectnn", **settings, fold=2).values()] == ["chair"]
    (bare,) = read_all("scanobjectnn", root=tmp_path, variant="obj_only").values()
    assert bare.category == "desk"
    assert bare.part_names == ()
    (fourth,) = read_all("scanobjectnn", root=tmp_path, variant="obj_only", fold=4).values()
    assert fourth.category == "display"


def test_a_scan_that_was_scaled_at_random_has_no_meters(tmp_path: Path) -> None:
    write_h5(tmp_path / FILES["pb_t50_rs"], [0])
    write_h5(tmp_path / FILES["pb_t50_r"], [0])
    (scaled,), (turned,) = (
        read_all("scanobjectnn", root=tmp_path, variant=variant).values()
        for variant in ("pb_t50_rs", "pb_t50_r")
    )
    assert turned.size_m.tolist() == [1.0, 4.0, 2.0]
    assert np.allclose(scaled.size_m, np.ptp(scaled.points.astype(float), axis=0), atol=1e-3)


def test_a_fold_is_a_number_from_1_to_4(tmp_path: Path) -> None:
    for fold in (5, 0, True):
        with pytest.raises(DataError, match=f"fold={fold}, expected 1 or 2 or 3 or 4"):
            read_all("scanobjectnn", root=tmp_path, fold=fold)


def test_raw_scans_have_colors(tmp_path: Path) -> None:
    write_raw(tmp_path / "object_dataset/sofa/scene0011_00_00003.bin", raw_rows())
    write_raw(tmp_path / "object_dataset/bag/014_00001.bin", raw_rows())
    (tmp_path / "object_dataset/bag/014_00001_indices.bin").write_bytes(b"1234")
    (tmp_path / "object_dataset/bag/014_00001_part.bin").write_bytes(b"1234")
    records = read_all("scanobjectnn", root=tmp_path, split="all")
    assert [(name, one.category) for name, one in records.items()] == [
        ("bag/014_00001", "bag"),
        ("sofa/scene0011_00_00003", "sofa"),
    ]
    record = records["bag/014_00001"]
    assert is_same_cloud(record, y_up_to_z_up(ARROW))
    assert record.size_m.tolist() == [1.0, 4.0, 2.0]
    left = record.points[:, 1] <= np.sort(np.unique(record.points[:, 1]))[0]  # z = 4 in the file, so -y
    assert (record.colors[left] == [0, 128, 10]).all()
    assert {tuple(color) for color in record.colors.tolist()} == {(255, 0, 10), (0, 128, 10)}
    with pytest.raises(DataError, match=r"split=test of raw files without split_new\.txt; set split=all"):
        read_all("scanobjectnn", root=tmp_path)


def test_raw_scans_are_split_by_their_list(tmp_path: Path) -> None:
    write_raw(tmp_path / "sofa/scene0011_00_00003.bin", raw_rows())
    write_raw(tmp_path / "bag/014_00001.bin", raw_rows())
    listed = tmp_path / "split_new.txt"
    listed.write_text("014_00001.bin\t0\t\nscene0011_00_00003.bin\t13\tt\n015_00002.bin\t0\tt\n")
    records, rejected = read(tmp_path, "scanobjectnn")
    assert [(name, one.category) for name, one in records.items()] == [("sofa/scene0011_00_00003", "sofa")]
    assert rejected == {"bag/015_00002": "no file that split_new.txt names: bag/015_00002.bin"}
    assert list(read_all("scanobjectnn", root=tmp_path, split="train")) == ["bag/014_00001"]
    assert len(read_all("scanobjectnn", root=tmp_path, split="all")) == 2
    listed.write_text("014_00001.bin\t15\n")
    with pytest.raises(DataError, match=r"split_new\.txt, line 1: expected a file, the number of its class"):
        read_all("scanobjectnn", root=tmp_path)


def test_a_cut_scan_is_rejected_by_name(tmp_path: Path) -> None:
    path = tmp_path / "chair/scene_1.bin"
    for kept in (0, 3, 4, 100, 179):
        write_raw(path, raw_rows())
        path.write_bytes(path.read_bytes()[:kept])
        said = rejection("scanobjectnn", "chair/scene_1", root=tmp_path, split="all")
        assert said.startswith("chair/scene_1.bin: ")
        assert said.endswith("cut or damaged")
    rows = raw_rows()
    rows[0, 6] = 300
    write_raw(path, rows)
    (scan,) = read_all("scanobjectnn", root=tmp_path, split="all").values()
    assert scan.lost_colors == ("chair/scene_1.bin: colors from 0 to 300, expected 0 to 255",)
    assert (scan.colors == 102).all()


def test_the_2890_shapes_have_a_name_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "meta_data/scanobjectnn"
    folder.mkdir(parents=True)
    value = {"xyz": np.tile(ARROW, (3, 1, 1)).astype(np.float32), "label": np.array([14, 0, 10])}
    np.save(folder / "xyz_label.npy", value)  # type: ignore[arg-type]
    records = read_all("scanobjectnn_2890", root=tmp_path)
    assert [(name, one.category) for name, one in records.items()] == [
        ("xyz_label/00000", "toilet"),
        ("xyz_label/00001", "bag"),
        ("xyz_label/00002", "bed"),
    ]
    assert is_same_cloud(records["xyz_label/00000"], ARROW)
    with pytest.raises(
        DataError, match=r"xyz_label\.npy is data=scanobjectnn_2890: shapes of train and test"
    ):
        read_all("scanobjectnn", root=tmp_path)
    value["label"] = np.array([1])
    np.save(folder / "xyz_label.npy", value)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"xyz_label\.npy: 3 clouds and 1 labels"):
        read_all("scanobjectnn_2890", root=tmp_path)
