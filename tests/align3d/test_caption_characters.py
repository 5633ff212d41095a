"""Characters of captions in a dataset: one normal form, and what is no character is a listed rejection."""

from __future__ import annotations

import dataclasses
import json
import unicodedata
from pathlib import Path

import pytest
import trimesh

import align3d.hashing
from align3d.build import main
from align3d.dataset import ShapeDataset
from align3d.pipeline import build, build_key
from align3d.record import Record
from align3d.sources import Item
from tests.align3d.toy_source import Boxes


class OddBoxes(Boxes):
    """Boxes with captions as they come from files of all kinds."""

    captions = (
        unicodedata.normalize("NFD", "grüne Stühle"),
        "लाल कुर्सी 🪑",
        "a\x00box\u200b of\ufeff \u202e3\u00ad mm",
        "half a pair \ud83d",
    )

    def read(self, item: Item, points: int, seed: int) -> Record:
        record = super().read(item, points, seed)
        return dataclasses.replace(
            record, captions=(self.captions[int(item.payload)],), category="Stu\u0308hle"
        )


def test_captions_are_stored_in_one_form_and_odd_ones_are_listed(tmp_path: Path) -> None:
    dataset = build(OddBoxes(4), tmp_path / "odd", points=32, workers=1)
    assert dataset.captions == [["grüne Stühle"], ["लाल कुर्सी 🪑"], ["a box  of 3 mm"]]
    assert dataset.categories == ["Stühle"] * 3
    (rejection,) = dataset.rejections
    assert rejection.item == "box-0003"
    assert "half of a surrogate pair" in rejection.reason
    assert rejection.reason.isascii()


def test_half_of_a_surrogate_pair_in_a_captions_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "meshes"
    root.mkdir()
    for name in ("good", "bad"):
        trimesh.creation.box([1, 1, 1]).export(root / f"{name}.stl")
    rows = [{"path": "good.stl", "caption": "🪑 a box"}, {"path": "bad.stl", "caption": "a \ud83d box"}]
    (root / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    assert main(["source=folder", f"root={root}", f"out={out}", "points=64", "workers=1"]) == 0
    dataset = ShapeDataset.load(out)
    assert dataset.captions == [["🪑 a box"]]
    assert [rejection.item for rejection in dataset.rejections] == ["bad.stl"]
    assert "U+D83D" in capsys.readouterr().out


def test_a_dataset_is_built_again_when_the_reading_of_captions_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    hash_code = align3d.hashing.hash_code
    monkeypatch.setattr(
        "align3d.building.order.hash_code", lambda *modules: asked.extend(modules) or hash_code(*modules)
    )
    build_key(Boxes(4), 32, 0)
    assert "align3d.captions" in asked
