"""Datasets seen through a shift: the same shapes in every order, and all else untouched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from align3d import ShapeDataset
from align3d.pipeline import build
from align3d.shifts import ShiftedDataset, parse_shift
from tests.align3d.toy_source import Boxes

COLUMNS = ("points", "colors", "part", "size_m")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ShapeDataset:
    folder: Path = tmp_path_factory.mktemp("boxes") / "data"
    return build(Boxes(12), folder, points=128, workers=1)


def test_shapes_are_the_same_in_whatever_order_they_are_read(dataset: ShapeDataset) -> None:
    shifted = ShiftedDataset(dataset, parse_shift("add_local"))
    for column in COLUMNS:
        every = getattr(shifted, column)(slice(None))
        assert every.dtype == getattr(dataset, column)([0]).dtype
        again = ShiftedDataset(dataset, parse_shift("add_local"))
        np.testing.assert_array_equal(getattr(again, column)([7, 2, 7]), every[[7, 2, 7]])
        np.testing.assert_array_equal(getattr(again, column)(range(3, 5)), every[3:5])
    assert not np.array_equal(shifted.points([2]), dataset.points([2]))


def test_points_and_parts_belong_together(dataset: ShapeDataset) -> None:
    shifted = ShiftedDataset(dataset, parse_shift("dropout_local:4"))
    for row in range(3):
        before = {
            tuple(xyz): part
            for xyz, part in zip(dataset.points([row])[0], dataset.part([row])[0], strict=True)
        }
        for xyz, part in zip(shifted.points([row])[0], shifted.part([row])[0], strict=True):
            assert before[tuple(xyz)] == part


def test_only_the_rows_asked_for_are_shifted(dataset: ShapeDataset) -> None:
    shifted = ShiftedDataset(dataset, parse_shift("partial"), rows=[1, 4])
    for column in COLUMNS:
        same = (getattr(shifted, column)(slice(None)) == getattr(dataset, column)(slice(None))).reshape(
            len(dataset), -1
        )
        assert set(np.flatnonzero(~same.all(1))) <= {1, 4}
    assert not np.array_equal(shifted.points([1]), dataset.points([1]))
    assert shifted.captions == dataset.captions
    for name, rows in dataset.splits(3, 2).items():
        np.testing.assert_array_equal(shifted.splits(3, 2)[name], rows)


def test_the_hash_is_of_everything_that_decides_the_shapes(dataset: ShapeDataset) -> None:
    made = [
        ShiftedDataset(dataset, parse_shift(name), seed, rows)
        for name, seed, rows in (
            ("jitter", 0, None),
            ("jitter:3", 0, None),
            ("partial", 0, None),
            ("jitter", 1, None),
            ("jitter", 0, [0, 1]),
        )
    ]
    assert len({dataset.hash, *(one.hash for one in made)}) == 6
    assert made[0].hash == ShiftedDataset(dataset, parse_shift("jitter:2")).hash
