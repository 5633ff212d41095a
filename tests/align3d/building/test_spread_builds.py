"""Builds that are spread over machines: parts in any order, killed and repeated, merged to the same bytes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import align3d.merge
from align3d.build import main
from align3d.building.plan import Part
from align3d.building.spreading import build_part, merge
from align3d.dataset import ShapeDataset
from align3d.errors import DataError
from durable.checksums import write_json
from tests.align3d.building.built_boxes import contents
from tests.align3d.toy_source import Boxes


def part(number: int, out: Path, source: Boxes | None = None, count: int = 3, points: int = 32) -> Path:
    return build_part(source or Boxes(300), out, Part(number, count), points=points, workers=1)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spread") / "parts"
    for number in (3, 1, 2):
        part(number, folder)
    return folder


@pytest.fixture
def copied(parts: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(parts, tmp_path / "parts"))


def test_parts_make_the_same_bytes_as_a_build_in_one(
    parts: Path, reference: ShapeDataset, tmp_path: Path
) -> None:
    merged = merge(parts, tmp_path / "boxes")
    assert contents(merged.path) == contents(reference.path)
    assert merge(parts, tmp_path / "boxes").hash == reference.hash
    assert len(list(parts.iterdir())) == 3  # they stay
    assert sorted(path.name for path in tmp_path.iterdir()) == ["boxes"]


def test_a_part_that_was_cut_off_goes_on(reference: ShapeDataset, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    for number in (2, 3):
        part(number, folder, Boxes(1000))
    with pytest.raises(KeyboardInterrupt):
        part(1, folder, Boxes(1000, stop_at=400))
    with pytest.raises(DataError, match=r"1 of 3 parts are missing: 1/3; not finished: part-00001-of-00003"):
        merge(folder, tmp_path / "boxes")
    read: list[int] = []
    source = Boxes(1000)
    plain = source.read
    source.read = lambda item, points, seed: (read.append(item.payload), plain(item, points, seed))[1]  # type: ignore[method-assign]
    place = part(1, folder, source)
    assert min(read) >= 384  # its first shard was kept
    assert part(1, folder, Boxes(1000, stop_at=0)) == place  # finished: nothing is read
    assert len(merge(folder, tmp_path / "boxes")) == len([n for n in range(1000) if n % 7 != 6])


def test_more_parts_than_shards(reference: ShapeDataset, tmp_path: Path) -> None:
    for number in (5, 1, 4, 2, 3):
        part(number, tmp_path / "parts", count=5)
    assert contents(merge(tmp_path / "parts", tmp_path / "boxes").path) == contents(reference.path)


def renamed(folder: Path) -> None:
    shutil.copytree(folder / "part-00002-of-00003", folder / "part-00009-of-00009")


def of_other_points(folder: Path) -> None:
    shutil.rmtree(folder / "part-00002-of-00003")
    part(2, folder, points=16)


def of_another_source(folder: Path) -> None:
    shutil.rmtree(folder / "part-00002-of-00003")
    part(2, folder, Boxes(301))


def of_other_code(folder: Path) -> None:
    for path in folder.glob("*/part.json"):
        content = json.loads(path.read_text())
        write_json(path, {**content, "code": "0" * 64})


def of_one_other_code(folder: Path) -> None:
    path = folder / "part-00003-of-00003/part.json"
    write_json(path, {**json.loads(path.read_text()), "code": "0" * 64})


def of_another_schema(folder: Path) -> None:
    path = folder / "part-00003-of-00003/part.json"
    write_json(path, {**json.loads(path.read_text()), "schema": 99})


def flipped(folder: Path) -> None:
    path = next(folder.glob("part-00001-of-00003/*.arrow"))
    data = path.read_bytes()
    path.write_bytes(data[:3000] + bytes([data[3000] ^ 1]) + data[3001:])


def damaged_manifest(folder: Path) -> None:
    path = folder / "part-00001-of-00003/part.json"
    path.write_text(path.read_text().replace('"points": 32', '"points": 33'))


def without_one(folder: Path) -> None:
    shutil.rmtree(folder / "part-00002-of-00003")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_one, "1 of 3 parts are missing: 2/3"),
        (renamed, "part 2/3 is there twice: part-00002-of-00003 and part-00009-of-00009"),
        (
            of_other_points,
            "part-00002-of-00003 is not of the same build as part-00001-of-00003: points 16, ex",
        ),
        (of_another_source, "part-00002-of-00003 is not of the same build .*other settings or other files"),
        (of_one_other_code, "part-00003-of-00003 is not of the same build .*: built by other code"),
        (of_other_code, "built by another version of this package"),
        (of_another_schema, "schema 99, this version merges schema"),
        (flipped, r"part-00001-of-00003/.*SHA-256 is not .*build part 1/3 again"),
        (damaged_manifest, "part.json is damaged: its checksum differs; remove .*part-00001-of-00003"),
        (shutil.rmtree, "no part of a build there"),
    ],
)
def test_parts_that_do_not_fit_are_named(
    copied: Path, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    change(copied)
    with pytest.raises(DataError, match=message):
        merge(copied, tmp_path / "boxes")
    assert not (tmp_path / "boxes").exists()


def test_commands_spread_and_merge_with_a_filter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["source=tests.align3d.toy_source:Boxes", "size=300", "points=16", "workers=1"]
    judges = ["filters=length", "filters.length.max_words=3"]
    for number in (2, 1):
        assert main([*words, f"out={tmp_path / 'parts'}", f"shard={number}/2"]) == 0
    assert align3d.merge.main([f"parts={tmp_path / 'parts'}", f"out={tmp_path / 'merged'}", *judges]) == 0
    assert main([*words, f"out={tmp_path / 'boxes'}", *judges]) == 0
    assert contents(tmp_path / "merged") == contents(tmp_path / "boxes")
    capsys.readouterr()
    for mistake, message in (
        (["shard=0/2"], "shard=0/2: expected which part of how many"),
        (["shard=3/2"], "shard=3/2: expected which part of how many"),
        (["shard=1/2", *judges], "give them to align3d.merge"),
    ):
        assert main([*words, f"out={tmp_path / 'parts'}", *mistake]) == 2
        assert message in capsys.readouterr().err
    assert align3d.merge.main([f"parts={tmp_path}"]) == 2
    assert "parts=DIR and out=DIR are needed" in capsys.readouterr().err
