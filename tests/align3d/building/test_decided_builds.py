"""Decisions of filters, reviewers and ``keep=``: applied by a build without reading anew, and undone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from align3d.build import main
from align3d.building.deciding import Judgement
from align3d.dataset import ShapeDataset
from align3d.decisions import Decision
from align3d.errors import DataError
from align3d.filters import Remaining
from align3d.pipeline import build
from align3d.reviewing.review_log import ReviewLog, reviews_folder
from durable.errors import NoSpaceError
from tests.align3d.building.built_boxes import contents
from tests.align3d.toy_source import Boxes


class Wide:
    """Leaves out the boxes of a category, and their second captions."""

    name: ClassVar[str] = "wide"

    def __init__(self, width: str = "3 wide") -> None:
        self.width = width

    def fingerprint(self) -> str:
        return self.width

    def decide(self, remaining: Remaining, *, progress: bool = True) -> Iterator[Decision]:
        categories = remaining.dataset.categories
        for row in remaining.rows:
            if categories[row] == self.width:
                yield remaining.reject(row, f"width: {self.width}", self.name)


class Unread(Boxes):
    """Boxes that must not be read."""

    def read(self, item, points, seed):  # type: ignore[no-untyped-def]
        raise AssertionError("read anew")


BOXES = 300
FILTERED = Judgement(filters=(Wide(),))


def built(source: Boxes, out: Path, judgement: Judgement | None = None) -> ShapeDataset:
    return build(source, out, points=32, workers=1, judgement=judgement)


def test_a_filter_is_applied_and_undone_without_reading(reference: ShapeDataset, tmp_path: Path) -> None:
    out = tmp_path / "boxes"
    built(Boxes(BOXES), out)
    filtered = built(Unread(BOXES), out, FILTERED)
    left = [item for item, kind in zip(reference.ids, reference.categories, strict=True) if kind != "3 wide"]
    assert filtered.ids == left
    assert len(filtered.decisions) == len(reference) - len(left)
    told = {one.item: one.reason for one in filtered.rejections}
    assert told["box-0002"] == "width: 3 wide (wide)"
    assert told["box-0006"] == "a box of no size"
    assert filtered.hash != reference.hash
    assert filtered.manifest.key != reference.manifest.key
    rows = [reference.ids.index(item) for item in left[:3]]
    assert (filtered.points([0, 1, 2]) == reference.points(rows)).all()
    assert ShapeDataset.load(out, verify=True).ids == left
    assert ShapeDataset.load(tmp_path / "boxes.raw").hash == reference.hash
    other = built(Unread(BOXES), out, Judgement(filters=(Wide("1 wide"),)))
    assert set(other.categories) == {"2 wide", "3 wide"}
    undone = built(Unread(BOXES), out)
    assert contents(undone.path) == contents(reference.path)
    assert [path.name for path in tmp_path.iterdir()] == ["boxes"]


def test_the_order_of_what_is_asked_does_not_change_a_byte(tmp_path: Path) -> None:
    at_once = built(Boxes(BOXES), tmp_path / "at_once", FILTERED)
    built(Boxes(BOXES), tmp_path / "later")
    later = built(Boxes(BOXES), tmp_path / "later", FILTERED)
    assert contents(at_once.path) == contents(later.path)
    stamp = (later.path / "manifest.json").stat().st_mtime_ns
    again = built(Unread(BOXES), tmp_path / "later", FILTERED)
    assert (again.path / "manifest.json").stat().st_mtime_ns == stamp


def test_reviewers_and_keep_stand_above_filters(tmp_path: Path) -> None:
    reviews = (
        Decision("box-0002", "accept", "review: fine", "reviewer:ada"),
        Decision("box-0003", "reject", "review: ugly", "reviewer:ada"),
        Decision("box-0000", "edit_caption", "review", "reviewer:ada", "box number 0", "the first box"),
        Decision("box-0001", "drop_caption", "review", "reviewer:ada", "box number 1"),
    )
    judged = built(Boxes(20), tmp_path / "boxes", Judgement((Wide(),), reviews, ("box-0005",)))
    assert judged.ids[:5] == ["box-0000", "box-0001", "box-0002", "box-0004", "box-0005"]
    assert judged.captions[0][0] == "the first box"
    assert judged.caption_origins[0] == ["edited", "boxes"]
    assert judged.captions[1] == ["a box of 2 x 2"]
    assert {one.by for one in judged.decisions} == {"wide", "reviewer:ada", "reviewer:keep"}
    kept = built(Boxes(20), tmp_path / "boxes", Judgement((Wide(),), reviews, ("box-0003", "box-0001")))
    assert kept.ids[3] == "box-0003"
    assert kept.captions[1] == ["box number 1", "a box of 2 x 2"]


def test_a_shape_without_captions_goes_and_none_left_is_an_error(tmp_path: Path) -> None:
    drops = tuple(
        Decision("box-0000", "drop_caption", "bad: text", "reviewer:ada", caption)
        for caption in ("box number 0", "a box of 1 x 1")
    )
    dataset = built(Boxes(3), tmp_path / "boxes", Judgement(reviews=drops))
    assert dataset.ids == ["box-0001", "box-0002"]
    everything = tuple(Decision(f"box-000{n}", "reject", "bad: shape", "reviewer:ada") for n in range(3))
    with pytest.raises(
        DataError, match=r"none of 3 shapes is left .*: box-0000: bad: shape \(reviewer:ada\)"
    ):
        built(Boxes(3), tmp_path / "boxes", Judgement(reviews=everything))
    assert ShapeDataset.load(tmp_path / "boxes", verify=True).ids == ["box-0001", "box-0002"]
    assert not (tmp_path / "boxes.partial").exists()


def test_a_shape_to_keep_that_is_not_there_is_named(tmp_path: Path) -> None:
    for item, why in (
        ("box-00003", "did you mean box-0003"),
        ("box-0006", "rejected when it was read: a box"),
    ):
        with pytest.raises(DataError, match=f"keep={item}: .*{why}"):
            built(Boxes(8), tmp_path / "boxes", Judgement(keep=(item,)))


def test_reviews_of_other_shapes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = Decision("box-0099", "reject", "bad", "reviewer:ada")
    changed = Decision("box-0001", "reject", "bad", "reviewer:ada", item_hash="0" * 64)
    dataset = built(Boxes(3), tmp_path / "boxes", Judgement(reviews=(gone, changed)))
    assert len(dataset) == 3
    told = capsys.readouterr().err
    assert "2 of the reviewers' decisions do not count: box-0099 is not there" in told


def test_unchanged_shards_take_no_room(tmp_path: Path) -> None:
    one = Decision("box-0299", "reject", "bad", "reviewer:ada")
    dataset = built(Boxes(BOXES), tmp_path / "boxes", Judgement(reviews=(one,)))
    links = [(dataset.path / shard.file).stat().st_nlink for shard in dataset.manifest.shards]
    assert links == [2, 2, 1]


def test_a_shard_that_loses_every_row_is_left_out(tmp_path: Path) -> None:
    first = tuple(Decision(f"box-{n:04d}", "reject", "bad", "reviewer:ada") for n in range(128))
    dataset = built(Boxes(BOXES), tmp_path / "boxes", Judgement(reviews=first))
    assert dataset.ids[0] == "box-0128"
    assert len(dataset.manifest.shards) == 2


def test_shards_that_were_read_before_a_filter_was_asked_for_are_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        built(Boxes(BOXES, stop_at=200), tmp_path / "boxes")
    first = (tmp_path / "boxes.partial/data-00000.arrow").stat().st_ino
    dataset = built(Boxes(BOXES), tmp_path / "boxes", FILTERED)
    raw = ShapeDataset.load(tmp_path / "boxes.raw")
    assert (raw.path / raw.manifest.shards[0].file).stat().st_ino == first
    assert contents(dataset.path) == contents(built(Boxes(BOXES), tmp_path / "fresh", FILTERED).path)


@pytest.mark.parametrize("steps", range(1, 5))
def test_a_build_that_dies_while_decisions_are_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    out, rename, left = tmp_path / "boxes", os.replace, [steps]
    expected = contents(built(Boxes(5), tmp_path / "fresh", FILTERED).path)
    built(Boxes(5), out)

    def dying(source: Path, target: Path) -> None:
        if Path(target).parent == out:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
        rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr("align3d.building.placing.os.replace", dying)
        with pytest.raises(KeyboardInterrupt):
            built(Boxes(5), out, FILTERED)
    assert len(ShapeDataset.load(out, verify=True)) in (5, 4)
    assert contents(built(Unread(5), out, FILTERED).path) == expected


def test_another_source_removes_what_was_read_before(tmp_path: Path) -> None:
    built(Boxes(8), tmp_path / "boxes", FILTERED)
    assert (tmp_path / "boxes.raw").is_dir()
    built(Boxes(9), tmp_path / "boxes")
    assert not (tmp_path / "boxes.raw").exists()


def test_the_command_applies_filters_and_reviews(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "boxes"
    words = ["source=tests.align3d.toy_source:Boxes", f"out={out}", "size=20", "points=16", "workers=1"]
    assert main(words) == 0
    log = ReviewLog(reviews_folder(out), "ada")
    log.append(Decision("box-0003", "reject", "review: ugly", "reviewer:ada"))
    assert main([*words, "filters=length", "filters.length.max_words=3", "keep=box-0000"]) == 0
    printed = capsys.readouterr().out
    for expected in ("by length", "1 by reviewer:ada", "by reviewer:keep", "as it was read"):
        assert expected in printed
    dataset = ShapeDataset.load(out)
    assert "box-0003" not in dataset.ids
    assert dataset.captions[:2] == [["box number 0", "a box of 1 x 1"], ["box number 1"]]
    assert "filters=length filters.length.max_words=3 keep=box-0000" in (out / "README.md").read_text()
    assert main([*words, "reviews=false"]) == 0
    assert "box-0003" in ShapeDataset.load(out).ids


def test_a_full_disk_keeps_what_was_read_and_the_older_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "boxes"
    before = contents(built(Boxes(BOXES), out).path)

    def full(path: Path, table: object) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half a shard")
        raise NoSpaceError(f"{path}: cannot be written (the disk is full)")

    with monkeypatch.context() as patched:
        patched.setattr("align3d.building.deciding.write_table", full)
        with pytest.raises(NoSpaceError, match=r"disk is full.*the same command goes on"):
            built(Unread(BOXES), out, FILTERED)
    assert contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["boxes", "boxes.raw"]
    assert set(built(Unread(BOXES), out, FILTERED).categories) == {"1 wide", "2 wide"}
