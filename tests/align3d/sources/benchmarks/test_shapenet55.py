"""ShapeNet-55 of ULIP: lists of ``<synset>-<model>.npy``, names of the taxonomy, plain arrays."""

import json
from pathlib import Path

import numpy as np
import pytest

from align3d.errors import DataError
from tests.align3d.sources.benchmarks.published_shapes import CORNERS, read, up_from_y


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "shapenet-55"
    (root / "shapenet_pc").mkdir(parents=True)
    taxonomy = [
        {"synsetId": "02691156", "name": "airplane,aeroplane, plane", "children": []},
        {"synsetId": "04379243", "name": "table"},
    ]
    (root / "taxonomy.json").write_text(json.dumps(taxonomy))
    lines = ["02691156-a-b.npy", "04379243-c.npy", "04379243-gone.npy", "99999999-d.npy", "04379243-bad.npy"]
    (root / "test.txt").write_text("\n".join(lines) + "\n")
    (root / "train.txt").write_text("04379243-c.npy\n")
    np.save(root / "shapenet_pc" / "02691156-a-b.npy", CORNERS)
    np.save(root / "shapenet_pc" / "04379243-c.npy", CORNERS[:3])
    np.save(root / "shapenet_pc" / "99999999-d.npy", CORNERS)
    np.save(
        root / "shapenet_pc" / "04379243-bad.npy", np.array([{"evil": 1}], dtype=object), allow_pickle=True
    )
    return tmp_path


def test_a_synset_is_split_off_at_the_first_hyphen_and_gives_all_its_names(root: Path) -> None:
    records, _ = read(root, "shapenet55")
    plane = records["02691156-a-b"]
    assert (plane.category, plane.captions) == ("airplane", ("airplane", "aeroplane", "plane"))
    points = {tuple(row) for row in plane.points.astype(np.float32).round(2).tolist()}
    expected = up_from_y(CORNERS).astype(np.float16).astype(np.float32).round(2)
    assert points == {tuple(row) for row in expected.tolist()}
    assert np.allclose(plane.size_m / plane.size_m[0], [1, 7, 3], atol=0.02)  # y was up
    told = read(root, "shapenet55", up="z")[0]["02691156-a-b"]
    assert np.allclose(told.size_m / told.size_m[0], [1, 3, 7], atol=0.02)


def test_each_split_has_its_own_list(root: Path) -> None:
    assert list(read(root, "shapenet55", split="train")[0]) == ["04379243-c"]


def test_what_cannot_be_used_is_rejected_by_name(root: Path) -> None:
    records, rejected = read(root, "shapenet55")
    assert sorted(records) == ["02691156-a-b", "04379243-c"]
    assert rejected["04379243-gone"] == "no file that test.txt names: shapenet_pc/04379243-gone.npy"
    assert rejected["99999999-d"] == "synset '99999999' has no name in taxonomy.json"
    assert rejected["04379243-bad"] == "shapenet_pc/04379243-bad.npy: values of type object, expected numbers"


def test_a_sample_is_the_same_each_time(root: Path) -> None:
    (first,) = read(root, "shapenet55", size=1)[0]
    assert (first,) == tuple(read(root, "shapenet55", size=1)[0])


@pytest.mark.parametrize("text", ["[{", "7", "\x00", ""])
def test_a_damaged_list_is_named(root: Path, text: str) -> None:
    path = root / "shapenet-55/taxonomy.json"
    path.write_text(text)
    with pytest.raises(DataError, match=f"data=shapenet55: {path} (is damaged|holds a int)"):
        read(root, "shapenet55")
