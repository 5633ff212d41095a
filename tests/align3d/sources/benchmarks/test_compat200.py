"""3DCoMPaT200: HDF5 of styled shapes, metadata, grounded prompts."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from align3d.errors import DataError
from tests.align3d.sources.benchmarks.published_shapes import CORNERS, SHADES, by_color, read, up_from_y

PARTS = ["back", "leg", "seat"]
PROMPTS = {
    "sh01__st00": {"task": "part", "masks": ["seat", "back"], "prompt": "show the seat and the back"},
    "sh02__st00": {"task": "part", "masks": ["leg"]},
    "sh01__st01": {"task": "material", "masks": ["oak"], "prompt": "what is of oak"},
    "sh09__st00": {"task": "part", "masks": ["leg"]},
}


def write_h5(path: Path, **other: Any) -> None:
    rows = np.concatenate([CORNERS, SHADES / np.float32(255)], axis=1).astype(np.float32)
    values: dict[str, Any] = {
        "points": np.stack([rows, rows, rows]),
        "shape_id": np.array([b"sh01", b"sh01", b"sh02"], dtype="S6"),
        "style_id": np.array([b"st00", b"st01", b"st00"], dtype="S6"),
        "shape_label": np.array([1, 1, 0], dtype=np.uint8),
        "points_part_labels": np.array([[0, 1, 2, -1], [0, 0, 0, 0], [2, 2, 2, 2]], dtype=np.int16),
        "points_mat_labels": np.zeros((3, 4), np.uint8),
    } | other
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            if value is not None:
                file[name] = value


@pytest.fixture
def root(tmp_path: Path) -> Path:
    meta = tmp_path / "metadata"
    meta.mkdir()
    (meta / "classes.json").write_text(json.dumps(["bench", "chair"]))
    (meta / "parts_fine.json").write_text(json.dumps(PARTS))
    (meta / "parts_coarse.json").write_text(json.dumps(["frame"]))
    (tmp_path / "prompts.json").write_text(json.dumps(PROMPTS))
    write_h5(tmp_path / "test_fine.hdf5")
    return tmp_path


def test_a_styled_shape_has_its_class_colors_and_parts_by_name(root: Path) -> None:
    records, rejected = read(root, "compat200")
    assert not rejected
    assert {name: record.category for name, record in records.items()} == {
        "sh01__st00": "chair",
        "sh01__st01": "chair",
        "sh02__st00": "bench",
    }
    chair = records["sh01__st00"]
    assert np.allclose(by_color(chair), up_from_y(CORNERS), atol=1e-3)
    part = [int(chair.part[(chair.colors == shade).all(1)][0]) for shade in SHADES]
    assert [chair.part_names[number] if number >= 0 else None for number in part] == [*PARTS, None]


def test_points_without_colors_are_not_those_of_the_benchmark(root: Path) -> None:
    write_h5(root / "test_fine.hdf5", points=np.stack([CORNERS] * 3))
    rejected = read(root, "compat200")[1]
    assert rejected["sh01__st00"] == "test_fine.hdf5, row 0: points [4, 3], expected [P, 6]"


def test_a_row_that_repeats_a_styled_shape_is_rejected(root: Path) -> None:
    write_h5(root / "test_fine.hdf5", style_id=np.array([b"st00", b"st00", b"st00"], dtype="S6"))
    records, rejected = read(root, "compat200")
    assert list(records) == ["sh01__st00", "sh02__st00"]
    assert rejected == {"sh01__st00 row 1": "row 1 repeats sh01__st00"}


def test_labels_that_were_written_without_a_sign_say_none_all_the_same(root: Path) -> None:
    labels = np.array([[0, 1, 2, 65535], [0, 0, 0, 0], [2, 2, 2, 2]], dtype=np.uint16)
    write_h5(root / "test_fine.hdf5", points_part_labels=labels)
    assert sorted(read(root, "compat200")[0]["sh01__st00"].part.tolist()) == [-1, 0, 1, 2]


def test_grounded_prompts_are_captions_of_the_shapes_that_they_name(root: Path) -> None:
    records, rejected = read(root, "compat200", prompts="prompts.json")
    assert {name: record.captions for name, record in records.items()} == {
        "sh01__st00": ("show the seat and the back",),
        "sh02__st00": ("leg",),  # without a text: what is asked for
    }
    assert rejected == {
        "sh01__st01": "its prompts are about no part",
        "sh09__st00": "prompt without a shape: not in test_fine.hdf5",
    }


def test_labels_that_the_test_file_keeps_back_come_from_the_metadata(root: Path) -> None:
    (root / "metadata" / "labels.json").write_text(json.dumps({"sh01": 1}))
    write_h5(root / "test_fine.hdf5", shape_label=None, points_part_labels=None)
    records, rejected = read(root, "compat200")
    assert records["sh01__st00"].category == "chair"
    assert (records["sh01__st00"].part == -1).all()
    assert records["sh01__st00"].notes == ("the file has no part labels",)
    assert rejected == {"sh02__st00": "class -1 of 2 in metadata/classes.json"}


def test_parts_beyond_the_names_of_the_level_reject_a_shape(root: Path) -> None:
    (root / "test_fine.hdf5").rename(root / "test_coarse.hdf5")
    records, rejected = read(root, "compat200", parts="coarse")
    assert list(records) == ["sh01__st01"]
    assert rejected["sh01__st00"] == "test_coarse.hdf5: labels -1..2 for 1 parts"


@pytest.mark.parametrize("text", ["[{", "7", ""])
@pytest.mark.parametrize("name", ["metadata/classes.json", "metadata/parts_fine.json"])
def test_a_damaged_list_is_named(root: Path, name: str, text: str) -> None:
    path = root / name
    path.write_text(text)
    with pytest.raises(DataError, match=f"data=compat200: {path} (is damaged|holds a int)"):
        read(root, "compat200")
