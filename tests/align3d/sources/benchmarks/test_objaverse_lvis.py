"""Objaverse-LVIS: OpenShape's pickled dicts, Uni3D's re-made ones, ULIP's dicts and plain arrays."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from align3d.errors import DataError
from align3d.sources import make_source
from tests.align3d.sources.benchmarks.published_shapes import (
    CORNERS,
    SHADES,
    by_color,
    in_unit_sphere,
    read,
    up_from_y,
)


def write_shape(path: Path, **other: Any) -> None:
    value = {
        "dataset": "Objaverse",
        "group": "000-000",
        "id": path.stem,
        "xyz": CORNERS,
        "rgb": (SHADES / 255).astype(np.float32),
        "text": ["Old Mug"],
        "blip_caption": "a mug on a table",
        "msft_caption": "a white mug",
        "retrieval_text": ["mug stock photo", "coffee"],
        "image_feat": np.zeros((12, 1280), np.float32),
        "text_feat": [{"original": np.zeros((1, 1280)), "prompt_avg": np.zeros((1, 1280))}],
    } | other
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array({key: one for key, one in value.items() if one is not None}), allow_pickle=True)


@pytest.fixture
def openshape(tmp_path: Path) -> Path:
    names = {"u1": "mug", "u2": "arctic_(type_of_shoe)", "gone": "Zamboni"}
    lvis, train = [], []
    for uid, category in names.items():
        path = f"/mnt/data/objaverse-processed/000-000/{uid}.npy"  # of the machine that made the list
        lvis.append({"uid": uid, "category": category, "group": "000-000", "data_path": path})
        train.append({"dataset": "Objaverse", "group": "000-000", "id": uid, "data_path": path})
    split = tmp_path / "meta_data" / "split"
    split.mkdir(parents=True)
    (split / "lvis.json").write_text(json.dumps(lvis))
    (split / "train_all.json").write_text(json.dumps(train))
    (split / "train_no_lvis.json").write_text(json.dumps(train[1:]))
    flags = {"u1": {"flag": "N"}, "u2": {"flag": "Y"}}
    (tmp_path / "meta_data" / "gpt4_filtering.json").write_text(json.dumps(flags))
    write_shape(tmp_path / "000-000" / "u1.npy")
    write_shape(tmp_path / "000-000" / "u2.npy", text=["Boots"])
    return tmp_path


def test_a_shape_has_its_class_captions_points_and_colors(openshape: Path) -> None:
    records, rejected = read(openshape, "objaverse_lvis")
    mug, shoe = records["u1"], records["u2"]
    assert (mug.category, shoe.category) == ("mug", "arctic_(type_of_shoe)")  # the published names
    assert mug.captions == ("a mug on a table", "a white mug")  # the name was judged useless
    assert shoe.captions == ("Boots", "a mug on a table", "a white mug")
    assert np.allclose(by_color(mug), in_unit_sphere(CORNERS), atol=1e-3)  # z is up, nothing is mirrored
    assert rejected == {"gone": "no file below the root: /mnt/data/objaverse-processed/000-000/gone.npy"}


def test_lists_may_lie_beside_the_shapes(openshape: Path) -> None:
    (openshape / "meta_data" / "split").rename(openshape / "split")
    records, _ = read(openshape, "objaverse_lvis")
    assert records["u1"].captions == (
        "a mug on a table",
        "a white mug",
    )  # the judgments are found all the same


def test_texts_are_those_asked_for(openshape: Path) -> None:
    records, _ = read(openshape, "objaverse_lvis", texts="retrieval,blip")
    assert records["u2"].captions == ("mug stock photo", "coffee", "a mug on a table")
    keys = {
        make_source("objaverse_lvis", root=str(openshape), texts=one).fingerprint()
        for one in ("blip", "msft")
    }
    assert len(keys) == 2
    with pytest.raises(DataError, match="texts='bilp', expected text or blip or msft or retrieval"):
        read(openshape, "objaverse_lvis", texts="bilp")


def test_lists_for_training_have_no_classes(openshape: Path) -> None:
    records, _ = read(openshape, "objaverse_lvis", split="train_all")
    assert [(name, one.category) for name, one in records.items()] == [
        ("Objaverse/u1", ""),
        ("Objaverse/u2", ""),
    ]
    assert list(read(openshape, "objaverse_lvis", split="train_no_lvis")[0]) == ["Objaverse/u2"]


def test_embeddings_in_place_of_texts_are_no_captions(tmp_path: Path) -> None:
    embedding = np.zeros(1024, np.float32)
    path = "/home/uni3d/data/000-000/u1.npy"
    lines = f"7,mug, the cup,u1,{path}\n9,lamp,u2,{path.replace('u1', 'u2')}\n"
    (tmp_path / "lvis_testset.txt").write_text(lines)
    remade = {"text": [embedding], "blip_caption": None, "msft_caption": None, "retrieval_text": None}
    semicolons = {"blip_caption;": embedding, "msft_caption;": "a real caption"}
    write_shape(tmp_path / "000-000" / "u1.npy", **remade, **semicolons)
    write_shape(tmp_path / "000-000" / "u2.npy", **remade, **{"blip_caption;": embedding})
    records, rejected = read(tmp_path, "objaverse_lvis")
    assert not rejected
    assert (records["u1"].category, records["u1"].captions) == ("mug, the cup", ("a real caption",))
    assert records["u2"].captions == ("lamp",)
    assert records["u2"].notes == (
        "text holds numbers, not texts: embeddings?",
        "blip_caption holds numbers, not texts: embeddings?",
    )


def test_ulip_has_y_up_and_classes_in_the_metadata(tmp_path: Path) -> None:
    root = tmp_path / "objaverse-lvis"
    (root / "000-000").mkdir(parents=True)
    (root / "lvis.json").write_text(json.dumps({"u1": "000-000/u1.npy", "u2": "000-000/u2.npy"}))
    meta = {"value_to_key_mapping": {"u1": "mug"}, "key_to_id": {"mug": 0}}
    (root / "objaverse_lvis_metadata.json").write_text(json.dumps(meta))
    for uid in ("u1", "u2"):
        np.save(root / "000-000" / f"{uid}.npy", np.concatenate([CORNERS, SHADES / 255], axis=1))
    records, rejected = read(tmp_path, "objaverse_lvis")
    assert (records["u1"].category, records["u1"].captions) == ("mug", ("mug",))
    assert np.allclose(by_color(records["u1"]), up_from_y(CORNERS), atol=1e-3)
    assert rejected == {"u2": "no class: objaverse_lvis_metadata.json does not name it"}
    shape = {"xyz": CORNERS, "rgb": SHADES / 255}  # of ULIP-2
    np.save(root / "000-000" / "u1.npy", np.array(shape, dtype=object), allow_pickle=True)
    colored = read(tmp_path, "objaverse_lvis")[0]["u1"]
    assert np.array_equal(by_color(colored), by_color(records["u1"]))
    assert colored.captions == ("mug",)
    np.save(root / "000-000" / "u1.npy", CORNERS)
    assert (read(tmp_path, "objaverse_lvis")[0]["u1"].colors == 102).all()
    with pytest.raises(DataError, match=r"for split=train_all, only for lvis \(looked for openshape: "):
        read(tmp_path, "objaverse_lvis", split="train_all")


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"xyz": None}, "no 'xyz' in it"),
        ({"xyz": np.zeros((0, 3))}, "point cloud without points"),
        ({"xyz": "CORNERS"}, "values of type <U7, expected numbers"),
        ({"xyz": np.full((4, 3), np.nan)}, "NaN or infinite points"),
    ],
)
def test_damaged_shapes_are_rejected(openshape: Path, other: dict[str, Any], told: str) -> None:
    write_shape(openshape / "000-000" / "u1.npy", **other)
    records, rejected = read(openshape, "objaverse_lvis")
    assert list(records) == ["u2"]
    assert told in rejected["u1"]


def test_colors_that_are_none_are_listed_as_lost(openshape: Path) -> None:
    write_shape(openshape / "000-000" / "u1.npy", rgb=np.zeros((3, 3)))
    record = read(openshape, "objaverse_lvis")[0]["u1"]
    assert (record.colors == 102).all()
    assert record.lost_colors == ("000-000/u1.npy: colors [3, 3], expected [4, 3]",)


def test_a_path_that_leaves_the_root_is_not_followed(openshape: Path) -> None:
    write_shape(openshape.parent / "secret.npy")
    one = {"uid": "u1", "category": "mug", "group": "", "data_path": "../secret.npy"}
    (openshape / "meta_data" / "split" / "lvis.json").write_text(json.dumps([one]))
    assert read(openshape, "objaverse_lvis")[1] == {"u1": "no file below the root: ../secret.npy"}


def test_a_cut_or_malicious_pickle_is_rejected_and_executes_nothing(openshape: Path) -> None:
    proof = openshape / "executed"

    class Evil:
        def __reduce__(self) -> object:
            return (Path.touch, (proof,))

    write_shape(openshape / "000-000" / "u1.npy", text=[Evil()])
    path = openshape / "000-000" / "u2.npy"
    path.write_bytes(path.read_bytes()[:-50])
    _, rejected = read(openshape, "objaverse_lvis")
    assert "refused" in rejected["u1"]
    assert "u2.npy" in rejected["u2"]
    assert not proof.exists()


@pytest.mark.parametrize("text", ["[{", "7", ""])
@pytest.mark.parametrize("name", ["meta_data/split/lvis.json", "meta_data/gpt4_filtering.json"])
def test_a_damaged_list_is_named(openshape: Path, name: str, text: str) -> None:
    path = openshape / name
    path.write_text(text)
    with pytest.raises(DataError, match=f"data=objaverse_lvis: {path} (is damaged|holds a int)"):
        read(openshape, "objaverse_lvis")
