"""Splits by content alone, of the sizes that were asked for, which never separate twins."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align3d.errors import DataError
from align3d.splits import split_indices


def hashes(names: list[int]) -> list[str]:
    return [hashlib.sha256(str(name).encode()).hexdigest() for name in names]


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=10, max_size=120), st.integers(0, 4), st.integers(0, 4))
def test_splits_are_a_partition_that_keeps_equal_content_together(
    names: list[int], test: int, reward: int
) -> None:
    content = hashes(names)
    try:
        splits = split_indices(content, test, reward)
    except DataError as error:
        assert "leave nothing" in str(error)  # noqa: PT017
        return
    joined = np.concatenate([splits["train"], splits["reward"], splits["test"]])
    assert sorted(joined) == list(range(len(names)))
    homes: dict[str, set[str]] = {}
    for split, indices in splits.items():
        assert indices.dtype == np.int64
        assert list(indices) == sorted(indices)
        for index in indices:
            homes.setdefault(content[index], set()).add(split)
    assert all(len(home) == 1 for home in homes.values())
    assert len(splits["test"]) <= test
    assert len(splits["reward"]) <= reward


@settings(deadline=None)
@given(st.permutations(range(60)))
def test_order_does_not_matter(order: list[int]) -> None:
    content = hashes(list(range(60)))
    straight = split_indices(content, 20, 10)
    shuffled = split_indices([content[index] for index in order], 20, 10)
    for split in straight:
        assert {content[i] for i in straight[split]} == {content[order[i]] for i in shuffled[split]}


def test_sizes_are_counts_or_shares() -> None:
    content = hashes(list(range(1000)))
    splits = split_indices(content, 200, 0.1)
    assert {name: len(indices) for name, indices in splits.items()} == {
        "train": 700,
        "reward": 100,
        "test": 200,
    }


def test_counts_are_exact_though_some_shapes_come_in_groups() -> None:
    content = hashes([0, 0, 0, *range(1, 98)])
    for test in (10, 11, 12, 13):
        assert len(split_indices(content, test, 5)["test"]) == test


def test_a_larger_dataset_keeps_most_of_the_test_split() -> None:
    small, large = hashes(list(range(100))), hashes(list(range(110)))
    first = {small[i] for i in split_indices(small, 0.3, 0.1)["test"]}
    second = {large[i] for i in split_indices(large, 0.3, 0.1)["test"]}
    assert len(first & second) >= 25


@pytest.mark.parametrize(
    ("test", "reward"), [(60, 40), (0.7, 0.3), (-1, 0), (1.0, 0), ("half", 0), (True, 0)]
)
def test_impossible_requests_are_refused(test: object, reward: object) -> None:
    with pytest.raises(DataError, match="splits:"):
        split_indices(hashes(list(range(100))), test, reward)  # type: ignore[arg-type]
