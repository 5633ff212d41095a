"""Text2Shape: the captions' CSV, solid voxels in NRRD, processed captions, and Parts2Words' pickle."""

import json
import pickle
import re
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest

from align3d.errors import DataError
from tests.align3d.sources.benchmarks.published_shapes import CORNERS, SHADES, by_color, read, up_from_y

CSV = '''id,modelId,description,category,topLevelSynsetId,subSynsetId
1,m1,"A red chair, with arms",Chair,03001627,03001627
2,m1,"""a wooden chair""",Chair,04379243,03001627
3,m2,a table,Table,04379243,04379243
4,gone,a stool,Chair,03001627,03001627
5,m1,a wooden chair,Chair,03001627,03001627
6,m3,,Chair,03001627,03001627
7,bad,a bench,Chair,03001627,03001627
'''
FOLDER = "nrrd_256_filter_div_32_solid"


def write_voxels(root: Path, model: str, voxels: np.ndarray) -> Path:
    path = root / FOLDER / model / f"{model}.nrrd"
    path.parent.mkdir(parents=True, exist_ok=True)
    nrrd.write(str(path), voxels)
    return path


def solid() -> np.ndarray:
    """A block of 8 x 2 x 4 voxels, hence tall along a, gray outside and red within."""
    voxels = np.zeros((4, 10, 10, 10), dtype=np.uint8)
    voxels[:, 1:9, 1:3, 1:5] = 90
    voxels[3, 1:9, 1:3, 1:5] = 255
    return voxels


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "captions.tablechair.csv").write_text(CSV)
    write_voxels(tmp_path, "m1", solid())
    write_voxels(tmp_path, "m2", solid())
    write_voxels(tmp_path, "m3", solid())
    path = write_voxels(tmp_path, "bad", solid())
    path.write_bytes(path.read_bytes()[:-20])
    return tmp_path


def write_processed(root: Path, split: str, models: dict[str, list[int]]) -> None:
    tuples = [
        (np.array([*words, 0, 0], np.int32), "03001627", f"{model}.nrrd") for model, words in models.items()
    ]
    value = {"caption_tuples": tuples, "caption_matches": {model: [0] for model in models}}
    (root / f"processed_captions_{split}.p").write_bytes(pickle.dumps(value, protocol=2))


def test_captions_are_joined_on_the_model_and_lose_their_wrapping_quotes(root: Path) -> None:
    records, _ = read(root, "text2shape", points=64)
    assert {name: (one.category, one.captions) for name, one in records.items()} == {
        "m1": ("Chair", ("A red chair, with arms", "a wooden chair")),  # whatever synset the row says
        "m2": ("Table", ("a table",)),
    }


def test_what_cannot_be_used_is_rejected_by_name(root: Path) -> None:
    _, rejected = read(root, "text2shape")
    assert set(rejected) == {"gone", "m3", "bad"}
    assert rejected["gone"] == "caption without a shape: nothing of model gone"
    assert rejected["m3"] == "no caption: an empty text"
    assert rejected["bad"].startswith("bad.nrrd: damaged: ")


def test_axes_are_turned_as_the_reference_reader_does_and_stay_right_handed(tmp_path: Path) -> None:
    (tmp_path / "captions.tablechair.csv").write_text(CSV)
    voxels = np.zeros((4, 16, 16, 16), dtype=np.uint8)
    places = {(1, 1, 1): SHADES[0], (15, 1, 1): SHADES[1], (1, 5, 1): SHADES[2], (1, 1, 9): SHADES[3]}
    for place, shade in places.items():
        voxels[(slice(3), *place)] = shade
        voxels[(3, *place)] = 255
    write_voxels(tmp_path, "m1", voxels)
    record = read(tmp_path, "text2shape", points=400)[0]["m1"]
    middle, along_a, along_b, along_c = (
        record.points[(record.colors == shade).all(1)].astype(float).mean(0) for shade in SHADES
    )
    a, b, c = ((end - middle) / np.linalg.norm(end - middle) for end in (along_a, along_b, along_c))
    # (a, b, c) -> (c, a, b) = (x, y, z) with y up, then (x, y, z) -> (x, -z, y).
    assert np.allclose([a, b, c], [[0, 0, 1], [0, -1, 0], [1, 0, 0]], atol=0.05)
    assert np.linalg.det([a, b, c]) > 0.9


def test_of_a_solid_the_surface_is_taken(tmp_path: Path) -> None:
    (tmp_path / "captions.tablechair.csv").write_text(CSV)
    voxels = np.zeros((4, 7, 7, 7), dtype=np.uint8)
    voxels[:3, 1:6, 1:6, 1:6], voxels[3, 1:6, 1:6, 1:6] = 90, 255
    voxels[:3, 2:5, 2:5, 2:5] = np.array([255, 0, 0])[:, None, None, None]  # within: 27 of 125 voxels
    write_voxels(tmp_path, "m1", voxels)
    record = read(tmp_path, "text2shape", points=600)[0]["m1"]
    assert (record.colors == 90).all()
    points = record.points.astype(float)
    half = np.ptp(points, axis=0) / 2
    middle = points.min(0) + half
    assert np.allclose(np.abs((points - middle) / half).max(1), 1, atol=0.01)  # on one of the six sides
    assert np.allclose(record.size_m / record.size_m[0], 1, atol=0.02)


def test_opacity_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "captions.tablechair.csv").write_text(CSV)
    voxels = solid()
    voxels[3] = 0
    write_voxels(tmp_path, "m1", voxels)
    write_voxels(tmp_path, "m2", np.zeros_like(voxels))
    records, rejected = read(tmp_path, "text2shape", points=300)
    size = records["m1"].size_m
    assert np.allclose(size / size[1], [2, 1, 4], atol=0.2)  # tall along a, which points up
    assert rejected["m2"] == "m2.nrrd: no voxel that is not empty"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("data file: /etc/hostname", "its voxels are in another file"),
        ("sizes: 4 9999 9999 9999", r"\d+ values, expected at most"),
        ("sizes: 3 10 10 10", "damaged|expected uint8 RGBA"),
    ],
)
def test_a_header_is_not_believed(root: Path, line: str, told: str) -> None:
    path = root / FOLDER / "m1" / "m1.nrrd"
    head, _, body = path.read_bytes().partition(b"\n\n")
    key = line.partition(":")[0].encode()
    lines = [one for one in head.split(b"\n") if not one.startswith(key)]
    path.write_bytes(b"\n".join([*lines, line.encode()]) + b"\n\n" + body)
    assert re.search(told, read(root, "text2shape")[1]["m1"])


def test_content_does_not_depend_on_what_was_drawn(root: Path) -> None:
    few, many = (read(root, "text2shape", points=points)[0]["m1"] for points in (16, 64))
    assert few.content_hash == many.content_hash


def test_splits_are_those_of_the_processed_captions(root: Path) -> None:
    with pytest.raises(DataError, match=r"processed_captions_test\.p: cannot be read"):
        read(root, "text2shape", split="test")
    write_processed(root, "test", {"m2": [1]})
    assert list(read(root, "text2shape", split="test", layout="csv")[0]) == ["m2"]


def test_processed_captions_are_words_by_number(root: Path) -> None:
    (root / "captions.tablechair.csv").unlink()
    words = {"1": "a", "2": "red", "3": "chair"}
    listed = [{"model": "m1", "caption": ["a", "red", "chair"], "category": "chair"}]
    table = {
        "idx_to_word": words,
        "word_to_idx": {word: int(n) for n, word in words.items()},
        "captions": listed,
    }
    (root / "shapenet.json").write_text(json.dumps(table))
    write_processed(root, "val", {"m1": [1, 2, 3], "gone": [1, 3]})
    records, rejected = read(root, "text2shape", points=16, split="val")
    assert (records["m1"].captions, records["m1"].category) == (("a red chair",), "chair")
    assert list(rejected) == ["gone"]
    write_processed(root, "val", {"m1": [1, 9]})
    with pytest.raises(DataError, match="no word for a number"):
        read(root, "text2shape", split="val")


def test_parts2words_clouds_have_colors_and_17_parts(tmp_path: Path) -> None:
    (tmp_path / "captions.tablechair.csv").write_text(CSV)
    table = np.concatenate([CORNERS, SHADES / 255], axis=1)
    shapes: dict[str, Any] = {
        "m1": (table, None, np.array([0, 16, 3, 3])),
        "m2": (table, None, np.array([0, 17, 3, 3])),
        "bad": (table,),
    }
    (tmp_path / "shapenetv2_level_1.pkl").write_bytes(pickle.dumps(shapes))
    records, rejected = read(tmp_path, "text2shape")
    assert list(records) == ["m1"]
    assert np.allclose(by_color(records["m1"]), up_from_y(CORNERS), atol=1e-3)
    assert sorted(records["m1"].part.tolist()) == [0, 3, 3, 16]
    assert rejected["m2"] == "shapenetv2_level_1.pkl: m2: labels 0..17 for 17 parts"
    assert rejected["bad"] == "shapenetv2_level_1.pkl: bad: expected (xyzrgb, ..., part)"
    assert rejected["gone"].startswith("caption without a shape")


@pytest.fixture
def tricolo(tmp_path: Path) -> Path:
    """TriCoLo's own files: voxels as in the NRRD, by the synset of its list, once a wrong one."""
    folder = tmp_path / "chair_table" / "preprocessed" / "exp_data"
    voxels = {f"voxel{size}": solid() for size in (32, 64, 128)}
    images = np.zeros((6, 3, 224, 224), np.uint8)
    for synset, model in (("03001627", "m1"), ("04379243", "m2"), ("04379243", "bad"), ("04379243", "flat")):
        (folder / synset).mkdir(parents=True, exist_ok=True)
        other = {"voxel32": solid()[:3]} if model == "flat" else {}
        np.savez_compressed(folder / synset / f"{model}.npz", images=images, **(voxels | other))
    path = folder / "04379243" / "bad.npz"
    path.write_bytes(path.read_bytes()[:300])
    lists = {
        "val": [
            ("m1", "03001627", "a chair "),
            ("m1", "04379243", "a gray chair"),
            ("m2", "04379243", "low"),
        ],
        "test": [("bad", "04379243", "a"), ("gone", "03001627", "b"), ("flat", "04379243", "c")],
    }
    for split, rows in lists.items():
        said = [
            {"model_id": model, "category": synset, "caption": text, "tokens": [1, 2, 0]}
            for model, synset, text in rows
        ]
        (folder / f"{split}_map.json").write_text(json.dumps(said))
    return tmp_path


def test_voxels_of_tricolo_are_those_of_the_nrrd_turned_the_same_way(tricolo: Path, tmp_path: Path) -> None:
    records, rejected = read(tricolo, "text2shape", points=300, split="val")
    assert not rejected
    assert {name: (one.category, one.captions) for name, one in records.items()} == {
        "m1": ("Chair", ("a chair", "a gray chair")),
        "m2": ("Table", ("low",)),
    }
    size = records["m1"].size_m
    assert np.allclose(size / size[1], [2, 1, 4], atol=0.2)  # tall along a, which points up
    other = tmp_path / "nrrd"
    write_voxels(other, "m1", solid())
    (other / "captions.tablechair.csv").write_text(CSV)
    assert read(other, "text2shape")[0]["m1"].content_hash == records["m1"].content_hash


def test_what_is_missing_or_damaged_of_tricolo_is_rejected_by_name(tricolo: Path) -> None:
    records, rejected = read(tricolo, "text2shape", points=16)
    assert list(records) == ["m1", "m2"]
    assert rejected["bad"].startswith("04379243/bad.npz: damaged: ")
    assert rejected["gone"] == "caption without a shape: nothing of model gone"
    assert rejected["flat"] == "flat.npz: uint8[3, 10, 10, 10], expected uint8 RGBA (4, a, b, c)"
    rejected = read(tricolo, "text2shape", resolution=256)[1]
    assert rejected["m1"] == (
        "03001627/m1.npz: no array 'voxel256', it has images, voxel32, voxel64, voxel128"
    )
    with pytest.raises(DataError, match="for split=train, only for all, test, val"):
        read(tricolo, "text2shape", split="train")


def test_an_archive_is_not_believed(tricolo: Path) -> None:
    path = tricolo / "chair_table/preprocessed/exp_data/03001627/m1.npz"
    np.savez_compressed(path, voxel32=np.zeros((4, 300, 300, 300), np.uint8))
    assert re.search(r"\d+ bytes of voxel32, expected at most", read(tricolo, "text2shape")[1]["m1"])
    np.savez(path, voxel32=np.array([{"evil": 1}], dtype=object))
    assert "damaged: Object arrays cannot be loaded" in read(tricolo, "text2shape")[1]["m1"]


def test_a_root_of_two_layouts_asks_which(root: Path) -> None:
    table: dict[str, Any] = {"idx_to_word": {"1": "a"}, "word_to_idx": {"a": 1}, "captions": []}
    (root / "shapenet.json").write_text(json.dumps(table))
    write_processed(root, "test", {"m2": [1]})
    with pytest.raises(DataError, match="holds csv, processed; say which by layout="):
        read(root, "text2shape", split="test")
    assert read(root, "text2shape", split="test", layout="processed")[0]["m2"].captions == ("a",)


def test_a_malicious_pickle_executes_nothing(root: Path) -> None:
    proof = root / "executed"

    class Evil:
        def __reduce__(self) -> object:
            return (Path.touch, (proof,))

    (root / "processed_captions_test.p").write_bytes(pickle.dumps({"caption_tuples": Evil()}))
    with pytest.raises(DataError, match="refused"):
        read(root, "text2shape", split="test", layout="csv")
    assert not proof.exists()
