"""ModelNet few-shot: folds as pickles in folders of either name."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from align3d.errors import DataError
from align3d.sources import make_source
from tests.align3d.sources.benchmarks.published_shapes import (
    ARROW,
    is_same_cloud,
    read_all,
    rejection,
    y_up_to_z_up,
)

CLASSES = (np.int32(3), np.int32(0), np.int32(1))
"""What the third entry of a row is in the published folds: the class's number in ModelNet40."""
NAMES = ["airplane", "chair", "desk", "night_stand"]


def row(label: int) -> tuple[Any, ...]:
    cloud = np.concatenate([np.tile(ARROW, (4, 1)), np.tile([0.0, 0, 1], (16, 1))], axis=1)
    return ((cloud * (1 + label)).astype(np.float32), label, CLASSES[label])


def write(root: Path, folder: str, fold: int, train: list[int], test: list[int]) -> Path:
    path = root / folder / f"{fold}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps({"train": [row(n) for n in train], "test": [row(n) for n in test]}))
    return path


@pytest.mark.parametrize("folder", ["ModelNetFewshot/3way_2shot", "3way2shot"])
def test_a_fold_is_its_train_and_test_set(tmp_path: Path, folder: str) -> None:
    write(tmp_path, folder, 0, [0, 0, 1, 1, 2, 2], [2])
    write(tmp_path, folder, 7, [2, 0, 1, 1, 0, 2], [1, 0, 0, 2])
    (tmp_path / "shape_names.txt").write_text("\n".join(NAMES))
    records = read_all("modelnet_fewshot", tmp_path, way=3, shot=2, fold=7)
    assert [(name.partition("/")[0], one.category) for name, one in records.items()] == [
        *(
            ("train", kind)
            for kind in ("chair", "night_stand", "airplane", "airplane", "night_stand", "chair")
        ),
        *(("test", kind) for kind in ("airplane", "night_stand", "night_stand", "chair")),
    ]


def test_it_is_a_source_too(tmp_path: Path) -> None:
    write(tmp_path, "3way_2shot", 0, [2, 0, 1, 1, 0, 2], [1, 2])
    settings = {"root": tmp_path, "way": 3, "shot": 2}
    with pytest.raises(DataError, match="numbers of classes without names"):
        read_all("modelnet_fewshot", **settings)
    (tmp_path / "modelnet40_shape_names.txt").write_text("\n".join(NAMES))
    records = read_all("modelnet_fewshot", **settings)
    assert [name.partition("/")[0] for name in records] == ["train"] * 6 + ["test"] * 2
    assert [one.category for one in records.values()][-2:] == ["airplane", "chair"]
    assert records["test/0000"].captions == ("airplane",)
    assert is_same_cloud(records["test/0001"], y_up_to_z_up(ARROW))
    assert list(read_all("modelnet_fewshot", **settings, split="test")) == ["test/0000", "test/0001"]


def refused(root: Path, told: str, way: int, shot: int, fold: int) -> None:
    with pytest.raises(DataError, match=told):
        make_source("modelnet_fewshot", root=root, way=way, shot=shot, fold=fold).items()


def test_folds_that_are_not_what_their_name_says_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "3way_2shot", 0, [0, 0, 1, 1], [0])
    refused(tmp_path, r"0\.pkl: 2 classes of 2, 2 shapes to learn from, expected 3 of 2", 3, 2, 0)
    write(tmp_path, "2way_2shot", 1, [0, 0, 1, 1], [0, 2])
    refused(tmp_path, r"1\.pkl: class 2 is tested and not learned", 2, 2, 1)
    path = write(tmp_path, "2way_2shot", 2, [0, 0, 1, 1], [0])
    path.write_bytes(path.read_bytes()[:200])
    refused(tmp_path, r"2\.pkl: refused or damaged", 2, 2, 2)
    for value, told in (
        ([1, 2], "expected a dict of two lists"),
        ({"train": [7], "test": []}, "train 0: expected points, label and class"),
        ({"train": [(0, 1.5, 2)], "test": []}, "train 0: label 1.5, expected a whole number"),
        ({"train": [(0, 1, None)], "test": []}, "train 0: class None, expected a whole number or a name"),
    ):
        path.write_bytes(pickle.dumps(value))
        refused(tmp_path, told, 2, 2, 2)
    refused(tmp_path, r"2way_1shot/9\.pkl or 2way1shot/9\.pkl\).*Point-BERT.*academic", 2, 1, 9)


def test_a_damaged_cloud_is_rejected_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, "2way_1shot", 0, [0, 1], [0])
    (tmp_path / "shape_names.txt").write_text("\n".join(NAMES[:3]))
    said = rejection("modelnet_fewshot", "train/0000", root=tmp_path, way=2, shot=1)
    assert said == "2way_1shot/0.pkl: class 3 with 3 names of classes"
    (tmp_path / "shape_names.txt").write_text("\n".join(NAMES))
    value = pickle.loads(path.read_bytes())
    value["test"][0][0][3, 1] = np.nan
    path.write_bytes(pickle.dumps(value))
    said = rejection("modelnet_fewshot", "test/0000", root=tmp_path, way=2, shot=1)
    assert said == "2way_1shot/0.pkl, test 0: NaN or infinite points"


def test_folds_of_others_may_name_their_classes(tmp_path: Path) -> None:
    path = write(tmp_path, "2way_1shot", 0, [0, 1], [1])
    value = pickle.loads(path.read_bytes())
    named = {side: [(*one[:2], f"tv_{one[1]}") for one in rows] for side, rows in value.items()}
    path.write_bytes(pickle.dumps(named))
    records = read_all("modelnet_fewshot", root=tmp_path, way=2, shot=1)
    assert [one.category for one in records.values()] == ["tv_0", "tv_1", "tv_1"]
