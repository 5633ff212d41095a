"""What a build leaves out: rejections, lost colors and notes by item, and sources that are at fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from align3d.dataset import ShapeDataset
from align3d.errors import DataError, RejectedItem
from align3d.pipeline import build
from tests.align3d.toy_source import Boxes

HERE = Path(__file__).parents[1]
ROOT = HERE.parents[1]


class Panic(BaseException):
    """As those of compiled readers."""


class Raises(Boxes):
    kinds = (ValueError("bad\nvalue \ud800"), MemoryError(), SystemExit(3), Panic("index out of range"))

    def read(self, item, points, seed):  # type: ignore[no-untyped-def]
        if item.payload < len(self.kinds):
            raise self.kinds[item.payload]
        return super().read(item, points, seed)


@pytest.mark.parametrize("workers", [1, 2])
def test_whatever_a_reader_raises_is_the_rejection_of_its_item(tmp_path: Path, workers: int) -> None:
    dataset = build(Raises(6), tmp_path / "boxes", points=16, workers=workers)
    assert dataset.ids == ["box-0004", "box-0005"]
    assert [rejection.reason for rejection in dataset.rejections] == [
        "cannot be read: ValueError: bad value \\ud800",
        "cannot be read: MemoryError: ",
        "cannot be read: SystemExit: 3",
        "cannot be read: Panic: index out of range",
    ]


class Gray(Boxes):
    def read(self, item, points, seed):  # type: ignore[no-untyped-def]
        record = super().read(item, points, seed)
        lost = ("texture 'a': cut", "texture 'b': cut") if item.payload % 2 else ()
        return replace(record, lost_colors=lost)


def test_lost_colors_are_listed_by_shape(tmp_path: Path) -> None:
    dataset = build(Gray(6), tmp_path / "boxes", points=16, workers=1)
    assert dataset.manifest.lost_colors == 3
    assert [(loss.item, loss.reason) for loss in dataset.lost_colors[:3]] == [
        ("box-0001", "texture 'a': cut"),
        ("box-0001", "texture 'b': cut"),
        ("box-0003", "texture 'a': cut"),
    ]
    assert len(ShapeDataset.load(dataset.path).lost_colors) == 6


class Guessed(Boxes):
    def read(self, item, points, seed):  # type: ignore[no-untyped-def]
        record = super().read(item, points, seed)
        return replace(record, notes=("a guess \ud800",) if item.payload == 1 else ())


def test_notes_on_shapes_are_listed(tmp_path: Path) -> None:
    dataset = build(Guessed(4), tmp_path / "boxes", points=16, workers=1)
    assert [(note.item, note.reason) for note in dataset.notes] == [("box-0001", "a guess \\ud800")]
    assert build(Boxes(4), tmp_path / "other", points=16, workers=1).notes == []


class Surrogates(Boxes):
    """Ids, texts and reasons that no file of UTF-8 can hold."""

    def items(self):  # type: ignore[no-untyped-def]
        return [
            replace(item, id=f"{item.id}\ud800" if item.payload < 2 else item.id) for item in super().items()
        ]

    def read(self, item, points, seed):  # type: ignore[no-untyped-def]
        if item.payload == 0:
            raise RejectedItem("no \udfff")
        record = super().read(replace(item, id="a"), points, seed)
        if item.payload == 2:
            return replace(record, id=item.id, source="\ud800")
        return replace(record, id=item.id, lost_colors=("lost \ud800",))


def test_halves_of_surrogate_pairs_cost_their_item_alone(tmp_path: Path) -> None:
    dataset = build(Surrogates(5), tmp_path / "boxes", points=16, workers=1)
    assert dataset.ids == ["box-0003", "box-0004"]
    assert [rejection.item for rejection in dataset.rejections] == [
        "box-0000\\ud800",
        "box-0001\\ud800",
        "box-0002",
    ]
    assert dataset.rejections[0].reason == "no \\udfff"
    assert "half of a surrogate pair" in dataset.rejections[1].reason
    assert dataset.lost_colors[0].reason == "lost \\ud800"


class AllBad(Boxes):
    def read(self, item, points, seed):  # type: ignore[no-untyped-def]
        return super().read(type(item)(item.id, 6), points, seed)


class MixedUp(Boxes):
    def read(self, item, points, seed):  # type: ignore[no-untyped-def]
        record = super().read(item, points, seed)
        object.__setattr__(record, "up_axis", "xyz"[item.payload % 3])
        return record


class WrongRecord(Boxes):
    def read(self, item, points, seed):  # type: ignore[no-untyped-def]
        return super().read(item, points + item.payload, seed)


class Twice(Boxes):
    def items(self):  # type: ignore[no-untyped-def]
        return [*super().items(), *super().items()]


def test_faulty_sources_are_told_so(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"none of 5 items can be used; the first: box-0000: a box of no size"
    ):
        build(AllBad(5), tmp_path / "boxes", workers=1)
    with pytest.raises(DataError, match="different up axes"):
        build(MixedUp(5), tmp_path / "boxes", points=16, workers=1)
    with pytest.raises(DataError, match="two items have the id 'box-0000'"):
        build(Twice(5), tmp_path / "boxes", points=16, workers=1)
    dataset = build(WrongRecord(5), tmp_path / "boxes", points=16, workers=1)
    assert len(dataset) == 1
    assert "points is float16[17, 3], expected float16[16, 3]" in dataset.rejections[0].reason
