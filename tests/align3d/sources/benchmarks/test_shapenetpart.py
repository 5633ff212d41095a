"""ShapeNetPart: h5 with ``data, label, pid``, and text with seven numbers a line."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from align3d.errors import DataError
from tests.align3d.sources.benchmarks.published_shapes import CORNERS, read, up_from_y

CLASSES = "Airplane\t02691156\nBag\t02773838\n"
LABELS = np.array([[0, 1, 2, 3], [4, 5, 4, 5]], dtype=np.uint8)


def write_h5(path: Path, parts: str = "pid", labels: np.ndarray = LABELS) -> None:
    with h5py.File(path, "w") as file:
        file["data"] = np.stack([CORNERS, CORNERS * 2])
        file["label"] = np.array([[0], [1]], dtype=np.uint8)
        file[parts] = labels


@pytest.fixture
def h5(tmp_path: Path) -> Path:
    (tmp_path / "all_object_categories.txt").write_text(CLASSES)
    write_h5(tmp_path / "ply_data_test0.h5")
    return tmp_path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    root = tmp_path / "shapenetcore_partanno_segmentation_benchmark_v0_normal"
    (root / "train_test_split").mkdir(parents=True)
    (root / "02773838").mkdir()
    (root / "synsetoffset2category.txt").write_text(CLASSES)
    listed = ["shape_data/02773838/good", "shape_data/02773838/gone", "shape_data/02773838/short"]
    (root / "train_test_split" / "shuffled_test_file_list.json").write_text(json.dumps(listed))
    rows = np.column_stack([CORNERS, np.zeros((4, 3)), LABELS[1]])
    np.savetxt(root / "02773838" / "good.txt", rows, fmt="%.6f")
    np.savetxt(root / "02773838" / "short.txt", rows[:, :6], fmt="%.6f")
    return tmp_path


@pytest.mark.parametrize("parts", ["pid", "seg"])
def test_rows_of_h5_have_their_class_and_parts(h5: Path, parts: str) -> None:
    write_h5(h5 / "ply_data_test0.h5", parts)
    names = [f"part {number}" for number in range(50)]
    names[4:6] = ["bag handle", "bag body"]
    (h5 / "part_names.json").write_text(json.dumps(names))
    records, rejected = read(h5, "shapenetpart")
    assert not rejected
    plane, bag = records["ply_data_test0/00000"], records["ply_data_test0/00001"]
    assert (plane.category, plane.captions) == ("Airplane", ("Airplane",))
    order = np.argsort(plane.part)
    assert np.allclose(plane.points[order].astype(float), up_from_y(CORNERS), atol=1e-3)
    assert sorted(bag.part_names[part] for part in bag.part) == ["bag body"] * 2 + ["bag handle"] * 2
    assert (plane.colors == 102).all()


def test_text_has_the_same(text: Path) -> None:
    records, rejected = read(text, "shapenetpart")
    bag = records["02773838/good"]
    assert (bag.category, len(bag.part_names)) == ("Bag", 50)
    assert sorted(bag.part.tolist()) == [4, 4, 5, 5]
    assert rejected == {
        "02773838/gone": "no file that shuffled_test_file_list.json names: 02773838/gone.txt",
        "02773838/short": "02773838/short.txt: [4, 6] numbers, expected 7 a line (x y z nx ny nz part)",
    }


def test_another_split_is_not_taken_for_the_one_asked_for(h5: Path) -> None:
    with pytest.raises(
        DataError, match=r"for split=train, only for test \(looked for h5: .*ply_data_train\*.h5"
    ):
        read(h5, "shapenetpart", split="train")
    write_h5(h5 / "ply_data_train0.h5")
    with pytest.raises(DataError, match=r"no ply_data_val\*.h5"):
        read(h5, "shapenetpart", split="trainval")
    write_h5(h5 / "ply_data_val0.h5")
    records, _ = read(h5, "shapenetpart", split="trainval")
    assert sorted({name.split("/")[0] for name in records}) == ["ply_data_train0", "ply_data_val0"]


def test_labels_out_of_range_reject_the_shape(h5: Path) -> None:
    wrong = LABELS.copy()
    wrong[1, 0] = 50
    write_h5(h5 / "ply_data_test0.h5", labels=wrong)
    records, rejected = read(h5, "shapenetpart")
    assert list(records) == ["ply_data_test0/00000"]
    assert rejected["ply_data_test0/00001"].endswith("labels 4..50 for 50 parts")


def test_a_cut_h5_is_named(h5: Path) -> None:
    path = h5 / "ply_data_test0.h5"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=f"{path}: cut or damaged"):
        read(h5, "shapenetpart")
    with h5py.File(path, "w") as file:
        file["data"] = CORNERS[None]
    with pytest.raises(DataError, match="has no dataset pid or seg"):
        read(h5, "shapenetpart")
    write_h5(path)
    with h5py.File(path, "a") as file:
        del file["label"]
        file["label"] = np.array([b"bag", b"bag"])
    with pytest.raises(DataError, match=r"labels \|S3\[2\], expected whole numbers"):
        read(h5, "shapenetpart")
