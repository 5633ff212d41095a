"""Cache of prepared shapes: it follows how files are read, and not the files alone."""

from pathlib import Path

import torch
import trimesh

from align3d.pipeline import load_or_build
from experiments.data.corpus import prepared_shapes
from models import ModelConfig


def test_the_same_files_in_another_unit_are_prepared_anew(tmp_path: Path) -> None:
    for number in range(2):
        trimesh.creation.box([1, 2, 3 + number]).export(tmp_path / f"{number}.stl")
    (tmp_path / "captions.csv").write_text("path,caption\n0.stl,a box\n1.stl,a tall box\n")
    config = ModelConfig(points=64, patches=8, patch_points=4, regions=2)
    sizes, hashes = [], set()
    for unit_m in (1.0, 0.001, 1.0):
        settings = {"root": tmp_path, "unit_m": unit_m}
        dataset = load_or_build("folder", cache=tmp_path / ".cache", points=64, workers=1, **settings)
        sizes.append(prepared_shapes(dataset, config, tmp_path / ".cache/shapes").size_m)
        hashes.add(dataset.hash)
    assert len(hashes) == 1
    torch.testing.assert_close(sizes[1], sizes[0] * 0.001)
    torch.testing.assert_close(sizes[2], sizes[0])
    assert len(list((tmp_path / ".cache/shapes").glob("*.safetensors"))) == 2
