"""Building: the same bytes however it was run, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest

from align3d.dataset import ShapeDataset
from align3d.errors import DataError
from align3d.pipeline import build, default_cache, load_or_build
from align3d.sources import SOURCES
from tests.align3d.building.built_boxes import contents
from tests.align3d.toy_source import Boxes


def test_round_trip(reference: ShapeDataset) -> None:
    source = Boxes(300)
    kept = [item for item in source.items() if item.payload % 7 != 6]
    assert len(reference) == len(kept) == 258
    assert reference.ids == [item.id for item in kept]
    rows = [257, 0, 130, 0]
    for row, points, colors, part, size in zip(
        rows,
        reference.points(rows),
        reference.colors(rows),
        reference.part(rows),
        reference.size_m(rows),
        strict=True,
    ):
        record = source.read(kept[row], 32, 0)
        np.testing.assert_array_equal(points, record.points)
        np.testing.assert_array_equal(colors, record.colors)
        np.testing.assert_array_equal(part, record.part)
        np.testing.assert_array_equal(size, record.size_m)
        assert reference.captions[row] == list(record.captions)
        assert reference.part_names[row] == list(record.part_names)
        assert reference.categories[row] == record.category
        assert reference.licenses[row] == record.license
        assert reference.content_hashes[row] == record.content_hash
    assert (reference.name, reference.up_axis, reference.num_points) == ("boxes", "z", 32)


def test_types_and_ways_to_index(reference: ShapeDataset) -> None:
    assert reference.points(range(5)).dtype == np.float16
    assert reference.colors(slice(5)).shape == (5, 32, 3)
    assert reference.part(np.array([3])).dtype == np.int16
    assert reference.size_m([]).shape == (0, 3)
    np.testing.assert_array_equal(reference.points(range(258))[[200, 3]], reference.points([200, 3]))
    for wrong in ([258], [-1]):
        with pytest.raises(IndexError, match="dataset of 258 shapes"):
            reference.points(wrong)
    with pytest.raises(TypeError, match="expected integers"):
        reference.points([0.5])


def test_every_rejection_is_listed(reference: ShapeDataset) -> None:
    assert [rejection.item for rejection in reference.rejections] == [
        f"box-{n:04d}" for n in range(6, 300, 7)
    ]
    assert {rejection.reason for rejection in reference.rejections} == {"a box of no size"}


def test_hugging_face_reads_the_folder(reference: ShapeDataset) -> None:
    table = datasets.load_from_disk(str(reference.path))
    assert table.column_names == reference.hugging_face().column_names
    assert len(table) == len(reference)
    np.testing.assert_array_equal(
        np.array(table[5]["points"], dtype=np.float16).reshape(32, 3), reference.points([5])[0]
    )


def test_splits_keep_equal_boxes_together(reference: ShapeDataset) -> None:
    splits = reference.splits(test=60, reward=0.2)
    of_hash: dict[str, set[str]] = {}
    for name, indices in splits.items():
        for index in indices:
            of_hash.setdefault(reference.content_hashes[index], set()).add(name)
    assert all(len(names) == 1 for names in of_hash.values())


def test_workers_do_not_change_a_byte(reference: ShapeDataset, tmp_path: Path) -> None:
    parallel = build(Boxes(300), tmp_path / "boxes", points=32, workers=2)
    assert contents(parallel.path) == contents(reference.path)


def test_same_request_is_not_built_again_and_another_replaces(tmp_path: Path) -> None:
    first = build(Boxes(20), tmp_path / "boxes", points=16, workers=1)
    stamp = (first.path / "manifest.json").stat().st_mtime_ns
    again = build(Boxes(20), tmp_path / "boxes", points=16, workers=1)
    assert (again.path / "manifest.json").stat().st_mtime_ns == stamp
    other = build(Boxes(21), tmp_path / "boxes", points=16, workers=1)
    assert len(other) == len(first)  # box 20 is a rejection
    assert (len(first.points(range(18))), other.hash) == (18, first.hash)  # the old mapping stays readable
    assert build(Boxes(20), tmp_path / "boxes", points=16, seed=1, workers=1).hash != first.hash


def test_cache_is_keyed_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGN3D_CACHE", str(tmp_path))
    monkeypatch.setitem(SOURCES, "boxes", Boxes)
    assert default_cache() == tmp_path
    first = load_or_build("boxes", points=16, workers=1, size=12)
    assert first.path.parent == tmp_path
    assert load_or_build("boxes", points=16, workers=1, size=12).path == first.path
    assert load_or_build("boxes", points=16, workers=1, size=13).path != first.path
    assert load_or_build("boxes", points=16, workers=1, size=12, seed=2).path != first.path


def test_one_seed_for_source_and_sampling(tmp_path: Path) -> None:
    same = [load_or_build("procedural", cache=tmp_path, points=16, workers=1, size=4, seed=s) for s in (0, 1)]
    assert same[0].content_hashes != same[1].content_hashes


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    for settings in ({"points": 0}, {"points": 2.5}, {"seed": -1}, {"workers": 0}, {"points": True}):
        with pytest.raises(DataError, match="expected a whole number"):
            build(Boxes(3), tmp_path / "boxes", **settings)  # type: ignore[arg-type]
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("precious")
    with pytest.raises(DataError, match="not a dataset; choose another folder"):
        build(Boxes(3), tmp_path / "other")
    with pytest.raises(DataError, match="nothing to read"):
        build(Boxes(0), tmp_path / "boxes")


def damage(folder: Path, name: str, change) -> None:  # type: ignore[no-untyped-def]
    (path,) = folder.glob(name)
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("manifest.json", lambda data: data[: len(data) // 2], r"damaged dataset: .*json is not JSON"),
        ("manifest.json", lambda data: b"[]", r"damaged dataset: .*json has no schema"),
        (
            "manifest.json",
            lambda data: data.replace(b'"rows": 18', b'"rows": 17', 1),
            "checksum does not match",
        ),
        (
            "manifest.json",
            lambda data: data.replace(b'"schema": 3', b'"schema": 4'),
            "schema 4, and this version reads",
        ),
        ("manifest.json", lambda data: b'{"schema": 1}', "checksum does not match"),
        ("*/data-00000-of-00001.arrow", lambda data: data[:-100], r"is damaged: .* bytes, expected"),
    ],
)
def test_damaged_datasets_are_refused(tmp_path: Path, name: str, change, message: str) -> None:  # type: ignore[no-untyped-def]
    path = build(Boxes(20), tmp_path / "boxes", points=16, workers=1).path
    damage(path, name, change)
    with pytest.raises(DataError, match=message):
        ShapeDataset.load(path)


def test_flipped_bits_are_found_on_request(tmp_path: Path) -> None:
    path = build(Boxes(20), tmp_path / "boxes", points=16, workers=1).path
    ShapeDataset.load(path, verify=True)
    damage(
        path, "*/data-00000-of-00001.arrow", lambda data: data[:3000] + bytes([data[3000] ^ 1]) + data[3001:]
    )
    with pytest.raises(DataError, match=r"00001\.arrow is damaged: its SHA-256 is not"):
        ShapeDataset.load(path, verify=True)


def test_no_dataset_says_how_to_build_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no dataset at .*python -m align3d\.build source="):
        ShapeDataset.load(tmp_path / "none")
