"""PartNetE: ``pc.ply``, a pickled dict in ``label.npy``, names of parts by class."""

import json
from pathlib import Path

import numpy as np
import pytest

from align3d.errors import DataError
from tests.align3d.sources.benchmarks.published_shapes import CORNERS, SHADES, by_color, in_unit_sphere, read

HEADER = "ply\nformat binary_little_endian 1.0\nelement vertex 4\n" + "".join(
    f"property {kind}\n"
    for kind in ("double x", "double y", "double z", "uchar red", "uchar green", "uchar blue")
)


def write_shape(folder: Path, labels: object) -> None:
    folder.mkdir(parents=True)
    rows = np.zeros(4, dtype=[("xyz", "<f8", 3), ("rgb", "u1", 3)])
    rows["xyz"], rows["rgb"] = CORNERS, SHADES
    (folder / "pc.ply").write_bytes(HEADER.encode() + b"end_header\n" + rows.tobytes())
    np.save(folder / "label.npy", np.array(labels, dtype=object), allow_pickle=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "PartNetE_meta.json").write_text(json.dumps({"Chair": ["back", "seat"], "Kettle": ["lid"]}))
    seg = {"semantic_seg": np.array([0, 1, -1, 1]), "instance_seg": np.array([0, 1, -1, 2])}
    write_shape(tmp_path / "test" / "Chair" / "179", seg)
    write_shape(tmp_path / "test" / "Kettle" / "180", {"semantic_seg": np.array([0, 1, 0, 0])})
    write_shape(tmp_path / "test" / "Chair" / "181", {"semantic_seg": np.array([0, 1])})
    write_shape(tmp_path / "test" / "Chair" / "182", {"other": 1})
    write_shape(tmp_path / "test" / "Sofa" / "183", seg)
    write_shape(tmp_path / "test" / "Chair" / "184", seg)
    (tmp_path / "test" / "Chair" / "184" / "label.npy").unlink()
    return tmp_path


def test_parts_are_those_of_the_class_by_name(root: Path) -> None:
    records, _ = read(root, "partnete")
    chair = records["Chair/179"]
    assert (chair.category, chair.part_names) == ("Chair", ("back", "seat"))
    assert np.allclose(by_color(chair), in_unit_sphere(CORNERS), atol=1e-3)
    part = [int(chair.part[(chair.colors == shade).all(1)][0]) for shade in SHADES]
    assert part == [0, 1, -1, 1]  # -1: of no part


def test_what_cannot_be_used_is_rejected_by_name(root: Path) -> None:
    records, rejected = read(root, "partnete")
    assert list(records) == ["Chair/179"]
    assert rejected["Kettle/180"] == "test/Kettle/180/label.npy: labels 0..1 for 1 parts"
    assert rejected["Chair/181"] == "test/Chair/181/label.npy: 2 labels for 4 points"
    assert rejected["Chair/182"] == "test/Chair/182/label.npy: a dict without 'semantic_seg'"
    assert rejected["Sofa/183"] == "class 'Sofa' is not in PartNetE_meta.json"
    assert rejected["Chair/184"] == "no label.npy: in test/Chair/184"


def test_data_may_be_a_folder_deeper(root: Path) -> None:
    (root / "data").mkdir()
    (root / "test").rename(root / "data" / "test")
    assert list(read(root, "partnete")[0]) == ["Chair/179"]
    with pytest.raises(
        DataError, match=r"for split=few_shot, only for test \(looked for .*few_shot or data/few_shot"
    ):
        read(root, "partnete", split="few_shot")


def test_a_malicious_label_file_executes_nothing(root: Path) -> None:
    proof = root / "executed"

    class Evil:
        def __reduce__(self) -> object:
            return (Path.touch, (proof,))

    np.save(
        root / "test/Chair/179/label.npy", np.array({"semantic_seg": Evil()}, dtype=object), allow_pickle=True
    )
    _, rejected = read(root, "partnete")
    assert "refused" in rejected["Chair/179"]
    assert not proof.exists()


@pytest.mark.parametrize("text", ["[{", "7", "\x00", ""])
def test_a_damaged_list_is_named(root: Path, text: str) -> None:
    path = root / "PartNetE_meta.json"
    path.write_text(text)
    with pytest.raises(DataError, match=f"data=partnete: {path} (is damaged|holds a int)"):
        read(root, "partnete")
