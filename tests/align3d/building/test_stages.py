"""Stages behind a source: several records at once, rejections by one, and a service that is down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from align3d.building.plan import Part
from align3d.building.spreading import build_part
from align3d.building.stages import Draft, Each, Recipe, ServiceDown, fingerprint
from align3d.errors import RejectedItem
from align3d.pipeline import build, build_key
from align3d.record import Record, Rejection
from tests.align3d.building.built_boxes import contents
from tests.align3d.toy_source import Boxes


@dataclass(frozen=True)
class Numbered:
    """Stage that takes drafts in groups, as one does that waits for answers; its service may be down."""

    size: int = 8
    is_down: str = ""

    def fingerprint(self) -> str:
        return "numbered"

    def __call__(self, drafts: Iterator[Draft], recipe: Recipe) -> Iterator[Draft]:
        while group := [draft for _, draft in zip(range(self.size), drafts, strict=False)]:
            for draft in group:
                if self.is_down and draft.item == self.is_down:
                    raise ServiceDown("http://localhost: does not answer")
                if isinstance(draft.outcome, Record):
                    captions = (*draft.outcome.captions, f"told of {draft.item}")
                    yield Draft(draft.item, replace(draft.outcome, captions=captions))
                else:
                    yield draft


def choosy(record: Record, recipe: Recipe) -> Record:
    if record.id == "box-0001":
        raise RejectedItem("too odd")
    if record.id == "box-0002":
        raise ZeroDivisionError("bug")
    return record


def test_the_size_of_groups_and_the_workers_do_not_change_a_byte(tmp_path: Path) -> None:
    one = build(Boxes(300), tmp_path / "one", points=16, workers=1, stages=[Numbered(1)])
    two = build(Boxes(300), tmp_path / "two", points=16, workers=2, stages=[Numbered(50)])
    assert contents(one.path) == contents(two.path)
    assert one.captions[1][-1] == "told of box-0001"
    assert one.rejections[0] == Rejection("box-0006", "a box of no size")


def test_what_a_stage_of_one_record_raises_is_its_items_rejection(tmp_path: Path) -> None:
    dataset = build(Boxes(4), tmp_path / "boxes", points=16, workers=1, stages=[Each(choosy)])
    assert dataset.ids == ["box-0000", "box-0003"]
    assert [one.reason for one in dataset.rejections] == [
        "too odd",
        "cannot be read: ZeroDivisionError: bug",
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_service_that_is_down_ends_the_build_and_the_next_goes_on(tmp_path: Path, workers: int) -> None:
    out = tmp_path / "boxes"
    with pytest.raises(ServiceDown, match="does not answer"):
        build(Boxes(300), out, points=16, workers=workers, stages=[Numbered(is_down="box-0290")])
    assert not out.exists()
    finished = {path.name: path.stat().st_ino for path in (tmp_path / "boxes.partial").glob("*.arrow")}
    assert {"data-00000.arrow", "data-00001.arrow"} == finished.keys()
    dataset = build(Boxes(300), out, points=16, workers=workers, stages=[Numbered()])
    kept = [(dataset.path / shard.file).stat().st_ino for shard in dataset.manifest.shards]
    assert kept[:2] == [finished["data-00000.arrow"], finished["data-00001.arrow"]]
    fresh = build(Boxes(300), tmp_path / "fresh", points=16, workers=1, stages=[Numbered()])
    assert contents(dataset.path) == contents(fresh.path)


def test_stages_are_part_of_the_key(tmp_path: Path) -> None:
    keys = {build_key(Boxes(4), 16, 0, stages) for stages in ([], [Numbered()], [Each(choosy)])}
    assert len(keys) == 3
    assert "choosy" in fingerprint(Each(choosy))
    parts = [build_part(Boxes(4), tmp_path, Part(1, 1), points=16, workers=1, stages=[Numbered()])]
    assert parts[0].is_dir()
