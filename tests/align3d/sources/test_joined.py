"""Several sources as one: ids, axes, settings by source, and finished datasets among them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from align3d.build import main
from align3d.dataset import ShapeDataset
from align3d.errors import DataError
from align3d.pipeline import build, load_or_build
from align3d.sampling import rotate_up
from align3d.sources import SOURCES, make_source
from align3d.sources.joined import JoinedSource
from tests.align3d.building.built_boxes import contents
from tests.align3d.toy_source import Boxes


class Lying(Boxes):
    """Boxes with ids of their own whose y axis points up."""

    name = "lying"

    def read(self, item, points, seed):  # type: ignore[no-untyped-def]
        return replace(super().read(item, points, seed), up_axis="y")


class Empty(Boxes):
    name = "empty"

    def items(self):  # type: ignore[no-untyped-def]
        return []


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (Boxes, Lying, Empty):
        monkeypatch.setitem(SOURCES, cls.name, cls)


def test_ids_that_clash_get_their_sources_name_and_axes_are_turned(tmp_path: Path) -> None:
    joined = build(JoinedSource({"boxes": Boxes(5), "lying": Lying(3)}), tmp_path / "j", points=16, workers=1)
    clashing = [f"boxes/box-000{n}" for n in range(3)]
    assert joined.ids == [*clashing, "box-0003", "box-0004", *(f"lying/box-000{n}" for n in range(3))]
    assert (joined.name, joined.up_axis) == ("boxes,lying", "z")
    source = Lying(3)
    for row, item in zip(range(5, 8), source.items(), strict=True):
        record = source.read(item, 16, 0)
        turned = record.points[:, [0, 2, 1]] * np.array([1, -1, 1], np.float16)  # (x, y, z) -> (x, -z, y)
        np.testing.assert_array_equal(joined.points([row])[0], turned)
        np.testing.assert_array_equal(joined.size_m([row])[0], record.size_m[[0, 2, 1]])
    assert np.linalg.det(rotate_up(np.eye(3), "y").T) == pytest.approx(1.0)  # no mirror


def test_workers_and_kills_do_not_change_a_byte(tmp_path: Path) -> None:
    settings = {"boxes.size": 200, "lying.size": 150}
    one = build(make_source("boxes,lying", **settings), tmp_path / "one", points=16, workers=1)
    two = build(make_source("boxes,lying", **settings), tmp_path / "two", points=16, workers=2)
    assert contents(one.path) == contents(two.path)
    with pytest.raises(KeyboardInterrupt):
        build(
            JoinedSource({"boxes": Boxes(200), "lying": Lying(150, stop_at=100)}),
            tmp_path / "three",
            points=16,
            workers=1,
        )
    three = build(make_source("boxes,lying", **settings), tmp_path / "three", points=16, workers=1)
    assert contents(one.path) == contents(three.path)


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        ("boxes,boxes", {}, "boxes stands there twice; give each a name of its own"),
        ("boxes,nope", {}, "no such source"),
        ("boxes,", {}, "expected names of sources"),
        ("boxes,lying", {"sized": 3}, "no source has a setting 'sized'; did you mean size"),
        ("boxes,lying", {"boxs.size": 3}, "no source 'boxs'; did you mean boxes"),
        ("boxes,lying", {"boxes.sized": 3}, "boxes.sized: no such setting; did you mean size"),
        ("boxes,lying", {"size": 3, "boxes.size": 4}, "both size and boxes.size are given"),
        (
            "built,folder",
            {"root": "x"},
            "root may be meant for built or folder; write built.root= or folder.r",
        ),
        ("kicad,folder", {"size": 3, "root": "x"}, "root may be meant for kicad or folder"),
    ],
)
def test_what_is_ambiguous_or_unknown_is_named(names: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_source(names, **settings)


def test_settings_reach_every_source_that_has_them() -> None:
    joined = make_source("boxes,lying,procedural", size=4, **{"procedural.twins": 0.25})
    assert isinstance(joined, JoinedSource)
    assert [source.size for source in joined.sources.values()] == [4, 4, 4]  # type: ignore[attr-defined]
    nested = make_source("a=boxes,b=boxes", a={"size": 2}, b={"size": 3})
    assert isinstance(nested, JoinedSource)
    assert [item.id for item in nested.items()] == [
        *("a/box-0000", "a/box-0001", "b/box-0000", "b/box-0001"),
        "box-0002",
    ]


def test_a_source_that_yields_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data=boxes,empty: empty yields nothing"):
        build(make_source("boxes,empty"), tmp_path / "j", points=16, workers=1)


def test_one_source_is_turned_upright_where_that_is_asked_for(tmp_path: Path) -> None:
    words = ["source=lying", "size=5", "points=16", "workers=1", f"out={tmp_path / 'out'}"]
    assert main(words) == 0
    lying = ShapeDataset.load(tmp_path / "out")
    assert lying.up_axis == "y"
    assert main([*words, "upright=true"]) == 0
    turned = ShapeDataset.load(tmp_path / "out")
    assert (turned.up_axis, turned.hash) == ("z", lying.hash)
    assert turned.manifest.key != lying.manifest.key
    np.testing.assert_array_equal(turned.points([0])[0][:, 2], lying.points([0])[0][:, 1])


def test_a_finished_dataset_is_opened_where_it_lies(tmp_path: Path) -> None:
    boxes = build(Boxes(20), tmp_path / "boxes", points=16, workers=1, seed=3)
    cache = tmp_path / "cache"
    opened = load_or_build("built", cache=cache, points=16, root=boxes.path)
    assert (opened.path, opened.hash) == (boxes.path, boxes.hash)
    assert not cache.exists()
    fewer = load_or_build("built", cache=cache, points=8, root=boxes.path, workers=1)
    assert (fewer.ids, fewer.num_points, fewer.captions) == (boxes.ids, 8, boxes.captions)
    assert fewer.content_hashes == boxes.content_hashes
    with pytest.raises(DataError, match=r"have 16 points, data.points=32; ask for 16 or fewer"):
        load_or_build("built", cache=cache, points=32, root=boxes.path)
    with pytest.raises(DataError, match="no dataset at"):
        load_or_build("built", cache=cache, points=16, root=tmp_path / "nowhere")


def test_a_finished_dataset_is_copied_and_joined(tmp_path: Path) -> None:
    boxes = build(Boxes(20), tmp_path / "boxes", points=16, workers=1, seed=3)
    words = ["source=built", f"root={boxes.path}", f"out={tmp_path / 'copy'}", "workers=1"]
    assert main(words) == 0
    copy = ShapeDataset.load(tmp_path / "copy")
    assert copy.hash == boxes.hash  # its points and seed are those that are stored
    assert copy.caption_origins == boxes.caption_origins
    np.testing.assert_array_equal(copy.points(slice(None)), boxes.points(slice(None)))
    words = ["source=built,lying", f"root={boxes.path}", "size=2", f"out={tmp_path / 'both'}", "workers=1"]
    assert main(words) == 0
    assert len(ShapeDataset.load(tmp_path / "both")) == len(boxes) + 2
