"""ModelNet40 in each of its layouts, on files as they are published."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from align3d.build import main
from align3d.dataset import ShapeDataset
from align3d.errors import DataError
from align3d.sources import make_source
from tests.align3d.sources.benchmarks.published_shapes import (
    ARROW,
    is_same_cloud,
    read_all,
    rejection,
    y_up_to_z_up,
)

NAMES = ["airplane", "chair", "night_stand", "tv_stand"]
NORMALS = np.tile([0.0, 0.0, 1.0], (4, 1))


def write_off(root: Path) -> None:
    """A tetrahedron whose header runs on, and one whose header does not."""
    vertices = "\n".join(" ".join(f"{value:g}" for value in row) for row in ARROW)
    body = f"4 4 0\n{vertices}\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"
    for name, split, head in (
        ("chair", "test", "OFF"),
        ("chair", "train", "OFF\n"),
        ("night_stand", "test", "OFF\n"),
    ):
        folder = root / name / split
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}_0001.off").write_text(head + body)


def write_text(root: Path) -> None:
    root.mkdir(exist_ok=True)
    (root / "modelnet40_shape_names.txt").write_text("\n".join(NAMES) + "\n")
    (root / "modelnet40_test.txt").write_text("night_stand_0201\nairplane_0627\n")
    (root / "modelnet40_train.txt").write_text("chair_0001\n")
    for shape in ("night_stand_0201", "airplane_0627", "chair_0001"):
        folder = root / shape.rpartition("_")[0]
        folder.mkdir(exist_ok=True)
        rows = np.concatenate([ARROW * (1 + len(shape)), NORMALS], axis=1)
        np.savetxt(folder / f"{shape}.txt", rows, fmt="%.6f", delimiter=",")


def write_dat(root: Path, points: int = 8192, labels: tuple[int, ...] = (3, 1)) -> Path:
    root.mkdir(exist_ok=True)
    (root / "modelnet40_shape_names.txt").write_text("\n".join(NAMES) + "\n")
    cloud = np.concatenate([np.tile(ARROW, (points // 4, 1)), np.tile(NORMALS, (points // 4, 1))], axis=1)
    clouds = [cloud.astype(np.float32) for _ in labels]
    path = root / f"modelnet40_test_{points}pts_fps.dat"
    path.write_bytes(pickle.dumps([clouds, [np.array([label], np.int32) for label in labels]]))
    return path


def write_h5(root: Path) -> None:
    root.mkdir(exist_ok=True)
    (root / "shape_names.txt").write_text("\n".join(NAMES) + "\n")
    for number, labels in enumerate(([[2], [0]], [[1]])):
        with h5py.File(root / f"ply_data_test{number}.h5", "w") as file:
            file["data"] = np.tile(ARROW, (len(labels), 512, 1)).astype(np.float32)
            file["label"] = np.array(labels, np.uint8)


def write_openshape(root: Path) -> None:
    root.mkdir(exist_ok=True)
    gray = np.full((4, 3), 100 / 255)
    clouds = np.array([{"xyz": ARROW, "rgb": gray}, {"xyz": ARROW, "rgb": gray * [2, 1, 0]}], dtype=object)
    np.save(root / "test_pc.npy", clouds)
    rows = [
        {"name": "tv_stand_0301", "category": "tv_stand"},
        {"name": "airplane_0700", "category": "airplane"},
    ]
    (root / "test_split.json").write_text(json.dumps(rows))


def write_ulip2(root: Path) -> None:
    root.mkdir(exist_ok=True)
    np.save(
        root / "modelnet40_colored_10k_pc.npy", np.array([{"xyz": ARROW * 3}, {"xyz": ARROW}], dtype=object)
    )
    rows = [{"category": "chair"}, {"category": "night_stand"}]
    (root / "modelnet40_test_split_10k_colored.json").write_text(json.dumps(rows))


def test_off_with_headers_that_run_on(tmp_path: Path) -> None:
    write_off(tmp_path / "ModelNet40")
    records = read_all("modelnet40", root=tmp_path)
    assert [(name, one.category, one.captions) for name, one in records.items()] == [
        ("chair/test/chair_0001", "chair", ("chair",)),
        ("night_stand/test/night_stand_0001", "night_stand", ("night stand",)),
    ]
    extent = records["chair/test/chair_0001"].size_m
    assert extent.argsort().tolist() == [0, 1, 2]  # z is up and longest, nothing is turned
    assert list(read_all("modelnet40", root=tmp_path, split="train")) == ["chair/train/chair_0001"]


def test_text_in_the_order_of_the_list(tmp_path: Path) -> None:
    write_text(tmp_path / "modelnet40_normal_resampled")
    records = read_all("modelnet40", root=tmp_path)
    assert [(name, one.category) for name, one in records.items()] == [
        ("night_stand_0201", "night_stand"),
        ("airplane_0627", "airplane"),
    ]
    for record in records.values():
        assert is_same_cloud(record, y_up_to_z_up(ARROW))
        assert (record.colors == 102).all()
        assert (record.part == -1).all()
    assert list(read_all("modelnet40", root=tmp_path, split="train")) == ["chair_0001"]
    as_stored = read_all("modelnet40", root=tmp_path, up="z")["airplane_0627"]
    assert is_same_cloud(as_stored, ARROW)


def test_dat_with_labels_by_the_line_of_the_names(tmp_path: Path) -> None:
    write_dat(tmp_path, 1024, (0,))
    write_dat(tmp_path, 8192, (3, 1))  # the file with the most points is read
    records = read_all("modelnet40", root=tmp_path)
    assert [one.category for one in records.values()] == ["tv_stand", "chair"]
    assert is_same_cloud(records["test/00000"], y_up_to_z_up(ARROW))


def test_hdf5(tmp_path: Path) -> None:
    write_h5(tmp_path / "modelnet40_ply_hdf5_2048")
    records = read_all("modelnet40", root=tmp_path)
    assert [(name, one.category) for name, one in records.items()] == [
        ("ply_data_test0/00000", "night_stand"),
        ("ply_data_test0/00001", "airplane"),
        ("ply_data_test1/00000", "chair"),
    ]
    assert is_same_cloud(records["ply_data_test1/00000"], y_up_to_z_up(ARROW))


def test_openshape_has_z_up_and_colors(tmp_path: Path) -> None:
    write_openshape(tmp_path)
    records = read_all("modelnet40", root=tmp_path)
    assert [(name, one.category) for name, one in records.items()] == [
        ("tv_stand_0301", "tv_stand"),
        ("airplane_0700", "airplane"),
    ]
    assert is_same_cloud(records["tv_stand_0301"], ARROW)
    assert (records["tv_stand_0301"].colors == 100).all()
    assert (records["airplane_0700"].colors == [200, 100, 0]).all()


def test_ulip2_has_no_colors_in_spite_of_its_name(tmp_path: Path) -> None:
    write_ulip2(tmp_path)
    records = read_all("modelnet40", root=tmp_path)
    assert [one.category for one in records.values()] == ["chair", "night_stand"]
    assert (records["test/00000"].colors == 102).all()
    assert is_same_cloud(records["test/00000"], y_up_to_z_up(ARROW))


def test_a_root_of_several_layouts_asks_which(tmp_path: Path) -> None:
    write_text(tmp_path)
    write_dat(tmp_path)
    with pytest.raises(DataError, match="holds text, dat; say which by layout="):
        read_all("modelnet40", root=tmp_path)
    assert list(read_all("modelnet40", root=tmp_path, layout="dat")) == ["test/00000", "test/00001"]


def test_damaged_shapes_are_rejected_by_name(tmp_path: Path) -> None:
    write_off(tmp_path / "off")
    file = tmp_path / "off/chair/test/chair_0001.off"
    file.write_text(file.read_text()[:40])
    said = rejection("modelnet40", "chair/test/chair_0001", root=tmp_path / "off")
    assert said.startswith("chair/test/chair_0001.off: ")
    root = tmp_path / "text"
    write_text(root)
    cut = root / "airplane/airplane_0627.txt"
    cut.write_text(cut.read_text()[:100])
    assert "airplane_0627.txt: " in rejection("modelnet40", "airplane_0627", root=root)
    np.savetxt(cut, ARROW, fmt="%.6f", delimiter=",")
    said = rejection("modelnet40", "airplane_0627", root=root)
    assert said == "airplane/airplane_0627.txt: [4, 3] numbers, expected 6 a line (x y z nx ny nz)"
    (root / "night_stand/night_stand_0201.txt").unlink()
    assert "there is no night_stand/night_stand_0201.txt" in rejection(
        "modelnet40", "night_stand_0201", root=root
    )
    write_dat(tmp_path / "dat", labels=(0, 4))
    said = rejection("modelnet40", "test/00001", root=tmp_path / "dat")
    assert said == "modelnet40_test_8192pts_fps.dat, row 1: label 4 with 4 names of classes"


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    path = write_dat(tmp_path / "dat")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"modelnet40_test_8192pts_fps\.dat: "):
        read_all("modelnet40", root=tmp_path / "dat")
    for value, told in (
        ([[ARROW], [1, 2]], "expected two lists of equal length"),
        ([[ARROW], [np.array([1, 2])]], "a label of several numbers"),
    ):
        path.write_bytes(pickle.dumps(value))
        with pytest.raises(DataError, match=told):
            read_all("modelnet40", root=tmp_path / "dat")
    write_h5(tmp_path / "h5")
    path = tmp_path / "h5/ply_data_test1.h5"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"ply_data_test1\.h5: cut or damaged"):
        read_all("modelnet40", root=tmp_path / "h5")
    write_openshape(tmp_path / "openshape")
    (tmp_path / "openshape/test_split.json").write_text('[{"category": "chair"}]')
    with pytest.raises(DataError, match=r"test_split\.json: 1 shapes, and test_pc\.npy has 2"):
        read_all("modelnet40", root=tmp_path / "openshape")


def test_the_command_builds_it(tmp_path: Path) -> None:
    write_h5(tmp_path / "files")
    out = tmp_path / "out"
    build = ["source=modelnet40", f"out={out}", f"root={tmp_path / 'files'}", "points=32", "workers=1"]
    assert main(build) == 0
    shapes = ShapeDataset.load(out)
    assert list(shapes.categories) == ["night_stand", "airplane", "chair"]
    assert [list(captions) for captions in shapes.captions] == [["night stand"], ["airplane"], ["chair"]]


def test_a_sample_and_a_fingerprint(tmp_path: Path) -> None:
    write_h5(tmp_path)
    assert len(read_all("modelnet40", root=tmp_path, size=2)) == 2
    prints = [make_source("modelnet40", root=tmp_path, size=size).fingerprint() for size in (None, 2, None)]
    assert prints[0] == prints[2] != prints[1]
    with h5py.File(tmp_path / "ply_data_test0.h5", "a") as file:
        file["more"] = np.zeros(1000)
    assert make_source("modelnet40", root=tmp_path).fingerprint() != prints[0]
