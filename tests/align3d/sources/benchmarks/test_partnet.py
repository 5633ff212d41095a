"""PartNet: text files of points and labels, and the trees of parts before and after merging."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from align3d.errors import DataError
from tests.align3d.sources.benchmarks.published_shapes import CORNERS, SHADES, by_color, read, up_from_y

ANNOTATED = [
    {
        "id": 0,
        "name": "chair",
        "children": [
            {"id": 1, "name": "seat", "children": [{"id": 5, "name": "cushion", "objs": ["original-1"]}]},
            {"id": 2, "name": "base", "children": [{"id": 7, "name": "leg", "objs": ["new-0"]}]},
            {"id": 9, "name": "leftover", "objs": ["new-1"]},
        ],
    }
]
"""What annotators named: the labels of points are ids of its leaves."""
MERGED = [
    {
        "id": 0,
        "ori_id": 0,
        "name": "chair",
        "children": [
            {"id": 1, "ori_id": 1, "name": "chair_seat", "objs": ["original-1"]},  # its cushion is merged
            {
                "id": 2,
                "ori_id": 2,
                "name": "chair_base",
                "children": [{"id": 3, "ori_id": 7, "name": "leg", "objs": ["new-0"]}],
            },
        ],
    }
]


def write_shape(root: Path, name: str, labels: list[int], **other: Any) -> Path:
    folder = root / name
    (folder / "point_sample").mkdir(parents=True)
    rows = [
        " ".join([*(f"{value:.6f}" for value in (*point, 0, 0, 1)), *map(str, shade.tolist()), "1.000000"])
        for point, shade in zip(CORNERS, SHADES, strict=True)
    ]
    (folder / "point_sample/sample-points-all-pts-nor-rgba-10000.txt").write_text("\n".join(rows) + "\n")
    lines = "".join(f"{label}\n" for label in labels)
    (folder / "point_sample/sample-points-all-label-10000.txt").write_text(lines)
    files = {"result": ANNOTATED, "result_after_merging": MERGED, "meta": {"model_cat": "Chair"}} | other
    for file, value in files.items():
        if value is not None:
            (folder / f"{file}.json").write_text(json.dumps(value))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_shape(tmp_path / "data_v0", "42", [5, 7, 9, 7])
    return tmp_path


def parts(root: Path, **settings: Any) -> tuple[tuple[str, ...], list[int]]:
    record = read(root, "partnet", **settings)[0]["42"]
    return record.part_names, [int(record.part[(record.colors == shade).all(1)][0]) for shade in SHADES]


def test_points_have_colors_and_the_class_of_their_annotation(root: Path) -> None:
    records, rejected = read(root, "partnet")
    assert not rejected
    chair = records["42"]
    assert (chair.category, chair.captions) == ("Chair", ("Chair",))
    assert np.allclose(by_color(chair), up_from_y(CORNERS), atol=1e-3)


def test_labels_are_of_the_annotation_and_parts_of_what_was_merged(root: Path) -> None:
    assert parts(root) == (("chair_seat", "chair_base", "leg"), [0, 2, -1, 2])  # what is merged away is none
    assert parts(root, parts="coarse") == (("chair_seat", "chair_base"), [0, 1, -1, 1])


def test_a_whole_without_parts_is_its_own_part(tmp_path: Path) -> None:
    whole = [{"id": 0, "ori_id": 0, "name": "bowl", "objs": ["new-0"]}]
    write_shape(tmp_path, "42", [5, 7, 9, 0], result_after_merging=whole, meta=None)
    assert parts(tmp_path) == (("bowl",), [0, 0, 0, 0])
    assert read(tmp_path, "partnet")[0]["42"].category == "bowl"


def test_a_split_is_that_of_the_lists_of_all_classes(root: Path) -> None:
    write_shape(root / "data_v0", "43", [5, 7, 9, 7])
    with pytest.raises(DataError, match=r"split=test needs the lists \*\.test\.json of partnet_dataset"):
        read(root, "partnet", split="test")
    lists = root / "stats" / "train_val_test_split"
    lists.mkdir(parents=True)
    (lists / "Chair.test.json").write_text(json.dumps([{"model_id": "a1", "anno_id": "43"}]))
    (lists / "Bag.test.json").write_text(json.dumps([{"model_id": "b1", "anno_id": "44"}]))
    (lists / "Chair.train.json").write_text(json.dumps([{"model_id": "a0", "anno_id": "42"}]))
    records, rejected = read(root, "partnet", split="test")
    assert list(records) == ["43"]
    assert rejected["44"].startswith("no file that Bag.test.json names: 44/point_sample/")
    assert list(read(root, "partnet")[0]) == ["42", "43"]
    (lists / "Bag.test.json").write_text("[7]")
    with pytest.raises(DataError, match=r"data=partnet: .*Bag\.test\.json: '7' has no anno_id"):
        read(root, "partnet", split="test")


@pytest.mark.parametrize(
    ("labels", "other", "told"),
    [
        ([5, 7, 9], {}, "3 labels for 4 points"),
        ([5, 7, 9, 77], {}, "label 77 is no part of result.json"),
        ([5, 7, 9, 7], {"result": None}, "result.json cannot be read: No such file"),
        ([5, 7, 9, 7], {"result": [7]}, "result.json: a node without id"),
        ([5, 7, 9, 7], {"result_after_merging": [{"id": 0}]}, "a node without name and ori_id"),
        ([5, 7, 9, 7], {"result_after_merging": {}}, "holds a dict, expected a list"),
    ],
)
def test_what_does_not_fit_is_rejected_by_name(
    tmp_path: Path, labels: list[int], other: dict[str, Any], told: str
) -> None:
    write_shape(tmp_path, "42", labels, **other)
    assert told in read(tmp_path, "partnet")[1]["42"]


def test_a_cut_table_is_rejected(root: Path) -> None:
    path = root / "data_v0/42/point_sample/sample-points-all-pts-nor-rgba-10000.txt"
    path.write_text(path.read_text()[:-20])
    assert "cut or damaged" in read(root, "partnet")[1]["42"]
    path.write_text("1 2 3\n4 5 6\n")
    assert read(root, "partnet")[1]["42"].endswith(
        "[2, 3] numbers, expected 10 a line (x y z nx ny nz r g b a)"
    )
